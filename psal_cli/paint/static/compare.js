// Comparing with the original: a divider to drag, and a key to hold.

import { find } from "./parts.js";

export class Compare {
  constructor(viewer, overlay) {
    Object.assign(this, { viewer, overlay });
    this.on = false;
    this.held = false;
    this.at = 0.5; // of the width of the view
    const divider = find("divider");
    divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
    divider.addEventListener("pointermove", (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const view = find("viewer").getBoundingClientRect();
      this.moveTo((event.clientX - view.left) / view.width);
    });
  }

  moveTo(share) {
    this.at = Math.min(Math.max(share, 0.01), 0.99);
    this.update();
  }

  toggle(on = !this.on) {
    this.on = on;
    this.update();
  }

  hold(held) {
    if (held === this.held) return;
    this.held = held;
    this.update();
  }

  // To be called whenever the view has moved, too.
  update() {
    const { on, held } = this;
    find("compare").setAttribute("aria-pressed", String(on));
    find("divider").hidden = find("labels").hidden = !on || held;
    this.overlay.hidden = on || held || find("hide").getAttribute("aria-pressed") === "true";
    this.overlay.ask();
    if (!this.viewer.image) return;
    const width = find("viewer").clientWidth;
    find("divider").style.left = `${this.at * width}px`;
    const [x] = this.viewer.toPicture(this.at * width, 0);
    const share = held ? 1 : on ? Math.min(Math.max(x / this.viewer.picture.width, 0), 1) : 0;
    this.viewer.showOriginal(on && !held ? Math.min(share, 0.9999) : share);
  }
}
