// The current tool, the size of the brush, and the layer it paints on.

import { find } from "./parts.js";

const TOOLS = ["move", "brush", "eraser", "lasso", "box"];
const LAYERS = ["mask", "source"];
const [SMALLEST, LARGEST] = [0.5, 1000]; // radius of the brush, pixels of the picture

export class Tools {
  // on: {remove(), changed()}, called to leave the other tabs, and when another tool or layer is at hand.
  constructor(viewer, overlay, on) {
    Object.assign(this, { viewer, overlay, on, tool: "brush", chosen: "mask", radius: 30, mode: "remove", held: false });
    for (const tool of TOOLS) find(`tool-${tool}`).addEventListener("click", () => this.choose(tool));
    for (const layer of LAYERS) find(`layer-${layer}`).addEventListener("click", () => this.setLayer(layer));
    find("size").addEventListener("input", () => {
      this.setRadius(SMALLEST * (LARGEST / SMALLEST) ** (Number(find("size").value) / 1000));
    });
    find("size").addEventListener("change", () => find("overlay").focus({ focusVisible: false }));
    this.setRadius(this.radius);
    this.setLayer("mask");
    this.show();
  }

  // The pointer's current tool: while Space is held, it moves the picture.
  get active() {
    return this.held ? "move" : this.tool;
  }

  get isBrush() {
    return this.mode !== "enlarge" && ["brush", "eraser"].includes(this.active);
  }

  // What is painted on.
  get layer() {
    return this.mode === "colour" ? "hint" : this.chosen;
  }

  // The properties of a stroke except its points.
  stroke(erase) {
    const { layer } = this;
    return layer === "hint" && !erase ? { layer, erase, colour: find("ink").value } : { layer, erase };
  }

  choose(tool) {
    if (this.mode === "enlarge" && tool !== "move") this.on.remove();
    this.tool = tool;
    this.show();
  }

  hold(held) {
    this.held = held;
    this.show();
  }

  setLayer(layer) {
    this.chosen = layer;
    for (const name of LAYERS) find(`layer-${name}`).setAttribute("aria-checked", String(name === layer));
    this.on.changed();
  }

  setRadius(radius) {
    this.radius = Math.min(Math.max(radius, SMALLEST), LARGEST);
    find("size").value = 1000 * Math.log(this.radius / SMALLEST) / Math.log(LARGEST / SMALLEST);
    find("size-text").textContent = `${Number((2 * this.radius).toPrecision(3))} px`;
    if (this.overlay.ring) this.overlay.ring.radius = this.radius * this.viewer.scale;
    this.overlay.ask();
  }

  resize(factor) {
    const { radius } = this;
    this.setRadius(radius < 8 ? radius + Math.sign(factor - 1) * 0.5 : Math.round(radius * factor));
  }

  // The buttons and the pointer, as they are now.
  show() {
    const { tool, mode } = this;
    for (const name of TOOLS) find(`tool-${name}`).setAttribute("aria-pressed", String(name === tool && mode !== "enlarge"));
    const moving = this.active === "move";
    find("overlay").parentElement.className = moving ? "moving" : this.isBrush ? "painting" : "marking";
    if (!this.isBrush) this.overlay.ring = null;
    this.overlay.ask();
  }
}
