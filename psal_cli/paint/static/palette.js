// The colours that are painted on a grey picture.

import { element, find } from "./parts.js";

// Only hue and saturation matter: the picture determines the lightness.
const COLOURS = [
  ["Sky", "#7fb3e6"], ["Water", "#3f7fa6"], ["Grass", "#7da34a"], ["Leaves", "#4a7a35"], ["Earth", "#8f6a47"], ["Wood", "#b07d45"],
  ["Light skin", "#e3b69b"], ["Dark skin", "#8d5a3c"], ["Brick", "#a5482f"], ["Red", "#c0392b"], ["Yellow", "#e8c03c"], ["Grey", "#8c8c8c"],
];

export class Palette {
  // on: {chosen()}
  constructor(viewer, input, on) {
    Object.assign(this, { viewer, input, on });
    this.swatches = COLOURS.map(([name, colour]) => {
      const button = element("button", { type: "button", onclick: () => this.choose(colour) });
      Object.assign(button.dataset, { tip: name, key: "K next", colour });
      button.setAttribute("role", "radio");
      button.setAttribute("aria-label", name);
      button.style.background = colour;
      return button;
    });
    find("swatches").replaceChildren(...this.swatches);
    find("ink").addEventListener("input", () => this.choose(find("ink").value));
    find("pick").addEventListener("click", () => this.arm());
    this.choose(COLOURS[0][1]);
  }

  choose(colour) {
    find("ink").value = colour;
    for (const button of this.swatches) button.setAttribute("aria-checked", String(button.dataset.colour === colour));
    this.on.chosen();
  }

  // The next one of the swatches, or with -1 the one before.
  step(by) {
    const at = this.swatches.findIndex((button) => button.getAttribute("aria-checked") === "true");
    const next = (Math.max(at, by < 0 ? 0 : -1) + by + COLOURS.length) % COLOURS.length;
    this.choose(COLOURS[next][1]);
  }

  // The next press on the picture takes the colour that is there.
  arm(armed = find("pick").getAttribute("aria-pressed") !== "true") {
    find("pick").setAttribute("aria-pressed", String(armed));
    this.input.taking = armed ? (x, y) => this.take(x, y) : null;
  }

  // Takes the colour of the picture at a place of the screen, the pointer's if none is given.
  take(...place) {
    this.arm(false);
    const [x, y] = place.length ? place : this.input.at ?? [];
    const colour = x === undefined ? null : this.viewer.colourAt(x, y);
    if (colour) this.choose(colour);
  }
}
