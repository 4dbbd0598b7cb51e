// One picture, large: zoom and pan, and its mask laid over it.

const MOST = 40; // screen pixels for one of the picture
const FILL = new Uint32Array(new Uint8Array([255, 32, 32, 90]).buffer)[0];
const LINE = new Uint32Array(new Uint8Array([255, 32, 32, 255]).buffer)[0];

export class Stage extends EventTarget {
  constructor(box) {
    super();
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.pen = this.canvas.getContext("2d");
    this.opacity = 1;
    this.pointers = new Map();
    this.cursor = null; // {x, y, radius} of a brush, in the picture
    this.hand = null; // takes pointers instead of panning: {down, move, up}
    new ResizeObserver(() => this.resize()).observe(box);
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave"]) {
      this.canvas.addEventListener(kind, (event) => this[kind](event));
    }
    this.canvas.addEventListener("dblclick", (event) => this.toggleFull(event));
  }

  // Show a picture and the overlay of its mask (either a drawable or null), fitted unless it has the size of the last.
  show(image, overlay) {
    const size = image ? [image.naturalWidth ?? image.width, image.naturalHeight ?? image.height] : [0, 0];
    const same = this.size && size[0] === this.size[0] && size[1] === this.size[1];
    [this.image, this.overlay, this.size] = [image, overlay, size];
    if (same && this.zoomed) this.draw();
    else this.fit();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.box;
    if (!clientWidth || !clientHeight) return;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    if (this.zoomed) this.draw();
    else this.fit();
  }

  get fitScale() {
    if (!this.size?.[0]) return 1;
    return Math.min(this.canvas.width / this.size[0], this.canvas.height / this.size[1]);
  }

  fit() {
    this.zoomed = false;
    this.scale = this.fitScale;
    const [width, height] = this.size ?? [0, 0];
    this.left = (this.canvas.width - width * this.scale) / 2;
    this.top = (this.canvas.height - height * this.scale) / 2;
    this.draw();
  }

  // Change the scale by a factor, a point of the canvas staying in its place (default: the middle).
  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.fitScale), Math.max(MOST, this.fitScale));
    if (scale <= this.fitScale * 1.001) return this.fit();
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.zoomed = true;
    this.pan(0, 0);
  }

  pan(x, y) {
    const [width, height] = this.size;
    this.left = inside(this.left + x, width * this.scale, this.canvas.width);
    this.top = inside(this.top + y, height * this.scale, this.canvas.height);
    this.draw();
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const { pen, canvas, image, overlay, scale, left, top } = this;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!image) return;
    const [width, height] = [this.size[0] * scale, this.size[1] * scale];
    pen.imageSmoothingEnabled = scale < (this.hand ? 3 : 8);
    pen.drawImage(image, left, top, width, height);
    if (overlay && this.opacity > 0) {
      pen.globalAlpha = this.opacity;
      pen.drawImage(overlay, left, top, width, height);
      pen.globalAlpha = 1;
    }
    if (this.cursor) this.paintCursor();
  }

  paintCursor() {
    const { pen, scale } = this;
    const x = this.left + (this.cursor.x + 0.5) * scale;
    const y = this.top + (this.cursor.y + 0.5) * scale;
    for (const [colour, width] of [["#000", 3], ["#fff", 1.5]]) {
      pen.beginPath();
      pen.arc(x, y, Math.max((this.cursor.radius + 0.5) * scale, 3), 0, 2 * Math.PI);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke();
    }
  }

  // The pixel of the picture below an event's point; may lie outside.
  pixel(event) {
    const [x, y] = this.point(event);
    return [Math.floor((x - this.left) / this.scale), Math.floor((y - this.top) / this.scale)];
  }

  point(event) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / width;
    return [(event.clientX - left) * ratio, (event.clientY - top) * ratio];
  }

  wheel(event) {
    if (!this.image) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 300), ...this.point(event));
  }

  toggleFull(event) {
    if (this.hand || !this.image) return;
    if (this.zoomed) this.fit();
    else this.zoom(Math.max(4 / this.fitScale, 3), ...this.point(event));
  }

  pointerdown(event) {
    if (!this.image) return;
    this.pointers.set(event.pointerId, this.point(event));
    this.canvas.setPointerCapture(event.pointerId);
    if (this.hand && this.pointers.size === 1 && event.button === 0) this.hand.down(this.pixel(event));
    if (this.pointers.size === 2) this.hand?.cancel();
  }

  pointermove(event) {
    const before = this.pointers.get(event.pointerId);
    const now = this.point(event);
    if (this.hand && event.pointerType !== "touch") this.hand.hover(this.pixel(event));
    if (!before) return;
    this.pointers.set(event.pointerId, now);
    if (this.pointers.size === 2) this.pinch(event.pointerId, before, now);
    else if (this.hand) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [event]) this.hand.move(this.pixel(step));
    } else if (this.zoomed) this.pan(now[0] - before[0], now[1] - before[1]);
  }

  // Two fingers: the picture grows with their distance and follows their middle.
  pinch(moved, before, now) {
    const other = [...this.pointers].find(([id]) => id !== moved)[1];
    const spread = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
    this.zoom(spread(now) / spread(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    if (this.zoomed) this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  pointerup(event) {
    if (this.pointers.delete(event.pointerId) && this.hand && this.pointers.size === 0) this.hand.up();
  }

  pointercancel(event) {
    this.pointerup(event);
  }

  pointerleave() {
    if (this.hand && !this.hand.keyboard) this.hand.hover(null);
  }
}

// Where a side begins so that what is shown of it fills the canvas, or stands in its middle.
function inside(start, length, room) {
  return length <= room ? (room - length) / 2 : Math.min(Math.max(start, room - length), 0);
}

// The overlay of a mask (width x height, one byte a pixel) on a canvas: a light fill, and a line around it.
export function drawOverlay(canvas, mask, area = { x: 0, y: 0, width: canvas.width, height: canvas.height }) {
  const { width, height } = canvas;
  const x0 = Math.max(area.x - 1, 0);
  const y0 = Math.max(area.y - 1, 0);
  const x1 = Math.min(area.x + area.width + 1, width);
  const y1 = Math.min(area.y + area.height + 1, height);
  if (x0 >= x1 || y0 >= y1) return;
  const pixels = new ImageData(x1 - x0, y1 - y0);
  const colours = new Uint32Array(pixels.data.buffer);
  let at = 0;
  for (let y = y0; y < y1; y += 1) {
    for (let x = x0; x < x1; x += 1, at += 1) {
      if (mask[y * width + x]) colours[at] = FILL;
      else if (beside(mask, x, y, width, height)) colours[at] = LINE;
    }
  }
  canvas.getContext("2d").putImageData(pixels, x0, y0);
}

function beside(mask, x, y, width, height) {
  for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v += 1) {
    for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u += 1) if (mask[v * width + u]) return true;
  }
  return false;
}
