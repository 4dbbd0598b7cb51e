// One pair, large, with what is known of it, real anomalies beside it, and its mask to mend.

import { Brush, pack } from "./brush.js";
import { MaskSaver } from "./decide.js";
import { areaText, countText, VERDICT_WORDS } from "./model.js";
import { Pictures, maskPixels, sameBytes } from "./pictures.js";
import { Reals } from "./reals.js";
import { drawOverlay, Stage } from "./stage.js";

export class Loupe extends EventTarget {
  constructor(model, source, say) {
    super();
    Object.assign(this, { model, source, say, index: null, brush: null });
    this.dialog = document.getElementById("loupe");
    this.box = document.getElementById("stage");
    this.note = document.getElementById("stage-note");
    this.bar = document.getElementById("brush-bar");
    this.stage = new Stage(this.box);
    this.pictures = new Pictures();
    this.reals = new Reals(model, source);
    this.saver = new MaskSaver(model, source, say, (text) => (document.getElementById("saved").value = text));
    this.strokes = new Brush(this.stage, document.getElementById("width"), () => this.save());
    this.dialog.addEventListener("click", (event) => this.clicked(event));
    this.dialog.addEventListener("cancel", (event) => event.preventDefault()); // Esc is a key of ours
    this.dialog.addEventListener("close", () => this.closed());
    model.addEventListener("pairs", (event) => this.news(event.detail.pairs));
    if (model.info.readOnly) for (const button of this.dialog.querySelectorAll(".decide :not([aria-label])")) button.hidden = true;
  }

  get isOpen() {
    return this.dialog.open;
  }

  get editing() {
    return this.brush !== null;
  }

  open(index) {
    if (!this.dialog.open) this.dialog.showModal();
    this.go(index);
    this.box.focus();
  }

  close() {
    this.stopEditing();
    this.dialog.close();
  }

  closed() {
    this.index = null;
    this.stage.show(null, null);
    this.dispatchEvent(new Event("closed"));
  }

  go(index) {
    this.stopEditing();
    this.index = index;
    this.fill();
    this.reals.show(this.model.pairs.get(index));
    this.load();
    this.dispatchEvent(new Event("moved"));
  }

  // Texts about the pair.
  fill() {
    const pair = this.model.pairs.get(this.index);
    const { places, flat } = this.model;
    document.getElementById("loupe-title").textContent = `${pair.index} \u00b7 ${pair.type}`;
    const verdict = document.getElementById("loupe-verdict");
    verdict.textContent = VERDICT_WORDS[pair.verdict];
    verdict.dataset.verdict = pair.verdict;
    const place = places.get(pair.index);
    const facts = [["Pair", place === undefined ? "not in this view" : `${countText(place + 1)} of ${countText(flat.length)}`]];
    facts.push(["Mask", areaText(pair) + (pair.mended ? ", mended" : "")]);
    if (pair.agreement !== null) facts.push(["Agreement", pair.agreement.toFixed(3)]);
    if (pair.likeness !== null) {
      facts.push(["Likeness to real ones", pair.likeness.toFixed(3) + (pair.copy ? ", suspected copy" : "")]);
    }
    if (pair.attempt) facts.push(["Attempts", pair.attempt + 1]);
    const entries = facts.map(([name, value]) => {
      const entry = document.createElement("div");
      entry.append(Object.assign(document.createElement("dt"), { textContent: name }));
      entry.append(Object.assign(document.createElement("dd"), { textContent: value }));
      return entry;
    });
    document.getElementById("facts").replaceChildren(...entries);
    const label = `Pair ${pair.index}, ${pair.type}, ${VERDICT_WORDS[pair.verdict]}`;
    this.stage.canvas.setAttribute("aria-label", label);
  }

  // Its picture and mask; what was shown before goes if they take long.
  async load() {
    const pair = this.model.pairs.get(this.index);
    const ticket = (this.ticket = {});
    const blank = setTimeout(() => this.stage.show(null, null), 120);
    this.note.hidden = true;
    this.revision = pair.maskRevision;
    try {
      const [image, overlay] = await this.fetch(pair);
      if (ticket !== this.ticket) return;
      this.stage.show(image, overlay);
      this.ahead();
    } catch (error) {
      if (ticket !== this.ticket) return;
      this.stage.show(null, null);
      this.note.textContent = `This pair cannot be shown. ${error.message}`;
      this.note.hidden = false;
    } finally {
      clearTimeout(blank);
    }
  }

  async fetch(pair) {
    const { generation } = this.model;
    if (!this.source.live) {
      const views = await this.source.thumbs();
      return Promise.all(views[pair.index].map((at) => this.pictures.get(at)));
    }
    const addresses = [this.source.image(pair, generation), this.source.mask(pair, generation)];
    const [image, mask] = await Promise.all(addresses.map((at) => this.pictures.get(at)));
    const overlay = Object.assign(document.createElement("canvas"), { width: mask.naturalWidth, height: mask.naturalHeight });
    drawOverlay(overlay, maskPixels(mask));
    return [image, overlay];
  }

  // The next pictures, so that they are there when they are asked for.
  ahead() {
    if (!this.source.live) return;
    for (const steps of [1, 2, -1]) {
      const pair = this.model.neighbour(this.index, steps);
      if (!pair) continue;
      this.pictures.get(this.source.image(pair, this.model.generation)).catch(() => {});
      this.pictures.get(this.source.mask(pair, this.model.generation)).catch(() => {});
    }
  }

  news(pairs) {
    const pair = this.index !== null && pairs.find((one) => one.index === this.index);
    if (!pair) return;
    this.fill();
    this.reals.show(pair);
    if (!this.editing && pair.maskRevision !== this.revision) this.load();
  }

  // Mending.

  async edit() {
    const pair = this.model.pairs.get(this.index);
    if (this.model.info.readOnly || this.editing || !pair) return;
    await this.saver.sending;
    const { generation } = this.model;
    const base = pair.maskRevision;
    const addresses = [this.source.mask(pair, generation), this.source.mask(pair, generation, true)];
    try {
      const [mask, generated] = await Promise.all(addresses.map((at) => this.pictures.get(at)));
      if (this.index !== pair.index || !this.stage.image) return;
      this.brush = { pair, base, generated: maskPixels(generated) };
      const overlay = Object.assign(document.createElement("canvas"), { width: mask.naturalWidth, height: mask.naturalHeight });
      const pixels = maskPixels(mask);
      drawOverlay(overlay, pixels);
      this.stage.show(this.stage.image, overlay);
      this.strokes.start(pixels, overlay);
      this.setTool(true);
      document.getElementById("saved").value = "";
      this.bar.hidden = false;
      this.dialog.classList.add("editing");
      this.box.focus();
    } catch (error) {
      this.say(`The mask cannot be mended. ${error.message}`);
    }
  }

  setTool(marks) {
    this.strokes.marks = marks;
    this.bar.querySelector("[data-do=brush]").setAttribute("aria-pressed", marks);
    this.bar.querySelector("[data-do=eraser]").setAttribute("aria-pressed", !marks);
  }

  save() {
    const { generated } = this.brush;
    const mask = this.strokes.mask;
    this.saver.later(this.brush, () => (sameBytes(mask, generated) ? null : pack(mask)));
  }

  useGenerated() {
    this.strokes.replace(this.brush.generated);
  }

  async stopEditing() {
    if (!this.editing) return;
    const { pair } = this.brush;
    this.strokes.stop();
    const saved = this.saver.flush();
    this.brush = null;
    this.bar.hidden = true;
    this.dialog.classList.remove("editing");
    if (this.dialog.open) this.box.focus();
    await saved;
    if (this.index === pair.index && !this.editing) this.load();
  }

  clicked(event) {
    const what = event.target.closest("[data-do]")?.dataset.do;
    if (what) this.dispatchEvent(new CustomEvent("do", { detail: what }));
  }
}
