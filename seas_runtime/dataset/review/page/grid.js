// The gallery: cells by type, of which only those in sight are in the document.

import { Cells, Heads } from "./cells.js";
import { Selection } from "./selection.js";
import { Thumbs } from "./thumbs.js";

const GAP = 8;
const HEAD = 44;
const CAPTION = 26;
const OVERSCAN = 300; // pixels above and below what is in sight
const FAST = 250; // milliseconds for a screenful, below which pictures wait
const REST = 80; // milliseconds of rest after which they are asked for

export class Grid extends EventTarget {
  constructor(model, source) {
    super();
    this.model = model;
    this.box = document.getElementById("gallery");
    this.sheet = document.getElementById("sheet");
    this.where = document.querySelector("#where span");
    this.quick = document.getElementById("quick");
    this.side = 168;
    this.rows = [];
    this.rowOf = new Map();
    this.last = { top: 0, time: 0 };
    this.selected = new Selection(model);
    this.thumbs = new Thumbs(model, source, (pairs) => pairs.forEach((pair) => this.cells.picture(pair)));
    this.cells = new Cells(model, this.thumbs, this.selected, this.sheet);
    this.heads = new Heads(model, this.sheet);
    this.box.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(this.box);
    this.sheet.addEventListener("click", (event) => this.clicked(event));
    this.sheet.addEventListener("dblclick", (event) => this.openAt(event));
    this.sheet.addEventListener("pointerover", (event) => this.hovered(event));
    this.sheet.addEventListener("pointerleave", () => document.body.append(this.quick));
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
    this.cell = Math.floor((width - GAP * (columns - 1)) / columns);
    this.rows = [];
    this.rowOf.clear();
    let top = 0;
    for (const section of this.model.sections) {
      this.rows.push({ top, section, head: true });
      top += HEAD;
      for (let first = 0; first < section.pairs.length; first += columns) {
        const pairs = section.pairs.slice(first, first + columns);
        for (const pair of pairs) this.rowOf.set(pair.index, this.rows.length);
        this.rows.push({ top, section, pairs });
        top += this.cell + CAPTION + GAP;
      }
    }
    this.sheet.style.height = `${top}px`;
    this.release(held);
    this.selected.check();
    this.render();
    this.cells.shown.forEach((_, index) => this.cells.fill(this.model.pairs.get(index)));
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
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const top = this.box.scrollTop;
    const height = this.box.clientHeight; // read before anything is written, or the browser lays out twice
    const bottom = top + height;
    const [indices, types, seen, beside] = [new Set(), new Set(), [], []];
    for (let at = this.rowAt(top - OVERSCAN); at < this.rows.length && this.rows[at].top < bottom + OVERSCAN; at += 1) {
      const row = this.rows[at];
      if (row.head) {
        types.add(row.section.type);
        this.heads.put(row.section, row.top);
      } else {
        for (const pair of row.pairs) indices.add(pair.index);
        (row.top + this.cell > top && row.top < bottom ? seen : beside).push(row);
      }
    }
    this.cells.keepOnly(indices);
    this.heads.keepOnly(types);
    for (const row of [...seen, ...beside]) {
      row.pairs.forEach((pair, column) => this.cells.put(pair, column * (this.cell + GAP), row.top, this.cell));
    }
    this.sayWhere(top);
    this.ask([...seen, ...beside].flatMap((row) => row.pairs), top, height);
  }

  // Pictures for cells: at once, or while cells rush by once they rest.
  ask(pairs, top, height) {
    const now = performance.now();
    const screens = Math.abs(top - this.last.top) / Math.max(height, 1);
    const fast = screens > (now - this.last.time) / FAST;
    this.last = { top, time: now };
    clearTimeout(this.rest);
    if (fast) this.rest = setTimeout(() => this.thumbs.want(pairs), REST);
    else this.thumbs.want(pairs);
  }

  // The type that is in sight while its head is not.
  sayWhere(top) {
    const row = this.rows[this.rowAt(top)];
    this.where.hidden = !row || row.head;
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
    return Math.max(low, 0);
  }

  update(pairs) {
    const stale = [];
    for (const pair of pairs) {
      if (!this.cells.shown.has(pair.index)) continue;
      this.cells.fill(pair);
      if (!this.cells.picture(pair)) stale.push(pair);
    }
    if (stale.length) this.thumbs.want([...stale, ...this.thumbs.queue]);
    for (const section of this.model.sections) this.heads.fill(section);
  }

  // Selection and moving.

  select(index, { extend = false, show = true } = {}) {
    this.selected.set(index, extend);
    const row = this.rows[this.rowOf.get(index)];
    if (row && show) this.reveal(row);
    for (const key of this.cells.shown.keys()) this.cells.fill(this.model.pairs.get(key));
    const cell = this.cells.shown.get(index);
    if (cell) this.box.setAttribute("aria-activedescendant", cell.root.id);
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
      while (this.rows[next]?.head) next += Math.sign(steps);
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

  // Buttons on the cell below a mouse.
  hovered(event) {
    const frame = event.pointerType === "mouse" && event.target.closest(".cell")?.querySelector(".frame");
    if (frame && this.quick.parentElement !== frame) frame.append(this.quick);
  }
}
