// The tab that enlarges: how large, with what, a part to try.

import { image } from "./api.js";
import { ownNetwork } from "./networks.js";
import { complain, find, say, shown } from "./parts.js";

const ROOM = 440; // pixels: a part that is smaller is shown larger, each pixel as a square
const HINT = "Drag on the picture to mark a small part, and try it first.";
const UNITS = { factor: "times", megapixels: "megapixels" };
const LABELS = { factor: "Factor", width: "Width", height: "Height", fit: "At most", long_side: "Longer side", megapixels: "Size" };

export class Enlarge {
  // page: its editor and overlay.
  constructor(page) {
    this.page = page;
    find("try").addEventListener("click", () => this.try());
    find("enlarge").addEventListener("click", () => this.run());
    find("scale").addEventListener("change", () => this.#measured(true));
    for (const id of ["measure-1", "measure-2"]) find(id).addEventListener("input", () => this.update());
    find("model").addEventListener("change", () => this.update());
    find("upscaler").addEventListener("change", () => this.#fitScale());
    find("cleaning").addEventListener("input", () => { find("cleaning-text").textContent = `${find("cleaning").value} %`; });
    this.#measured(false);
  }

  // Forgets what belonged to another picture.
  opened() {
    this.part = null;
    find("part-note").textContent = HINT;
    this.#measured(true);
  }

  update() {
    const { editor } = this.page;
    const own = Boolean(ownNetwork("upscaler"));
    find("model").disabled = own;
    find("between").hidden = own || find("model").value !== "between";
    const size = editor.picture ? this.#size() : null;
    find("becomes").textContent = size ? `It becomes ${size.join(" × ")} pixels.` : "";
    find("try").disabled = editor.running || !this.part || !size;
    find("enlarge").disabled = editor.running || !size;
  }

  // A part of the picture from one corner to another, no larger than what may be tried.
  mark([left, top], [right, bottom]) {
    const { width, height, part } = this.page.editor.picture;
    const side = (start, end, most) => {
      const to = Math.min(Math.max(end, start - part, 0), start + part, most);
      return [Math.round(Math.min(start, to)), Math.round(Math.abs(to - start))];
    };
    const [x, w] = side(Math.min(Math.max(left, 0), width), right, width);
    const [y, h] = side(Math.min(Math.max(top, 0), height), bottom, height);
    this.part = this.page.overlay.part = w >= 8 && h >= 8 ? [x, y, w, h] : null;
    find("part-note").textContent = this.part ? `${w} × ${h} pixels` : HINT;
    this.page.overlay.ask();
    this.update();
  }

  // The part around a place, as large as may be.
  markAround([x, y]) {
    const half = this.page.editor.picture.part / 2;
    this.mark([x - half, y - half], [x + half, y + half]);
  }

  try() {
    if (!find("try").disabled) this.page.attempt(this.page.editor.start("preview", { ...this.#wish(), box: this.part }));
  }

  async run(overwrite = false) {
    if (find("enlarge").disabled) return;
    try {
      await this.page.editor.start("enlarge", { ...this.#wish(), overwrite });
    } catch (error) {
      if (!error.record?.exists || overwrite) {
        complain(error);
        return;
      }
      find("exists-name").textContent = error.record.exists.join(", ");
      if ((await shown(find("exists-dialog"))) === "ok") await this.run(true);
    }
  }

  // What has to be done when a job of these is done.
  async finished({ kind, result }) {
    if (kind === "upscale") say([`Saved ${result.names.join(", ")}, ${result.width} × ${result.height}`, ...result.notices].join(". "), { seconds: 8 });
    if (kind !== "preview") return;
    const path = `/api/pictures/${this.page.editor.picture.number}/enlarged/`;
    for (const which of [0, 1]) {
      const picture = find(`part-${which}`);
      URL.revokeObjectURL(picture.src);
      picture.src = await image(path + which);
      picture.width = result.width * Math.max(Math.floor(ROOM / result.width), 1);
    }
    await shown(find("part-dialog"));
  }

  // The fields for the kind of size that is chosen. anew: with numbers to begin with.
  #measured(anew) {
    const kind = find("scale").value;
    const { picture } = this.page.editor;
    find("measure").hidden = !(kind in LABELS);
    if (kind in LABELS) {
      find("measure").firstElementChild.textContent = LABELS[kind];
      find("measure-1").setAttribute("aria-label", LABELS[kind]);
      find("measure-1").step = kind === "factor" || kind === "megapixels" ? "0.1" : "1";
      find("measure-by").hidden = kind !== "fit";
      find("measure-unit").textContent = UNITS[kind] ?? "px";
      if (anew && picture) {
        const { width, height } = picture;
        const megapixels = Number((4 * width * height / 1e6).toPrecision(3));
        const first = { factor: 1.5, width: 2 * width, height: 2 * height, fit: 2 * width, long_side: 2 * Math.max(width, height), megapixels };
        find("measure-1").value = first[kind];
        find("measure-2").value = 2 * height;
      }
    }
    this.update();
  }

  // A network of the user's enlarges by its own scale: that is chosen with it.
  #fitScale() {
    this.update();
    const scale = find("upscaler").selectedOptions[0].dataset.scale;
    if (!scale || !/^\d+$/.test(find("scale").value)) return;
    const listed = [...find("scale").options].some((option) => option.value === scale);
    find("scale").value = listed ? scale : "factor";
    this.#measured(false);
    if (!listed) find("measure-1").value = scale;
    this.update();
  }

  // How large: the names are those of psal_cli/paint/enlarging.py.
  #wanted() {
    const kind = find("scale").value;
    const [first, second] = [Number(find("measure-1").value), Number(find("measure-2").value)];
    if (!(kind in LABELS)) return { scale: Number(kind) };
    if (kind === "factor") return { scale: first };
    if (kind === "megapixels") return { megapixels: first };
    const whole = Math.round(first);
    return kind === "fit" ? { width: whole, height: Math.round(second) } : { [kind]: whole };
  }

  // Width and height of the result, null where they cannot be told.
  #size() {
    const { width, height } = this.page.editor.picture;
    const wanted = this.#wanted();
    const factor = wanted.scale
      ?? (wanted.long_side ? wanted.long_side / Math.max(width, height) : undefined)
      ?? (wanted.megapixels ? Math.sqrt(wanted.megapixels * 1e6 / (width * height)) : undefined)
      ?? Math.min(...[[wanted.width, width], [wanted.height, height]].filter(([side]) => side !== undefined).map(([side, old]) => side / old));
    const size = [width, height].map((side) => Math.floor(side * factor + 0.5));
    return Number.isFinite(factor) && Math.min(...size) >= 1 ? size : null;
  }

  #wish() {
    const weights = ownNetwork("upscaler");
    const model = find("model").value;
    const kind = weights ? { weights } : model === "between" ? { strength: Number(find("cleaning").value) / 100 } : { model };
    return { ...this.#wanted(), ...kind, ensemble: find("ensemble").checked };
  }
}
