// The page: brings tools, keys, picture and panel together.

import { ask, token } from "./api.js";
import { Compare } from "./compare.js";
import { Editor } from "./editor.js";
import { Input } from "./input.js";
import { Keys } from "./keys.js";
import { offerNetworks } from "./networks.js";
import { Overlay } from "./overlay.js";
import { Panel } from "./panel.js";
import { complain, find, say, shown } from "./parts.js";
import { options, wireOptions } from "./removing.js";
import { Saving } from "./saving.js";
import { addTips } from "./tips.js";
import { Tools } from "./tools.js";
import { Verbs } from "./verbs.js";
import { Viewer } from "./viewer.js";

class Page {
  constructor(session) {
    this.session = session;
    this.viewer = new Viewer(find("viewer"), session.tile);
    this.overlay = new Overlay(find("overlay"), this.viewer);
    this.compare = new Compare(this.viewer, this.overlay);
    this.editor = new Editor(this.viewer, this.overlay, {
      opened: (picture) => this.#opened(picture),
      changed: () => this.#changed(),
      progress: (job) => {
        this.panel.progress(job);
        this.panel.update();
        this.verbs.update();
      },
      finished: (job) => this.#finished(job),
      lost: (lost) => this.#lost(lost),
      reloaded: () => say("This picture was changed in another tab: here is how it is now."),
    });
    this.panel = new Panel(this.editor, {
      go: (position) => this.attempt(this.editor.go(position)),
      choose: (variant) => this.choose(variant),
      mode: () => this.tools?.mode ?? "remove",
      layerPainted: () => this.tools?.mode !== "enlarge" && Boolean(this.editor.strokes?.has(this.tools?.layer ?? "mask")),
    });
    this.saving = new Saving(this.editor);
    this.tools = new Tools(this.viewer, this.overlay, {
      remove: () => this.verbs.set("remove"),
      changed: () => this.panel.update(),
    });
    this.input = new Input(find("overlay"), this.viewer, this.overlay, this.tools, {
      painted: (stroke, released) => this.painted(stroke, released),
      marked: (from, to) => this.verbs.enlarge.mark(from, to),
    });
    this.viewer.view = () => {
      this.overlay.ask();
      this.#zoomed();
      if (this.compare.on) this.compare.update();
    };
    this.keys = new Keys(this);
    this.#wire();
    this.verbs = new Verbs(this);
    wireOptions();
    offerNetworks();
  }

  // ------------------------------------------------------------------------------------------------------- pictures

  async open(number) {
    if (this.opening || number < 0 || number >= this.session.names.length) return;
    if (this.editor.unsaved && number !== this.editor.picture.number) {
      find("leave-name").textContent = this.editor.picture.name;
      const answer = await shown(find("leave-dialog"));
      if (answer === "save" ? !(await this.saving.ask()) : answer !== "leave") return;
    }
    this.opening = true;
    delete find("overlay").dataset.picture;
    find("opening").textContent = `Opening ${this.session.names[number]} …`;
    find("opening").hidden = false;
    try {
      await this.editor.changes?.last;
      this.compare.toggle(false);
      await this.editor.open(number);
      find("opening").hidden = true;
    } catch (error) {
      find("name").textContent = this.session.names[number];
      find("facts").textContent = this.place(number);
      find("opening").textContent = error.message;
      this.failed = number;
    } finally {
      this.opening = false;
    }
  }

  step(by) {
    return this.open((this.failed ?? this.editor.picture?.number ?? 0) + by);
  }

  place(number) {
    const many = this.session.names.length;
    return many > 1 ? `${number + 1} of ${many}` : "";
  }

  #opened(picture) {
    this.failed = undefined;
    document.title = `${picture.name} – psal`;
    find("name").textContent = picture.name;
    const facts = [this.place(picture.number), `${picture.width} × ${picture.height}`, picture.bits === 16 ? "16 bits" : ""];
    find("facts").textContent = facts.filter(Boolean).join(" · ");
    find("previous").disabled = picture.number === 0;
    find("next").disabled = picture.number === this.session.names.length - 1;
    if (picture.notices.length) say(picture.notices.join(". "), { seconds: 8 });
    this.tools.setRadius(Math.max(Math.round(Math.max(picture.width, picture.height) / 100), 4));
    if (picture.document.strokes.length || picture.document.steps.length) say("Here is where you left off.");
    history.replaceState(null, "", `#token=${token}&picture=${picture.number}`);
    this.verbs.opened();
    this.#changed();
    this.#zoomed();
    find("overlay").dataset.picture = picture.number;
  }

  #changed() {
    this.overlay.ask();
    this.panel?.update();
    this.verbs?.update();
    document.body.dataset.waiting = this.editor.changes?.waiting ?? 0;
  }

  #finished(job) {
    if (job?.state === "failed") complain(new Error(job.error));
    else if (job?.state === "cancelled") say("Cancelled. What you painted is still there.");
    else if (job && job.kind !== "inpaint") this.attempt(this.verbs.finished(job));
    else if (job) say(["Done. Hold O to see how it was.", ...job.result.notices].join(" "), { seconds: job.result.notices.length ? 10 : 4 });
  }

  #lost(lost) {
    if (lost && !this.wasLost) say("psal does not answer. Strokes are kept here until it does.", { bad: true, seconds: 0 });
    if (!lost && this.wasLost) say("psal answers again.");
    this.wasLost = lost;
  }

  // -------------------------------------------------------------------------------------------------------- actions

  async attempt(promise) {
    try {
      return await promise;
    } catch (error) {
      if (!error.record?.stale) complain(error);
      return null;
    }
  }

  painted(stroke, released = performance.now()) {
    this.attempt(this.editor.paint(stroke));
    this.overlay.ask(() => { document.body.dataset.shownAfter = (performance.now() - released).toFixed(1); });
    if (this.overlay.hidden) this.hide(false);
  }

  undo() {
    if (this.editor.running || !this.editor.canUndo) return;
    if (this.input.painting) return this.input.drop();
    const stroke = this.editor.strokes.list[this.editor.strokes.at - 1];
    if (stroke) this.verbs.show(stroke.layer); // show the tab whose strokes change
    this.attempt(this.editor.undo());
  }

  redo() {
    if (this.editor.running || !this.editor.canRedo) return;
    const stroke = this.editor.strokes.list[this.editor.strokes.at];
    if (stroke) this.verbs.show(stroke.layer);
    this.attempt(this.editor.redo());
  }

  derive(tool, more = {}) {
    if (this.tools.mode === "enlarge" || (this.tools.mode === "colour" && tool !== "clear")) return;
    if (this.editor.strokes?.has(this.tools.layer)) this.painted({ tool, layer: this.tools.layer, ...more });
  }

  async askGrow(sign) {
    if (this.tools.mode !== "remove" || !this.editor.strokes?.has(this.tools.layer)) return;
    find("pixels-title").textContent = sign > 0 ? "Grow what is painted" : "Shrink what is painted";
    const answer = await shown(find("pixels-dialog"));
    const pixels = Math.round(Number(find("pixels").value));
    if (answer === "ok" && pixels >= 1 && pixels <= 1000) this.derive("grow", { pixels: sign * pixels });
  }

  run() {
    if (this.tools.mode !== "remove" || this.editor.running) return null;
    if (!this.editor.strokes?.has("mask")) return say("Paint over what should go first.");
    this.compare.toggle(false);
    return this.attempt(this.editor.start("run", options()));
  }

  another() {
    const step = this.editor.step;
    if (step?.kind !== "inpaint" || this.editor.running) return null;
    const seed = (Math.max(...step.variants.map(([number]) => number)) + 1) % 2 ** 32;
    return this.attempt(this.editor.start("run", { ...step.options, results: 1, seed, again: true }));
  }

  choose(variant) {
    if (this.editor.running || !this.editor.step || variant >= this.editor.step.variants.length) return null;
    return variant === this.editor.step.chosen ? null : this.attempt(this.editor.choose(variant));
  }

  cancel() {
    if (this.input.painting) return this.input.drop();
    if (this.editor.running) return this.attempt(this.editor.cancel());
    if (this.compare.on) return this.compare.toggle(false);
    return null;
  }

  // ----------------------------------------------------------------------------------------------------------- view

  modeChanged() {
    this.compare.update();
    this.panel.update();
    this.tools.show();
  }

  hide(hidden = find("hide").getAttribute("aria-pressed") !== "true") {
    find("hide").setAttribute("aria-pressed", String(hidden));
    this.compare.update();
  }

  theme() {
    const light = document.documentElement.classList.toggle("light");
    localStorage.setItem("psal-theme", light ? "light" : "dark");
    this.overlay.key = "";
    this.overlay.ask();
  }

  #zoomed() {
    find("zoom").textContent = `${Number((100 * this.viewer.scale).toPrecision(3))} %`;
    const [left, top] = this.viewer.corner;
    Object.assign(find("overlay").dataset, { scale: this.viewer.scale, left, top });
  }

  zoomKey(scale) {
    if (scale === 0) this.viewer.home();
    else this.viewer.zoomTo(scale);
  }

  #wire() {
    const click = (id, act) => find(id).addEventListener("click", act);
    click("previous", () => this.step(-1));
    click("next", () => this.step(1));
    click("undo", () => this.undo());
    click("redo", () => this.redo());
    click("zoom-in", () => this.viewer.zoomBy(1.5));
    click("zoom-out", () => this.viewer.zoomBy(1 / 1.5));
    click("zoom", () => this.zoomKey(Math.abs(this.viewer.scale - 1) < 0.01 ? 0 : 1));
    click("hide", () => this.hide());
    click("compare", () => this.compare.toggle());
    click("theme", () => this.theme());
    click("help", () => this.keys.show());
    click("save", () => this.saving.ask());
    click("fill", () => this.derive("fill"));
    click("grow", () => this.askGrow(1));
    click("shrink", () => this.askGrow(-1));
    click("clear", () => this.derive("clear"));
    click("run", () => this.run());
    click("cancel", () => this.cancel());
    click("another", () => this.another());
    click("pixels-cancel", () => find("pixels-dialog").close());
    document.addEventListener("click", (event) => {
      if (event.detail && event.target.closest("nav, header, .tabs, #swatches, #pick, #cards") && !document.querySelector("dialog[open]")) {
        find("overlay").focus({ focusVisible: false }); // so that Space and Enter work on the picture again
      }
    });
    window.addEventListener("beforeunload", (event) => {
      if (this.editor.unsaved || this.editor.changes?.waiting) event.preventDefault();
    });
  }
}

async function start() {
  const kept = localStorage.getItem("psal-theme");
  const light = kept ? kept === "light" : matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.classList.toggle("light", light);
  addTips();
  try {
    const session = await ask("/api/pictures");
    const page = new Page(session);
    await page.open(Number(new URLSearchParams(location.hash.slice(1)).get("picture")) || 0);
    find("overlay").focus({ focusVisible: false });
  } catch (error) {
    find("opening").textContent = error.status === 403
      ? "This address is not complete: open the one that psal paint printed."
      : error.message;
  }
}

start();
