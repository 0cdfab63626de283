// The panel at the right: what the editor says, as buttons and words.

import { image } from "./api.js";
import { duration, element, find } from "./parts.js";

const KINDS = { inpaint: "Removed", colorize: "Coloured" };
const WORDS = { colorize: "Finding colours", preview: "Enlarging the part", upscale: "Enlarging" };
const PHASES = [[/guid|describ|look/i, "Looking for what fits"], [/join/i, "Joining the pieces"], [/draw/i, "Drawing"]];

export class Panel {
  constructor(editor, on) {
    Object.assign(this, { editor, on });
    this.shownCards = "";
    this.shownHistory = "";
  }

  update() {
    const { editor } = this;
    const busy = editor.running;
    const painted = Boolean(editor.strokes?.has("mask"));
    find("run").disabled = busy || !painted;
    find("undo").disabled = busy || !editor.canUndo;
    find("redo").disabled = busy || !editor.canRedo;
    find("save").disabled = busy || !editor.picture;
    const enabled = this.on.layerPainted();
    for (const id of ["fill", "grow", "shrink"]) find(id).disabled = !enabled || this.on.mode() !== "remove";
    find("clear").disabled = !enabled;
    find("another").disabled = busy;
    find("run").title = painted ? "" : "Paint over something first";
    this.#history(busy);
    this.#cards();
  }

  progress(job) {
    find("progress").hidden = !job;
    document.body.classList.toggle("busy", Boolean(job));
    if (!job) return;
    const bar = find("progress").querySelector("progress");
    bar.value = job.share;
    const left = job.left ? ` · ${duration(job.left)} left` : "";
    const words = job.kind === "inpaint" || !job.kind ? phase(job.text) : WORDS[job.kind];
    find("progress-text").textContent = job.state === "waiting" ? "Waiting for another picture" : words + left;
  }

  #history(busy) {
    const { position, steps } = this.editor;
    const key = JSON.stringify([position, busy, (steps ?? []).map((step) => [step.kind, step.pixels])]);
    if (key === this.shownHistory) return;
    this.shownHistory = key;
    const rows = [["Original", ""], ...(steps ?? []).map((step, at) => [`${at + 1}  ${KINDS[step.kind]}`, size(step)])];
    find("history").replaceChildren(...rows.map(([text, facts], at) => {
      const button = element("button", { disabled: busy, onclick: () => this.on.go(at) }, text, element("span", { textContent: facts }));
      button.setAttribute("aria-current", String(at === position));
      button.classList.toggle("later", at > position);
      return element("li", {}, button);
    }));
  }

  #cards() {
    const { editor } = this;
    const step = editor.step;
    find("choices").hidden = !step || step.kind !== "inpaint" || this.on.mode() !== "remove";
    const key = step ? JSON.stringify([editor.picture.number, editor.position, step.variants]) : "";
    if (key !== this.shownCards) {
      this.shownCards = key;
      for (const old of find("cards").querySelectorAll("img")) URL.revokeObjectURL(old.src);
      find("cards").replaceChildren(...(step?.variants ?? []).map((variant, at) => this.#card(at)));
    }
    [...find("cards").children].forEach((card, at) => {
      card.setAttribute("aria-pressed", String(at === step?.chosen));
      card.disabled = editor.running;
    });
  }

  #card(at) {
    const picture = element("img", { alt: "", draggable: false });
    image(`/api/pictures/${this.editor.picture.number}/results/${at}`).then((url) => { picture.src = url; }, () => {});
    const button = element("button", { onclick: () => this.on.choose(at) }, picture, element("b", { textContent: String(at + 1) }));
    button.setAttribute("aria-label", `Result ${at + 1}`);
    return button;
  }
}

function size(step) {
  const [, , width, height] = step.box;
  return `${width} × ${height}`;
}

function phase(text) {
  const known = PHASES.find(([pattern]) => pattern.test(text));
  const number = text.match(/(\d+) of (\d+)$/);
  return (known?.[1] ?? "Copying what fits") + (number ? ` (${number[1]} of ${number[2]})` : "");
}
