// Pointers: painting with mouse, pen and finger, panning, pinching, the wheel.

import { rounded } from "./strokes.js";

const MOST_POINTS = 4000; // of one stroke; a longer stroke is split
const LIGHTEST = 0.3; // share of the size for the lightest touch of a pen

const POINT = 5; // screen pixels: the ring that stands for the pointer where there is no brush

const pressedAt = (x, y) => ({ offsetX: x, offsetY: y, pointerType: "mouse", pressure: 0.5, altKey: false, button: 0 });

export class Input {
  // on: {painted(stroke, began), colour...} see main.js; tools: {tool, layer, radius} as they are chosen.
  constructor(canvas, viewer, overlay, tools, on) {
    Object.assign(this, { canvas, viewer, overlay, tools, on });
    this.pointers = new Map();
    this.taking = null; // if set, called with the next point pressed, and nothing else happens
    this.pen = false; // once a pen was seen, fingers move the picture
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.#ring(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  get painting() {
    return Boolean(this.overlay.live);
  }

  // Discards the current stroke.
  drop() {
    this.overlay.live = null;
    this.overlay.ask();
  }

  showRing(x, y) {
    this.#ring({ ...pressedAt(x, y), byKeys: true });
  }

  // An outline drawn by keys: from where to where, and its end.
  get outlining() {
    return this.overlay.live?.tool === "outline" && !this.pointers.size;
  }

  beginOutline(x, y) {
    this.showRing(x, y);
    this.#begin(pressedAt(x, y));
  }

  outlineTo(x, y) {
    this.#extend(pressedAt(x, y));
    this.overlay.ask();
  }

  endOutline() {
    this.#end(this.overlay.live);
  }

  #down(event) {
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.pen ||= event.pointerType === "pen";
    if (this.taking) {
      this.taking(event.offsetX, event.offsetY);
      this.mode = "taken";
      return;
    }
    if (this.pointers.size > 1) {
      this.drop();
      this.pinch = null;
      return;
    }
    if (this.tools.mode === "enlarge" && this.tools.active !== "move" && event.button === 0) {
      this.mode = "part";
      this.start = this.#place(event);
      return;
    }
    const moving = this.tools.active === "move" || this.tools.mode === "enlarge" || event.button === 1 || (this.pen && event.pointerType === "touch");
    this.mode = moving ? "move" : "paint";
    if (!moving && event.button <= 2) this.#begin(event);
  }

  #move(event) {
    this.#ring(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (this.pointers.size > 1) {
      this.#pinched();
    } else if (this.mode === "part") {
      this.on.marked(this.start, this.#place(event));
    } else if (this.mode === "move") {
      this.viewer.panBy(event.offsetX - before[0], event.offsetY - before[1]);
    } else if (this.overlay.live) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.#extend(each);
      this.overlay.ask();
    }
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    this.pinch = null;
    if (event.type === "pointercancel") this.drop();
    else if (this.overlay.live) this.#end(this.overlay.live);
  }

  #end(stroke) {
    this.overlay.live = null;
    if (stroke.tool === "outline" && !this.#finished(stroke)) this.overlay.ask();
    else this.on.painted(stroke, performance.now());
  }

  #begin(event) {
    if (!this.overlay.strokes) return;
    const { tool } = this.tools;
    const erase = tool === "eraser" || event.altKey || event.button === 2;
    const [x, y] = this.#place(event);
    this.start = [x, y];
    if (tool === "brush" || tool === "eraser") {
      this.overlay.live = { tool: "brush", ...this.tools.stroke(erase), points: [x, y, this.#radius(event)] };
    } else {
      this.overlay.live = { tool: "outline", ...this.tools.stroke(erase), points: [x, y] };
    }
    this.overlay.ask();
  }

  #extend(event) {
    const live = this.overlay.live;
    const [x, y] = this.#place(event);
    if (this.tools.tool === "box") {
      const [left, top] = this.start;
      live.points = [left, top, x, top, x, y, left, y];
      this.overlay.strokes.known.delete(live);
      return;
    }
    const each = live.tool === "brush" ? 3 : 2;
    const [lastX, lastY] = live.points.slice(-each);
    if (Math.hypot(x - lastX, y - lastY) * this.viewer.scale < 1.5) return;
    const place = each === 3 ? [x, y, this.#radius(event)] : [x, y];
    live.points.push(...place);
    if (each === 3 && live.points.length >= 3 * MOST_POINTS) {
      this.on.painted(live, performance.now());
      this.overlay.live = { ...live, points: [...place] };
    }
  }

  #finished(stroke) {
    if (this.tools.tool !== "box") return stroke.points.length >= 6 && stroke.points.length <= 2 * MOST_POINTS;
    if (stroke.points.length < 8) return false;
    const [left, top, , , right, bottom] = stroke.points;
    return left !== right && top !== bottom;
  }

  #place(event) {
    const [x, y] = this.viewer.toPicture(event.offsetX, event.offsetY);
    const { width, height } = this.viewer.picture;
    const limit = (value, side) => Math.min(Math.max(value, -side), 2 * side);
    return [rounded(limit(x, width)), rounded(limit(y, height))];
  }

  #radius(event) {
    const pressed = event.pointerType === "pen" && event.pressure > 0;
    const share = pressed ? LIGHTEST + (1 - LIGHTEST) * event.pressure : 1;
    return Math.max(rounded(this.tools.radius * share), 1 / 32);
  }

  #ring(event) {
    const shown = event && (this.tools.isBrush || event.byKeys) && event.pointerType !== "touch" && this.viewer.image;
    this.at = event ? [event.offsetX, event.offsetY] : this.at;
    this.overlay.ring = shown
      ? {
        x: event.offsetX,
        y: event.offsetY,
        radius: this.tools.isBrush ? this.#radius(event) * this.viewer.scale : POINT,
        erase: this.tools.active === "eraser" || event.altKey,
      }
      : null;
    this.overlay.ask();
  }

  #pinched() {
    const [[x0, y0], [x1, y1]] = this.pointers.values();
    const now = { x: (x0 + x1) / 2, y: (y0 + y1) / 2, apart: Math.max(Math.hypot(x1 - x0, y1 - y0), 1) };
    if (this.pinch) {
      this.viewer.panBy(now.x - this.pinch.x, now.y - this.pinch.y);
      this.viewer.zoomBy(now.apart / this.pinch.apart, now.x, now.y, true);
    }
    this.pinch = now;
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.viewer.image) return;
    const unit = event.deltaMode === 1 ? 24 : 1;
    if (event.shiftKey) return this.viewer.panBy(-(event.deltaX || event.deltaY) * unit, 0);
    this.viewer.zoomBy(Math.exp(-event.deltaY * unit * 0.0022), event.offsetX, event.offsetY);
  }
}
