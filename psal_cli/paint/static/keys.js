// The keyboard: all that the buttons do, and painting.

import { element, find, shown } from "./parts.js";
import { rounded } from "./strokes.js";

const ZOOMS = { 0: 0, 1: 1, 2: 2, 4: 4, 8: 8 };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP = [
  ["B  E  L  R", "Brush, eraser, lasso, rectangle (with Alt, or the right button: erase)"],
  ["V", "Move the picture; or hold Space, or use the middle button"],
  ["[  ]", "Smaller or larger brush; with Shift in larger steps"],
  ["M", "Next tab: remove, colour, enlarge; with Shift the one before"],
  ["X", "Switch between “Remove this” and “Copy from here”"],
  ["K", "Next colour; with Shift the one before"],
  ["I", "Take the colour under the pointer"],
  ["F", "Fill what is enclosed"],
  ["G  Shift G", "Grow or shrink what is painted"],
  ["Del", "Clear"],
  ["Ctrl Z  Ctrl Shift Z", "Undo and redo, strokes and steps"],
  ["Enter", "Remove what is painted, colour the picture, or enlarge it"],
  ["Y", "Try the marked part enlarged"],
  ["N", "Another result"],
  ["Ctrl 1 … 6", "Choose a result"],
  ["Esc", "Cancel"],
  ["H", "Hide what is painted"],
  ["O", "Hold: see the original"],
  ["C", "Compare side by side; , and . move the divider"],
  ["+  −  0  1  2  4  8", "Zoom in, out, whole picture, 100 % to 800 %"],
  ["Arrows", "Move the picture"],
  ["Shift Arrows", "Move the brush"],
  ["P", "Put the brush down where it is, and up again: Shift Arrows then paint. So with lasso and rectangle; P marks a part to enlarge"],
  ["Page Up  Page Down", "Previous and next picture"],
  ["Ctrl S", "Save"],
  ["T", "Light or dark"],
];

export class Keys {
  constructor(page) {
    this.page = page;
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("keyup", (event) => this.#up(event));
    window.addEventListener("blur", () => this.#released());
    find("keys").replaceChildren(...HELP.flatMap(([keys, text]) => [
      element("span", {}, ...keys.split("  ").flatMap((key) => [element("kbd", { textContent: key }), " "])),
      element("span", { textContent: text }),
    ]));
  }

  show() {
    return shown(find("keys-dialog"));
  }

  #down(event) {
    const { page } = this;
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.matches?.("input[type=number], input[type=text], select");
    const control = event.ctrlKey || event.metaKey;
    if (control) return this.#withControl(event);
    if (typing && event.key !== "Escape") return;
    const onButton = event.target.matches?.("button, summary, input");
    if (onButton && ["Enter", " "].includes(event.key)) return;
    if (event.target.matches?.("input[type=range]") && event.key in ARROWS) return;
    const actions = {
      b: () => page.tools.choose("brush"),
      e: () => page.tools.choose("eraser"),
      l: () => page.tools.choose("lasso"),
      r: () => page.tools.choose("box"),
      v: () => page.tools.choose("move"),
      x: () => page.tools.mode === "remove" && page.tools.setLayer(page.tools.layer === "mask" ? "source" : "mask"),
      f: () => page.derive("fill"),
      g: () => page.askGrow(event.shiftKey ? -1 : 1),
      h: () => page.hide(),
      c: () => page.compare.toggle(),
      o: () => page.compare.hold(true),
      n: () => page.another(),
      t: () => page.theme(),
      p: () => this.#dab(),
      m: () => page.verbs.step(event.shiftKey ? -1 : 1),
      k: () => page.tools.mode === "colour" && page.verbs.palette.step(event.shiftKey ? -1 : 1),
      i: () => page.tools.mode === "colour" && page.verbs.palette.take(),
      y: () => page.tools.mode === "enlarge" && page.verbs.enlarge.try(),
      "[": () => page.tools.resize(1 / 1.15),
      "]": () => page.tools.resize(1.15),
      "{": () => page.tools.resize(1 / 1.6),
      "}": () => page.tools.resize(1.6),
      "+": () => page.viewer.zoomBy(1.5),
      "=": () => page.viewer.zoomBy(1.5),
      "-": () => page.viewer.zoomBy(1 / 1.5),
      ",": () => page.compare.on && page.compare.moveTo(page.compare.at - 0.02),
      ".": () => page.compare.on && page.compare.moveTo(page.compare.at + 0.02),
      "?": () => this.show(),
      " ": () => page.tools.hold(true),
      Enter: () => page.verbs.run(),
      Escape: () => page.cancel(),
      Delete: () => page.derive("clear"),
      Backspace: () => page.derive("clear"),
      PageUp: () => page.step(-1),
      PageDown: () => page.step(1),
    };
    const act = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (act) act();
    else if (event.key in ZOOMS) page.zoomKey(ZOOMS[event.key]);
    else if (event.key in ARROWS) this.#arrow(event);
    else return;
    event.preventDefault();
  }

  #withControl(event) {
    const { page } = this;
    const key = event.key.toLowerCase();
    if (key === "z") {
      if (event.shiftKey) page.redo();
      else page.undo();
    } else if (key === "y") {
      page.redo();
    } else if (key === "s") {
      if (page.editor.picture && !page.editor.running) page.saving.ask();
    } else if (/^[1-6]$/.test(key)) {
      page.choose(Number(key) - 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  #up(event) {
    if (event.key === " ") this.page.tools.hold(false);
    if (event.key.toLowerCase() === "o") this.page.compare.hold(false);
  }

  #released() {
    this.page.tools.hold(false);
    this.page.compare.hold(false);
  }

  #arrow(event) {
    const { viewer, tools, input } = this.page;
    if (!viewer.image) return;
    const [x, y] = ARROWS[event.key];
    if (!event.shiftKey) return viewer.panBy(-60 * x, -60 * y);
    const view = find("overlay");
    const [left, top] = input.at ?? [view.clientWidth / 2, view.clientHeight / 2];
    const by = tools.isBrush ? Math.max(tools.radius * viewer.scale / 2, 2) : 10;
    const at = [
      Math.min(Math.max(left + by * x, 0), view.clientWidth),
      Math.min(Math.max(top + by * y, 0), view.clientHeight),
    ];
    input.showRing(...at);
    if (input.outlining) input.outlineTo(...at);
    else if (this.down) this.#paint([left, top], at);
    return null;
  }

  // Puts the brush down, or takes it up; begins an outline, or ends it; marks a part.
  #dab() {
    const { page } = this;
    const { tools, input } = page;
    if (!page.viewer.image || tools.active === "move") return;
    const view = find("overlay");
    const at = input.at ?? [view.clientWidth / 2, view.clientHeight / 2];
    if (tools.mode === "enlarge") return page.verbs.enlarge.markAround(page.viewer.toPicture(...at));
    if (!tools.isBrush) return input.outlining ? input.endOutline() : input.beginOutline(...at);
    this.down = !this.down;
    input.showRing(...at);
    if (this.down) this.#paint(at);
    return null;
  }

  #paint(...places) {
    const { page } = this;
    const points = places.flatMap((place) => [...page.viewer.toPicture(...place).map(rounded), rounded(page.tools.radius)]);
    page.painted({ tool: "brush", ...page.tools.stroke(page.tools.tool === "eraser"), points });
  }
}
