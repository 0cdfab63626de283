// Strokes as vectors in picture coordinates, and how they are drawn. The server sends rectangles for what the page cannot draw
// by itself (fill, grow). The names are those of psal_cli/image/strokes.py.

export const LAYERS = ["mask", "source", "hint"];
const DERIVED = new Set(["fill", "grow"]);

// A place, rounded to a binary fraction: the same number here, in JSON and in Python.
export const rounded = (value) => Math.round(value * 32) / 32;

export function boxOf(stroke) {
  const step = stroke.tool === "brush" ? 3 : 2;
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (let at = 0; at < (stroke.points?.length ?? 0); at += step) {
    const [x, y, radius] = [stroke.points[at], stroke.points[at + 1], step === 3 ? stroke.points[at + 2] : 0];
    box.left = Math.min(box.left, x - radius);
    box.right = Math.max(box.right, x + radius);
    box.top = Math.min(box.top, y - radius);
    box.bottom = Math.max(box.bottom, y + radius);
  }
  return box;
}

// How a stroke is drawn: {path, width}, width 0 for an area.
function drawn(stroke) {
  const points = stroke.points;
  const path = new Path2D();
  if (stroke.tool === "outline") {
    for (let at = 0; at < points.length; at += 2) path.lineTo(points[at], points[at + 1]);
    path.closePath();
    return { path, width: 0, rule: "evenodd" };
  }
  const radius = points[2];
  let even = true;
  for (let at = 5; at < points.length; at += 3) even &&= points[at] === radius;
  if (even && points.length > 3) {
    for (let at = 0; at < points.length; at += 3) path.lineTo(points[at], points[at + 1]);
    return { path, width: 2 * radius };
  }
  for (let at = 0; at < points.length; at += 3) {
    const [x, y, r] = points.slice(at, at + 3);
    path.moveTo(x + r, y);
    path.arc(x, y, r, 0, 2 * Math.PI);
    if (at) between(path, points.slice(at - 3, at), [x, y, r]);
  }
  return { path, width: 0, rule: "nonzero" };
}

// The area between two discs, turned the way that arcs turn.
function between(path, [x0, y0, r0], [x1, y1, r1]) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length <= Math.abs(r0 - r1)) return;
  const [ux, uy, sine] = [(x1 - x0) / length, (y1 - y0) / length, (r0 - r1) / length];
  const cosine = Math.sqrt(1 - sine * sine);
  const normal = (side) => [ux * sine - side * uy * cosine, uy * sine + side * ux * cosine];
  const [[ax, ay], [bx, by]] = [normal(-1), normal(1)];
  path.moveTo(x0 + r0 * ax, y0 + r0 * ay);
  path.lineTo(x1 + r1 * ax, y1 + r1 * ay);
  path.lineTo(x1 + r1 * bx, y1 + r1 * by);
  path.lineTo(x0 + r0 * bx, y0 + r0 * by);
  path.closePath();
}

export class Strokes {
  constructor(records, at, outline) {
    this.list = records;
    this.at = at;
    this.outline = outline; // (layer, number of strokes) -> promise of rectangles
    this.known = new WeakMap();
    this.version = 0;
  }

  get current() {
    return this.list.slice(0, this.at);
  }

  has(layer) {
    let any = false;
    for (const stroke of this.current) {
      if (stroke.layer !== layer) continue;
      any = stroke.tool === "clear" ? false : any || !stroke.erase;
    }
    return any;
  }

  add(stroke) {
    this.list = [...this.current, stroke];
    this.at = this.list.length;
    this.version += 1;
    this.added = this.version;
  }

  move(at) {
    this.at = at;
    this.version += 1;
  }

  // Draws what a layer marks, in opaque white. view: {left, top, right, bottom} of the picture that can be seen. Returns a
  // promise where more has to be heard from the server first: then it is to be drawn again.
  draw(context, layer, view) {
    let [start, missing] = [0, null];
    for (let at = this.at - 1; at >= 0 && !start; at -= 1) {
      const stroke = this.list[at];
      if (stroke.layer !== layer) continue;
      if (stroke.tool === "clear") {
        start = at + 1;
      } else if (DERIVED.has(stroke.tool)) {
        const known = this.known.get(stroke);
        if (known?.path) {
          context.fill(known.path);
          start = at + 1;
        } else {
          missing ??= this.#heard(stroke, layer, at + 1);
        }
      }
    }
    for (const stroke of this.list.slice(start, this.at)) {
      if (stroke.layer === layer && stroke.points) this.drawOne(context, stroke, view);
    }
    return missing;
  }

  drawOne(context, stroke, view) {
    let known = this.known.get(stroke);
    if (!known || known.length !== stroke.points.length) {
      known = { ...drawn(stroke), box: boxOf(stroke), length: stroke.points.length };
      this.known.set(stroke, known);
    }
    const box = known.box;
    if (box.left > view.right || box.right < view.left || box.top > view.bottom || box.bottom < view.top) return;
    context.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
    if (stroke.colour) context.fillStyle = context.strokeStyle = stroke.colour;
    if (known.width) {
      context.lineWidth = known.width;
      context.stroke(known.path);
    } else {
      context.fill(known.path, known.rule);
    }
    context.globalCompositeOperation = "source-over";
  }

  #heard(stroke, layer, count) {
    const known = this.known.get(stroke);
    if (known) return known.promise;
    const promise = this.outline(layer, count).then((numbers) => {
      const path = new Path2D();
      for (let at = 0; at < numbers.length; at += 4) path.rect(...numbers.slice(at, at + 4));
      this.known.set(stroke, { path });
    });
    this.known.set(stroke, { promise });
    return promise;
  }
}
