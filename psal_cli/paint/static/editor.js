// The picture that is open: its strokes, its steps, its job. Tells `on` what has changed; knows nothing of buttons.

import { Changes, Refused, ask } from "./api.js";
import { Strokes } from "./strokes.js";

const POLL = 200; // milliseconds between requests for a job's progress

export class Editor {
  // on: {opened, changed, progress, finished, lost, reloaded, failed}
  constructor(viewer, overlay, on) {
    Object.assign(this, { viewer, overlay, on });
    this.picture = null;
    this.job = null;
  }

  async open(number) {
    this.#leave();
    this.overlay.strokes = this.strokes = null;
    this.viewer.clear();
    const picture = await ask(`/api/pictures/${number}`);
    this.#begin(picture);
    await this.viewer.open(picture);
    this.#take(picture.document);
    this.on.opened(picture);
    if (picture.job && ["waiting", "running"].includes(picture.job.state)) this.#follow();
  }

  get running() {
    return this.job !== null;
  }

  get step() {
    return this.position ? this.steps[this.position - 1] : null;
  }

  get canUndo() {
    return this.strokes?.at > 0 || this.position > 0;
  }

  get canRedo() {
    return this.strokes?.at < this.strokes?.list.length || this.position < this.steps?.length;
  }

  paint(stroke) {
    const at = this.strokes.at;
    this.strokes.add(stroke);
    this.on.changed();
    if (this.changes.over) { // the picture is being loaded anew: it waits until that is done
      this.dropped.push(stroke);
      return Promise.resolve();
    }
    return this.changes.send("strokes", { at, strokes: [stroke] });
  }

  undo() {
    if (this.strokes.at > 0) return this.#move(this.strokes.at - 1);
    return this.position > 0 ? this.go(this.position - 1) : null;
  }

  redo() {
    if (this.strokes.at < this.strokes.list.length) return this.#move(this.strokes.at + 1);
    return this.position < this.steps.length ? this.go(this.position + 1) : null;
  }

  go(position) {
    if (position === this.position) return null;
    return this.changes.send("go", { position });
  }

  choose(variant) {
    return this.changes.send("choose", { variant });
  }

  // name: "run", "colour", "preview" or "enlarge".
  async start(name, options) {
    if (this.running) return;
    this.job = { state: "waiting", share: 0, text: "" };
    this.on.progress(this.job);
    try {
      await this.changes.send(name, options);
    } catch (error) {
      this.job = null;
      this.on.progress(null);
      throw error;
    }
    await this.#follow();
  }

  cancel() {
    return ask(`/api/pictures/${this.picture.number}/cancel`, {});
  }

  save(order) {
    return this.changes.send("save", order);
  }

  #move(at) {
    this.strokes.move(at);
    this.on.changed();
    return this.changes.send("move", { at });
  }

  #leave() {
    if (this.changes) this.changes.over = true;
    this.job = null;
  }

  #begin(picture) {
    this.picture = picture;
    this.unsaved = picture.unsaved;
    this.dropped = [];
    this.changes = new Changes(picture.number, picture.revision, {
      changed: (record) => this.#heard(record),
      lost: (lost) => this.on.lost(lost),
      dropped: (name, body) => name === "strokes" && this.dropped.push(...body.strokes),
      stale: () => this.#reload(),
    });
  }

  // Loads the server's state of the picture and repaints strokes that came too late. boxes: the changed parts, if known.
  #reload(boxes) {
    this.changes.over = true;
    this.reloading = (this.reloading ?? Promise.resolve()).then(() => this.#loadAnew(boxes)).catch(() => {});
    return this.reloading;
  }

  async #loadAnew(boxes) {
    const { number } = this.picture;
    this.changes.over = true;
    await this.changes.last; // the current request ends, and the queue behind it is dropped
    const picture = await ask(`/api/pictures/${number}`);
    if (number !== this.picture.number) return;
    const [late, told] = [this.dropped, this.running];
    this.#begin(picture);
    if (boxes || picture.version !== this.viewer.version) {
      this.viewer.refresh(boxes ?? [[0, 0, picture.width, picture.height]], picture.version);
    }
    this.#take(picture.document);
    for (const stroke of late) this.paint(stroke).catch(() => {});
    if (!told && !boxes) this.on.reloaded();
  }

  // Takes over the state of the picture from an answer.
  #heard(record) {
    if (record.unsaved !== undefined) this.unsaved = record.unsaved;
    if (record.changed?.length) this.viewer.refresh(record.changed, record.version);
    if (record.count < this.steps?.length) this.steps.length = record.count; // painting discards later steps
    if (record.document) this.#take(record.document);
    this.on.changed();
  }

  #take(record) {
    this.position = record.position;
    this.steps = record.steps;
    const number = this.picture.number;
    this.strokes = new Strokes(record.strokes, record.at, async (layer, at) => {
      await this.changes.last; // the server has to know the strokes first
      return (await ask(`/api/pictures/${number}/outline`, { layer, at })).rectangles;
    });
    this.overlay.strokes = this.strokes;
    this.overlay.ask();
    this.on.changed();
  }

  async #follow() {
    const { number } = this.picture;
    for (;;) {
      let record;
      try {
        record = await ask(`/api/pictures/${number}/job`);
        this.on.lost(false);
      } catch (error) {
        if (error instanceof Refused) throw error;
        this.on.lost(true);
        await pause(1500);
        continue;
      }
      if (this.picture.number !== number) return;
      const job = record.job;
      if (job && ["waiting", "running"].includes(job.state)) {
        this.job = job;
        this.on.progress(job);
        await pause(POLL);
        continue;
      }
      if (job?.state === "done" && job.result.changed) await this.#reload(job.result.changed);
      this.job = null;
      this.on.progress(null);
      this.on.finished(job);
      return;
    }
  }
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
