// The cells of the gallery: one for each pair in sight. Those that leave are used again.

import { areaText, countText, VERDICT_WORDS } from "./model.js";

const SPARE = 200;

export class Cells {
  constructor(model, thumbs, selected, sheet) {
    Object.assign(this, { model, thumbs, selected, sheet });
    this.template = document.getElementById("cell").content.firstElementChild;
    this.shown = new Map(); // by the pair's index
    this.spare = [];
  }

  // The cell of a pair, at a place and with a width in pixels.
  put(pair, left, top, width) {
    let cell = this.shown.get(pair.index);
    if (!cell) {
      cell = this.spare.pop() ?? this.make();
      cell.root.hidden = false;
      this.shown.set(pair.index, cell);
      cell.root.id = `pair-${pair.index}`;
      cell.root.dataset.index = pair.index;
      cell.number.textContent = pair.index;
      this.fill(pair);
      this.picture(pair);
    }
    const place = `translate(${left}px, ${top}px)`;
    if (cell.place !== place) cell.root.style.transform = cell.place = place;
    if (cell.width !== width) {
      cell.width = width;
      cell.root.style.width = cell.frame.style.height = `${width}px`;
    }
  }

  make() {
    const root = this.template.cloneNode(true);
    this.sheet.append(root);
    const part = (name) => root.querySelector(name);
    return {
      root, frame: part(".frame"), picture: part(".picture"), overlay: part(".overlay"), number: part(".number"),
      value: part(".value"), mended: part(".mended"), copied: part(".copied"), place: "", width: 0, pictures: null,
    };
  }

  // Let go of all cells but those of these indices.
  keepOnly(indices) {
    for (const [index, cell] of this.shown) {
      if (indices.has(index)) continue;
      this.shown.delete(index);
      cell.picture.removeAttribute("src");
      cell.overlay.removeAttribute("src");
      cell.pictures = null;
      cell.root.hidden = true;
      cell.root.removeAttribute("id");
      if (this.spare.length < SPARE) this.spare.push(cell);
      else cell.root.remove();
    }
  }

  // Texts and states of a pair's cell, if it is in sight.
  fill(pair) {
    const cell = this.shown.get(pair.index);
    if (!cell) return;
    const { root } = cell;
    root.dataset.verdict = pair.verdict;
    cell.value.textContent = this.value(pair);
    cell.mended.hidden = !pair.mended;
    cell.copied.hidden = !pair.copy;
    root.setAttribute("aria-selected", this.selected.has(pair.index));
    root.classList.toggle("current", pair.index === this.selected.current);
    const facts = [`Pair ${pair.index}`, pair.type, VERDICT_WORDS[pair.verdict], `mask ${areaText(pair)}`];
    if (pair.mended) facts.push("mask mended");
    if (pair.copy) facts.push("suspected copy");
    root.setAttribute("aria-label", facts.join(", "));
    root.setAttribute("aria-posinset", (this.model.places.get(pair.index) ?? 0) + 1);
    root.setAttribute("aria-setsize", this.model.flat.length);
  }

  // Its pictures, if they are there; returns whether they are.
  picture(pair) {
    const cell = this.shown.get(pair.index);
    const pictures = this.thumbs.get(pair);
    if (!cell || !pictures || cell.pictures === pictures) return Boolean(pictures);
    cell.pictures = pictures;
    const [picture, overlay] = pictures;
    cell.root.classList.toggle("broken", !picture);
    if (picture) {
      cell.picture.src = picture;
      cell.overlay.src = overlay;
    }
    return true;
  }

  // What the order is about, beside the number.
  value(pair) {
    const { sort } = this.model.view;
    if (sort === "agreement" && pair.agreement !== null) return pair.agreement.toFixed(2);
    if (["like", "unlike"].includes(sort) && pair.likeness !== null) return pair.likeness.toFixed(3);
    return areaText(pair);
  }
}

// The heads of the types in sight.
export class Heads {
  constructor(model, sheet) {
    Object.assign(this, { model, sheet });
    this.shown = new Map();
  }

  put(section, top) {
    let head = this.shown.get(section.type);
    if (!head) {
      head = Object.assign(document.createElement("h2"), { className: "type" });
      head.append(Object.assign(document.createElement("span"), { textContent: section.type }), document.createElement("small"));
      this.shown.set(section.type, head);
      this.sheet.append(head);
    }
    head.style.transform = `translate(0, ${top}px)`;
    this.fill(section);
  }

  fill({ type, pairs }) {
    const head = this.shown.get(type);
    if (!head) return;
    const counts = this.model.counts(pairs);
    const parts = [`${countText(pairs.length)} pairs`];
    if (counts.accept) parts.push(`${countText(counts.accept)} accepted`);
    if (counts.reject) parts.push(`${countText(counts.reject)} rejected`);
    const text = parts.join(", ");
    if (head.lastChild.textContent !== text) head.lastChild.textContent = text;
  }

  keepOnly(types) {
    for (const [type, head] of this.shown) {
      if (types.has(type)) continue;
      head.remove();
      this.shown.delete(type);
    }
  }
}
