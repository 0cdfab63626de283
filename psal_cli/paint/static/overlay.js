// What is painted, over the picture, and the ring of the brush.

import { LAYERS } from "./strokes.js";

const OPACITY = { mask: 0.55, source: 0.55, hint: 0.9 };

export class Overlay {
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.viewer = viewer;
    this.work = document.createElement("canvas"); // a layer with the live stroke
    this.layers = Object.fromEntries(LAYERS.map((layer) => [layer, document.createElement("canvas")]));
    this.strokes = null;
    this.live = null; // the stroke that is being painted
    this.ring = null; // {x, y, radius} on the screen
    this.part = null; // of the picture: left, top, width, height
    this.hidden = false;
    this.shown = LAYERS; // which layers are
    this.key = "";
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
  }

  // Draws at the next frame. shown: is called once it is drawn.
  ask(shown) {
    if (shown) (this.after ??= []).push(shown);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#draw();
      const told = this.after ?? [];
      this.after = undefined;
      told.forEach((tell) => tell());
    });
  }

  #resize() {
    this.density = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    for (const canvas of [this.canvas, this.work, ...Object.values(this.layers)]) {
      canvas.width = Math.max(Math.round(clientWidth * this.density), 1);
      canvas.height = Math.max(Math.round(clientHeight * this.density), 1);
    }
    this.key = "";
    this.ask();
  }

  #draw() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.strokes && this.viewer.image && !this.hidden) {
      this.#drawLayers();
      for (const layer of this.shown) {
        context.globalAlpha = OPACITY[layer];
        context.drawImage(this.live?.layer === layer ? this.#withLive() : this.layers[layer], 0, 0);
      }
      context.globalAlpha = 1;
    }
    if (this.part && this.viewer.image) this.#drawPart();
    this.#drawRing();
  }

  // The part that is to be enlarged.
  #drawPart() {
    const { context, density } = this;
    const [left, top] = this.viewer.corner;
    const scale = this.viewer.scale;
    const [x, y, width, height] = this.part;
    context.setTransform(density, 0, 0, density, 0, 0);
    for (const [colour, dash] of [["rgb(0 0 0 / 70%)", []], ["#fff", [6, 5]]]) {
      context.strokeStyle = colour;
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.strokeRect(left + x * scale, top + y * scale, width * scale, height * scale);
    }
    context.setLineDash([]);
  }

  // The strokes of each layer, drawn only where the view or the strokes are others than before.
  #drawLayers() {
    const { strokes, canvas } = this;
    const key = [...this.viewer.corner, this.viewer.scale, canvas.width, canvas.height].join();
    const same = key === this.key && this.drawnOf === strokes;
    const before = this.drawnVersion;
    Object.assign(this, { key, drawnOf: strokes, drawnVersion: strokes.version });
    if (same && before === strokes.version) return;
    const added = strokes.list[strokes.at - 1];
    if (same && strokes.version === before + 1 && strokes.added === strokes.version && added.points) {
      const layer = this.layers[added.layer];
      this.#painted(layer, added.layer, (context, view) => strokes.drawOne(context, added, view), false);
      return;
    }
    for (const layer of LAYERS) {
      const missing = this.#painted(this.layers[layer], layer, (context, view) => strokes.draw(context, layer, view));
      missing?.then(() => {
        this.key = "";
        this.ask();
      }, () => {});
    }
  }

  #withLive() {
    const live = this.live;
    return this.#painted(this.work, live.layer, (context, view) => {
      context.save();
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.drawImage(this.layers[live.layer], 0, 0);
      context.restore();
      this.strokes.drawOne(context, live, view);
      return this.work;
    });
  }

  // Lets `draw` paint on a canvas in picture coordinates, in the colour of a layer; returns what it returns.
  // anew: on nothing, else on what is there.
  #painted(canvas, layer, draw, anew = true) {
    const context = canvas.getContext("2d");
    const [left, top] = this.viewer.corner;
    const [scale, density] = [this.viewer.scale, this.density];
    const [x, y] = this.viewer.toPicture(0, 0);
    const view = { left: x, top: y, right: x + canvas.width / density / scale, bottom: y + canvas.height / density / scale };
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (anew) context.clearRect(0, 0, canvas.width, canvas.height);
    context.save();
    context.setTransform(scale * density, 0, 0, scale * density, left * density, top * density);
    context.lineCap = context.lineJoin = "round";
    context.fillStyle = context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${layer}`);
    context.beginPath();
    context.rect(0, 0, this.viewer.picture.width, this.viewer.picture.height);
    context.clip();
    const result = draw(context, view);
    context.restore();
    return result;
  }

  #drawRing() {
    const { context, ring, density } = this;
    if (!ring) return;
    context.setTransform(density, 0, 0, density, 0, 0);
    for (const [colour, width] of [["rgb(0 0 0 / 70%)", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(ring.erase ? [5, 4] : []);
      context.beginPath();
      context.arc(ring.x, ring.y, Math.max(ring.radius, 1), 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
  }
}
