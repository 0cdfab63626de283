// The dialog to save.

import { complain, find, say } from "./parts.js";

const LOSSY = /\.(jpe?g|jpe|jfif|webp|avif|heic|heif|hif|jxl)$/i;
const EIGHT_BITS = /\.(jpe?g|jpe|jfif|webp|avif|heic|heif|hif|jxl|bmp|dib)$/i;

export class Saving {
  constructor(editor) {
    this.editor = editor;
    this.dialog = find("save-dialog");
    this.dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    find("save-cancel").addEventListener("click", () => this.dialog.close());
    find("save-quality").addEventListener("input", () => { find("save-quality-text").textContent = find("save-quality").value; });
    for (const id of ["save-name", "save-picture", "save-mask", "save-strokes", "save-hints"]) {
      find(id).addEventListener("input", () => this.#update());
    }
  }

  // Returns whether it was saved.
  ask() {
    const { picture } = this.editor;
    if (this.named !== picture.number || find("save-name").value.match(/_(inpainted|colorized)\./)) find("save-name").value = this.#default();
    this.named = picture.number;
    this.#update();
    this.saved = false;
    this.dialog.showModal();
    const name = find("save-name");
    name.focus();
    name.setSelectionRange(0, name.value.lastIndexOf("."));
    return new Promise((resolve) => this.dialog.addEventListener("close", () => resolve(this.saved), { once: true }));
  }

  #default() {
    const { picture, steps, position } = this.editor;
    const coloured = position > 0 && steps.slice(0, position).every((step) => step.kind === "colorize");
    return coloured ? picture.output.replace("_inpainted", "_colorized") : picture.output;
  }

  #update() {
    const name = find("save-name").value;
    const picture = find("save-picture").checked;
    const { bits, format } = this.editor.picture;
    this.overwrite = false;
    find("save-error").hidden = true;
    find("save-ok").textContent = "Save";
    find("save-name").disabled = !picture;
    const lossy = picture && LOSSY.test(name);
    const coloured = this.editor.steps.slice(0, this.editor.position).some((step) => step.kind === "colorize");
    find("save-quality-row").hidden = find("save-quality").hidden = !lossy || (format === "PNG" && find("save-quality").dataset.touched !== "true");
    find("save-note").textContent = !picture
      ? ""
      : bits > 8 && EIGHT_BITS.test(name)
        ? `This format holds 8 bits a channel, the picture has ${bits}: choose ${bits === 16 ? ".tif or .png" : ".tif"} to keep them.`
        : coloured
          ? "Saved with its camera data, in sRGB."
          : lossy
            ? "Saved with its profile and camera data. This format encodes the whole picture again; .png and .tif keep all other pixels exactly."
            : "Saved with its profile and camera data. Pixels outside what you painted stay exactly as they are.";
    const { steps, position, strokes } = this.editor;
    const removed = steps.slice(0, position).some((step) => step.kind === "inpaint") || strokes.has("mask") || strokes.has("source");
    for (const [id, any] of [["save-mask", removed], ["save-strokes", removed], ["save-hints", strokes.has("hint")]]) {
      find(id).disabled = !any;
      if (!any) find(id).checked = false;
    }
    find("save-ok").disabled = !["save-picture", "save-mask", "save-strokes", "save-hints"].some((id) => find(id).checked);
  }

  async #save() {
    const lossy = !find("save-quality").hidden;
    const order = {
      name: find("save-name").value,
      picture: find("save-picture").checked,
      mask: find("save-mask").checked,
      strokes: find("save-strokes").checked,
      hints: find("save-hints").checked,
      overwrite: this.overwrite,
      quality: lossy ? Number(find("save-quality").value) : null,
    };
    find("save-ok").disabled = true;
    try {
      const record = await this.editor.save(order);
      this.saved = true;
      this.dialog.close();
      say([`Saved ${record.names.join(", ")}`, ...record.notices].join(". "), { seconds: 8 });
    } catch (error) {
      if (error.record?.exists) {
        this.overwrite = true;
        find("save-ok").textContent = "Overwrite";
      }
      find("save-error").textContent = error.message;
      find("save-error").hidden = false;
      if (!this.dialog.open) complain(error);
    } finally {
      find("save-ok").disabled = false;
    }
  }
}
