// The three tabs of the panel, and the one that colours.

import { headers, image, Lost, Refused } from "./api.js";
import { colouring, guesses, wireColouring } from "./colouring.js";
import { Enlarge } from "./enlarge.js";
import { Palette } from "./palette.js";
import { complain, element, find, say } from "./parts.js";

const MODES = ["remove", "colour", "enlarge"];
const SHOWN = { remove: ["mask", "source"], colour: ["hint"], enlarge: [] };
const MANY = 0.25; // share of a picture's colours that were guessed, from which a notice is shown

export class Verbs {
  // page: its editor, overlay, input and tools.
  constructor(page) {
    this.page = page;
    this.references = [];
    this.enlarge = new Enlarge(page);
    this.palette = new Palette(page.viewer, page.input, {
      chosen: () => page.tools.tool === "eraser" && page.tools.choose("brush"),
    });
    for (const mode of MODES) find(`mode-${mode}`).addEventListener("click", () => this.set(mode));
    find("file").addEventListener("change", () => this.#dropped(find("file").files));
    wireColouring();
    find("colour").addEventListener("click", () => this.colour());
    for (const name of ["guess", "colour-method"]) find(name).addEventListener("change", () => this.update());
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
    const { page } = this;
    this.mode = page.tools.mode = mode;
    for (const name of MODES) find(`mode-${name}`).setAttribute("aria-selected", String(name === mode));
    for (const part of document.querySelectorAll("[data-mode]")) part.hidden = !part.dataset.mode.split(" ").includes(mode);
    page.overlay.part = mode === "enlarge" ? this.enlarge.part ?? null : null;
    page.overlay.shown = SHOWN[mode];
    this.palette.arm(false);
    page.hide(false);
    page.modeChanged();
    this.update();
  }

  step(by) {
    this.set(MODES[(MODES.indexOf(this.mode) + by + MODES.length) % MODES.length]);
  }

  // Shows the tab in which a layer is painted.
  show(layer) {
    const mode = MODES.find((name) => SHOWN[name].includes(layer));
    if (mode !== this.mode) this.set(mode);
  }

  // Forgets what belonged to another picture.
  opened() {
    this.page.overlay.part = null;
    this.enlarge.opened();
    this.update();
  }

  update() {
    const { editor } = this.page;
    find("guess-row").hidden = this.references.length > 0;
    find("colour").disabled = editor.running || !(this.references.length || editor.strokes?.has("hint") || guesses());
    this.enlarge.update();
  }

  // Does what the tab is for.
  run() {
    if (this.mode === "remove") this.page.run();
    else if (this.mode === "enlarge") this.enlarge.run();
    else if (find("colour").disabled) say("Drop a picture with the right colours, paint some, or let them be guessed.");
    else this.colour();
  }

  colour() {
    this.page.compare.toggle(false);
    this.page.attempt(this.page.editor.start("colour", { references: this.references, ...colouring() }));
  }

  // What has to be done when a job of these is done.
  async finished(job) {
    if (job.kind !== "colorize") {
      await this.enlarge.finished(job);
      return;
    }
    if (this.page.editor.strokes.has("hint")) this.page.hide(true); // the painted strokes would hide the result
    const { guessed, overruled } = job.result;
    const said = ["Done."];
    if (guessed > MANY) said.push(`The colours of ${Math.round(100 * guessed)} % are guesses: paint some there, or drop another picture.`);
    if (overruled > MANY) said.push("The pictures have other colours where you painted: yours count.");
    if (this.page.editor.strokes.has("hint")) said.push("H shows what you painted.");
    say(said.join(" "), { seconds: 8 });
  }

  async #dropped(files) {
    this.set("colour");
    for (const file of files) {
      try {
        const answer = await fetch("/api/references", { method: "POST", headers, body: file }).catch(() => {
          throw new Lost("psal does not answer: is it still running?");
        });
        const record = await answer.json();
        if (!answer.ok) throw new Refused(answer.status, record);
        this.references.push(record.number);
        find("references").append(await this.#thumbnail(record.number, file.name));
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
}
