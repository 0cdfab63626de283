// Colouring and enlarging: the two other tabs of the panel.

import { headers, image, Lost, Refused } from "./api.js";
import { complain, element, find, say, shown } from "./parts.js";

const ROOM = 440; // pixels: a part that is smaller is shown larger, each pixel as a square
const MODES = ["remove", "colour", "enlarge"];

export class Verbs {
  // page: its editor, overlay and tools.
  constructor(page) {
    this.page = page;
    this.references = [];
    for (const mode of MODES) find(`mode-${mode}`).addEventListener("click", () => this.set(mode));
    find("file").addEventListener("change", () => this.#dropped(find("file").files));
    find("strength").addEventListener("input", () => { find("strength-text").textContent = `${find("strength").value} %`; });
    find("colour").addEventListener("click", () => this.#colour());
    find("try").addEventListener("click", () => this.#try());
    find("enlarge").addEventListener("click", () => this.#enlarge());
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      find("drop").classList.add("over");
    });
    document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      find("drop").classList.remove("over");
      this.#dropped(event.dataTransfer.files);
    });
    this.set("remove");
  }

  set(mode) {
    this.mode = this.page.tools.mode = mode;
    for (const name of MODES) find(`mode-${name}`).setAttribute("aria-selected", String(name === mode));
    for (const section of document.querySelectorAll("[data-mode]")) section.hidden = section.dataset.mode !== mode;
    this.page.overlay.part = mode === "enlarge" ? this.part ?? null : null;
    this.page.overlay.masked = mode === "remove";
    this.page.modeChanged();
    this.update();
  }

  // Forgets what belonged to another picture.
  opened() {
    this.part = this.page.overlay.part = null;
    this.update();
  }

  update() {
    const busy = this.page.editor.running;
    find("colour").disabled = busy || !this.references.length;
    find("try").disabled = busy || !this.part;
    find("enlarge").disabled = busy || !this.page.editor.picture;
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
    find("part-note").textContent = this.part ? `${w} × ${h} pixels` : "Drag on the picture to mark a small part, and try it first.";
    this.page.overlay.ask();
    this.update();
  }

  // What has to be done when a job of these is done.
  async finished(job) {
    if (job.kind === "upscale") say([`Saved ${job.found.names.join(", ")}`, ...job.found.notices].join(". "), { seconds: 8 });
    if (job.kind !== "preview") return;
    const path = `/api/pictures/${this.page.editor.picture.number}/enlarged/`;
    for (const which of [0, 1]) {
      URL.revokeObjectURL(find(`part-${which}`).src);
      const picture = find(`part-${which}`);
      picture.src = await image(path + which);
      picture.width = job.found.width * Math.max(Math.floor(ROOM / job.found.width), 1);
    }
    await shown(find("part-dialog"));
  }

  async #dropped(files) {
    this.set("colour");
    for (const file of files) {
      try {
        const answer = await fetch("/api/references", { method: "POST", headers, body: file }).catch(() => {
          throw new Lost("psal does not answer: is it still running?");
        });
        const found = await answer.json();
        if (!answer.ok) throw new Refused(answer.status, found);
        this.references.push(found.number);
        find("references").append(await this.#thumbnail(found.number, file.name));
      } catch (error) {
        complain(error);
      }
    }
    find("file").value = "";
    this.update();
  }

  async #thumbnail(number, name) {
    const button = element("button", { type: "button" }, element("img", { src: await image(`/api/references/${number}`), alt: name }));
    button.setAttribute("aria-label", `Take ${name} away`);
    button.addEventListener("click", () => {
      this.references = this.references.filter((other) => other !== number);
      button.remove();
      this.update();
    });
    return button;
  }

  #colour() {
    const strength = Number(find("strength").value) / 100;
    this.page.attempt(this.page.editor.start("colour", { references: this.references, strength }));
  }

  #wish() {
    return { scale: Number(find("scale").value), model: find("model").value };
  }

  #try() {
    this.page.attempt(this.page.editor.start("preview", { ...this.#wish(), box: this.part }));
  }

  async #enlarge(overwrite = false) {
    try {
      await this.page.editor.start("enlarge", { ...this.#wish(), overwrite });
    } catch (error) {
      if (!error.found?.exists || overwrite) return complain(error);
      find("exists-name").textContent = error.found.exists.join(", ");
      if ((await shown(find("exists-dialog"))) === "ok") await this.#enlarge(true);
    }
    return null;
  }
}
