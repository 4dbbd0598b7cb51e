// The gallery: cells by type, of which only those in sight are in the document.

import { areaText, countText, VERDICT_WORDS } from "./model.js";
import { Selection } from "./selection.js";

const GAP = 8;
const HEAD = 44;
const CAPTION = 26;
const OVERSCAN = 400; // pixels above and below what is in sight
const REST = 90; // milliseconds without a leap after which pictures are asked for

export class Grid extends EventTarget {
  constructor(model, source) {
    super();
    this.model = model;
    this.source = source;
    this.box = document.getElementById("gallery");
    this.sheet = document.getElementById("sheet");
    this.where = document.querySelector("#where span");
    this.side = 168;
    this.selected = new Selection(model);
    this.cells = new Map();
    this.waiting = new Set();
    this.rows = [];
    this.last = 0;
    this.box.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(this.box);
    this.sheet.addEventListener("click", (event) => this.clicked(event));
    this.sheet.addEventListener("dblclick", (event) => this.openAt(event));
    model.addEventListener("order", () => this.layout());
    model.addEventListener("pairs", (event) => this.update(event.detail.pairs));
  }

  setSide(side) {
    this.side = side;
    this.layout();
  }

  // Places of rows: heads of types, and cells in columns; what is in sight stays where it is.
  layout() {
    const width = this.sheet.clientWidth;
    if (!width) return;
    const held = this.hold();
    const columns = Math.max(Math.floor((width + GAP) / (this.side + GAP)), 2);
    this.columns = columns;
    this.cell = Math.floor((width - GAP * (columns - 1)) / columns);
    this.rows = [];
    this.rowOf = new Map();
    let top = 0;
    for (const section of this.model.sections) {
      this.rows.push({ top, section });
      top += HEAD;
      for (let first = 0; first < section.pairs.length; first += columns) {
        const pairs = section.pairs.slice(first, first + columns);
        for (const pair of pairs) this.rowOf.set(pair.index, this.rows.length);
        this.rows.push({ top, pairs });
        top += this.cell + CAPTION + GAP;
      }
    }
    this.sheet.style.height = `${top}px`;
    this.release(held);
    this.selected.check();
    this.render();
  }

  // The first cell in sight and where it is, or nothing while the top is in sight.
  hold() {
    const top = this.box.scrollTop;
    if (top < HEAD) return null;
    const row = this.rows.find((one) => one.pairs && one.top >= top);
    return row ? { index: row.pairs[0].index, offset: row.top - top } : null;
  }

  release(held) {
    const row = held && this.rows[this.rowOf.get(held.index)];
    if (row) this.box.scrollTop = row.top - held.offset;
  }

  soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const top = this.box.scrollTop;
    const bottom = top + this.box.clientHeight;
    const leap = Math.abs(top - this.last) > this.box.clientHeight;
    this.last = top;
    const wanted = new Set();
    for (let at = this.rowAt(top - OVERSCAN); at < this.rows.length && this.rows[at].top < bottom + OVERSCAN; at += 1) {
      const row = this.rows[at];
      if (row.section) this.keep(wanted, `type ${row.section.type}`, row, 0, () => this.head(row.section));
      else row.pairs.forEach((pair, column) => this.keep(wanted, pair.index, row, column, () => this.make(pair)));
    }
    this.sayWhere(top);
    for (const [key, element] of this.cells) if (!wanted.has(key)) this.drop(key, element);
    clearTimeout(this.rest);
    if (leap) this.rest = setTimeout(() => this.load(), REST);
    else this.load();
  }

  // The type that is in sight while its head is not.
  sayWhere(top) {
    let at = this.rowAt(top);
    while (at > 0 && !this.rows[at].section) at -= 1;
    const row = this.rows[at];
    this.where.hidden = !row?.section || row.top + HEAD > top;
    if (!this.where.hidden && this.where.textContent !== row.section.type) this.where.textContent = row.section.type;
  }

  rowAt(top) {
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.rows[middle].top <= top) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  keep(wanted, key, row, column, make) {
    wanted.add(key);
    let element = this.cells.get(key);
    if (!element) {
      element = make();
      this.cells.set(key, element);
      this.sheet.append(element);
    }
    const place = `translate(${column * (this.cell + GAP)}px, ${row.top}px)`;
    if (element.style.transform !== place) element.style.transform = place;
    if (row.section) this.fillHead(element, row.section);
    else if (element.style.width !== `${this.cell}px`) element.style.width = `${this.cell}px`;
  }

  drop(key, element) {
    for (const image of element.querySelectorAll("img")) image.removeAttribute("src"); // ends its request
    element.remove();
    this.cells.delete(key);
    this.waiting.delete(key);
  }

  head() {
    const head = document.createElement("h2");
    head.className = "type";
    return head;
  }

  fillHead(head, { type, pairs }) {
    const counts = this.model.counts(pairs);
    const parts = [`${countText(pairs.length)} pairs`];
    if (counts.accept) parts.push(`${countText(counts.accept)} accepted`);
    if (counts.reject) parts.push(`${countText(counts.reject)} rejected`);
    const text = parts.join(", ");
    if (head.dataset.text === type + text) return;
    head.dataset.text = type + text;
    const name = Object.assign(document.createElement("span"), { textContent: type });
    const more = Object.assign(document.createElement("small"), { textContent: text });
    head.replaceChildren(name, more);
  }

  make(pair) {
    const cell = document.getElementById("cell").content.firstElementChild.cloneNode(true);
    cell.id = `pair-${pair.index}`;
    cell.dataset.index = pair.index;
    cell.querySelector(".number").textContent = pair.index;
    if (this.model.info.readOnly) cell.querySelector(".quick").remove();
    this.fill(cell, pair);
    this.waiting.add(pair.index);
    return cell;
  }

  fill(cell, pair) {
    cell.dataset.verdict = pair.verdict;
    cell.classList.toggle("copy", pair.copy);
    cell.querySelector(".value").textContent = this.value(pair);
    cell.querySelector(".mended").hidden = !pair.mended;
    cell.querySelector(".copied").hidden = !pair.copy;
    cell.setAttribute("aria-selected", this.selected.has(pair.index));
    cell.classList.toggle("current", pair.index === this.selected.current);
    const facts = [`Pair ${pair.index}`, pair.type, VERDICT_WORDS[pair.verdict], `mask ${areaText(pair)}`];
    if (pair.mended) facts.push("mask mended");
    if (pair.copy) facts.push("suspected copy");
    cell.setAttribute("aria-label", facts.join(", "));
    cell.setAttribute("aria-posinset", (this.model.places.get(pair.index) ?? 0) + 1);
    cell.setAttribute("aria-setsize", this.model.flat.length);
  }

  // What the order is about, beside the number.
  value(pair) {
    const sort = this.model.view.sort;
    if (sort === "agreement" && pair.agreement !== null) return pair.agreement.toFixed(2);
    if (["like", "unlike"].includes(sort) && pair.likeness !== null) return pair.likeness.toFixed(3);
    return areaText(pair);
  }

  load() {
    for (const index of this.waiting) {
      const pair = this.model.pairs.get(index);
      const cell = this.cells.get(index);
      if (!pair || !cell) continue;
      cell.querySelector(".picture").src = this.source.thumb(pair, this.model.generation);
      this.loadOverlay(cell, pair);
    }
    this.waiting.clear();
  }

  loadOverlay(cell, pair) {
    const overlay = cell.querySelector(".overlay");
    const address = this.source.overlay(pair, this.model.generation);
    if (overlay.getAttribute("src") !== address) overlay.src = address;
  }

  update(pairs) {
    for (const pair of pairs) {
      const cell = this.cells.get(pair.index);
      if (!cell) continue;
      this.fill(cell, pair);
      if (!this.waiting.has(pair.index)) this.loadOverlay(cell, pair);
    }
    for (const row of this.rows) {
      const head = row.section && this.cells.get(`type ${row.section.type}`);
      if (head) this.fillHead(head, row.section);
    }
  }

  select(index, { extend = false, show = true } = {}) {
    this.selected.set(index, extend);
    const row = this.rows[this.rowOf?.get(index)];
    if (row && show) this.reveal(row);
    for (const [key, cell] of this.cells) {
      const pair = this.model.pairs.get(key);
      if (pair) this.fill(cell, pair);
    }
    const cell = this.cells.get(index);
    if (cell) this.box.setAttribute("aria-activedescendant", cell.id);
    else this.box.removeAttribute("aria-activedescendant");
  }

  selectAll() {
    const { flat } = this.model;
    if (!flat.length) return;
    this.selected.anchor = flat[0].index;
    this.select(flat.at(-1).index, { extend: true, show: false });
  }

  reveal(row) {
    const height = this.cell + CAPTION;
    const { scrollTop, clientHeight } = this.box;
    if (row.top < scrollTop) this.box.scrollTop = Math.max(row.top - HEAD, 0);
    else if (row.top + height > scrollTop + clientHeight) this.box.scrollTop = row.top + height + GAP - clientHeight;
    this.render();
  }

  // Move by a key: one pair, one row, one page, or to an end.
  move(key, extend) {
    const { flat, places } = this.model;
    if (!flat.length) return;
    const at = places.get(this.selected.current);
    if (at === undefined) return this.select(flat[0].index);
    const page = Math.max(Math.floor(this.box.clientHeight / (this.cell + CAPTION + GAP)), 1);
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: flat.length - 1,
      ArrowUp: this.rowStep(at, -1), ArrowDown: this.rowStep(at, 1),
      PageUp: this.rowStep(at, -page), PageDown: this.rowStep(at, page),
    }[key];
    this.select(flat[Math.min(Math.max(to, 0), flat.length - 1)].index, { extend });
  }

  // The place some rows of cells away, in the same column as far as there is one.
  rowStep(at, steps) {
    const { flat, places } = this.model;
    let row = this.rowOf.get(flat[at].index);
    const column = this.rows[row].pairs.indexOf(flat[at]);
    for (let left = Math.abs(steps); left > 0; left -= 1) {
      let next = row + Math.sign(steps);
      while (this.rows[next]?.section) next += Math.sign(steps);
      if (!this.rows[next]) break;
      row = next;
    }
    const { pairs } = this.rows[row];
    return places.get(pairs[Math.min(column, pairs.length - 1)].index);
  }

  clicked(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const index = Number(cell.dataset.index);
    const what = event.target.closest("[data-do]")?.dataset.do;
    if (what) {
      this.select(index, { show: false });
      this.dispatchEvent(new CustomEvent(what));
    } else {
      this.select(index, { extend: event.shiftKey, show: false });
      if (matchMedia("(pointer: coarse)").matches) this.dispatchEvent(new CustomEvent("open"));
    }
  }

  openAt(event) {
    if (event.target.closest(".cell") && !event.target.closest("[data-do]")) this.dispatchEvent(new CustomEvent("open"));
  }
}
