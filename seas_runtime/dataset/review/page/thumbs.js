// Small pictures and overlays of pairs: asked for in batches, what is in sight first; the last ones stay in memory.

const BATCH = 16;
const FLIGHTS = 2; // batches on their way at a time
const MOST_THUMBS = 3000;

export class Thumbs {
  // `arrived` is called with the pairs whose pictures are there.
  constructor(model, source, arrived) {
    Object.assign(this, { model, source, arrived });
    this.found = new Map();
    this.asked = new Set();
    this.queue = [];
    this.flights = 0;
  }

  // [address of the picture, address of the overlay], both null where they cannot be shown, or undefined if not there yet.
  get(pair) {
    const key = this.key(pair);
    const found = this.found.get(key);
    if (found) {
      this.found.delete(key);
      this.found.set(key, found); // used last
    }
    return found;
  }

  // Ask for the pictures of these pairs, and no longer for those of others.
  want(pairs) {
    this.queue = pairs.filter((pair) => !this.found.has(this.key(pair)) && !this.asked.has(this.key(pair)));
    while (this.queue.length && this.flights < FLIGHTS) this.fly(this.queue.splice(0, BATCH));
  }

  async fly(pairs) {
    const keys = pairs.map((pair) => this.key(pair));
    keys.forEach((key) => this.asked.add(key));
    this.flights += 1;
    try {
      const pictures = await this.source.thumbs(pairs);
      pairs.forEach((pair, i) => this.keep(keys[i], pictures[pair.index] ?? [null, null]));
      this.arrived(pairs);
    } catch {
      // the server does not answer; who asks for news says so
    } finally {
      this.flights -= 1;
      keys.forEach((key) => this.asked.delete(key));
    }
    if (this.queue.length) this.want(this.queue);
  }

  keep(key, pictures) {
    this.found.set(key, pictures);
    if (this.found.size > MOST_THUMBS) this.found.delete(this.found.keys().next().value);
  }

  key(pair) {
    return `${this.model.generation} ${pair.index} ${pair.maskRevision}`;
  }
}
