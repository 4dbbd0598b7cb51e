// Mending a mask: brush and eraser with undo, by pointer or by keys. Every change is handed on to be saved.

import { drawOverlay } from "./stage.js";

const MOST_KEPT = 1 << 26; // bytes of strokes that can be undone

export class Brush {
  constructor(stage, width, changed) {
    this.stage = stage;
    this.width = width; // an input of 1 to 100
    this.changed = changed;
    this.marks = true;
    this.keyboard = false;
    this.at = null;
  }

  // Begin with a mask (width x height, one byte a pixel) and the canvas its overlay is on.
  start(mask, overlay) {
    Object.assign(this, { mask, overlay, undone: [], done: [], stroke: null });
    this.at = [Math.floor(overlay.width / 2), Math.floor(overlay.height / 2)];
    this.stage.hand = this;
  }

  stop() {
    this.up();
    this.stage.hand = null;
    this.hover(null);
  }

  // In pixels of the picture: from one pixel to a sixth of its larger side.
  get radius() {
    const { width, height } = this.overlay;
    return Math.round(((this.width.value - 1) / 99) ** 2 * (Math.max(width, height) / 12));
  }

  widen(steps) {
    this.width.value = Number(this.width.value) + steps;
    this.hover(this.at);
  }

  hover(pixel) {
    if (pixel) this.at = pixel;
    this.stage.cursor = pixel && { x: pixel[0], y: pixel[1], radius: this.radius };
    this.stage.draw();
  }

  down(pixel) {
    this.keyboard = false;
    this.stroke = { before: this.mask.slice(), area: null };
    this.last = pixel;
    this.move(pixel);
  }

  move(pixel) {
    this.hover(pixel);
    if (!this.stroke) return;
    const length = Math.hypot(pixel[0] - this.last[0], pixel[1] - this.last[1]);
    const steps = Math.max(Math.ceil(length / Math.max(this.radius / 3, 1)), 1);
    let area = null;
    for (let step = 1; step <= steps; step += 1) {
      const [x, y] = [0, 1].map((i) => Math.round(this.last[i] + ((pixel[i] - this.last[i]) * step) / steps));
      area = union(area, this.dab(x, y));
    }
    this.last = pixel;
    if (!area) return;
    this.stroke.area = union(this.stroke.area, area);
    this.redraw(area);
  }

  up() {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke?.area) this.note(stroke.before, stroke.area);
  }

  // A second finger came down: what the first one drew was no stroke.
  cancel() {
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke?.area) return;
    this.mask.set(stroke.before);
    this.redraw(stroke.area);
  }

  // Put the brush down once; returns the part of the mask it may have changed, or null.
  dab(x, y) {
    const { mask, radius } = this;
    const { width, height } = this.overlay;
    const area = clip({ x: x - radius, y: y - radius, width: 2 * radius + 1, height: 2 * radius + 1 }, width, height);
    if (!area) return null;
    const value = this.marks ? 1 : 0;
    for (let v = area.y; v < area.y + area.height; v += 1) {
      const half = Math.floor(Math.sqrt(radius * radius + radius - (v - y) ** 2));
      mask.fill(value, v * width + Math.max(x - half, 0), v * width + Math.min(x + half + 1, width));
    }
    return area;
  }

  // Replace the whole mask, as a step that can be undone.
  replace(mask) {
    const before = this.mask.slice();
    this.mask.set(mask);
    const whole = { x: 0, y: 0, width: this.overlay.width, height: this.overlay.height };
    this.redraw(whole);
    this.note(before, whole);
  }

  note(before, area) {
    this.done.push({ area, pixels: cut(before, area, this.overlay.width) });
    this.undone = [];
    let kept = this.done.reduce((sum, step) => sum + step.pixels.length, 0);
    while (kept > MOST_KEPT && this.done.length > 1) kept -= this.done.shift().pixels.length;
    this.changed();
  }

  undo() {
    this.swap(this.done, this.undone);
  }

  redo() {
    this.swap(this.undone, this.done);
  }

  swap(from, to) {
    const step = from.pop();
    if (!step) return;
    to.push({ area: step.area, pixels: cut(this.mask, step.area, this.overlay.width) });
    const { x, y, width, height } = step.area;
    for (let row = 0; row < height; row += 1) {
      this.mask.set(step.pixels.subarray(row * width, (row + 1) * width), (y + row) * this.overlay.width + x);
    }
    this.redraw(step.area);
    this.changed();
  }

  redraw(area) {
    drawOverlay(this.overlay, this.mask, area);
    this.stage.draw();
  }

  // Keys: arrows move the brush, Space puts it down once.
  step(x, y) {
    this.keyboard = true;
    const { width, height } = this.overlay;
    const bound = (value, most) => Math.min(Math.max(value, 0), most - 1);
    this.hover([bound(this.at[0] + x, width), bound(this.at[1] + y, height)]);
  }

  press() {
    this.down(this.at);
    this.keyboard = true;
    this.up();
  }
}

// Eight pixels a byte, the first one highest.
export function pack(mask) {
  const bits = new Uint8Array(Math.ceil(mask.length / 8));
  for (let i = 0; i < mask.length; i += 1) if (mask[i]) bits[i >> 3] |= 128 >> (i & 7);
  return bits;
}

function cut(mask, { x, y, width, height }, stride) {
  const pixels = new Uint8Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const from = (y + row) * stride + x;
    pixels.set(mask.subarray(from, from + width), row * width);
  }
  return pixels;
}

function clip({ x, y, width, height }, right, bottom) {
  const [x0, y0, x1, y1] = [Math.max(x, 0), Math.max(y, 0), Math.min(x + width, right), Math.min(y + height, bottom)];
  return x0 < x1 && y0 < y1 ? { x: x0, y: y0, width: x1 - x0, height: y1 - y0 } : null;
}

function union(a, b) {
  if (!a || !b) return a ?? b;
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  const right = Math.max(a.x + a.width, b.x + b.width);
  const bottom = Math.max(a.y + a.height, b.y + b.height);
  return { x, y, width: right - x, height: bottom - y };
}
