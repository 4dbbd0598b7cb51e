// Which pairs are selected: the current one, and all between it and where the selection began.

export class Selection {
  constructor(model) {
    this.model = model;
    this.current = null;
    this.anchor = null;
  }

  set(index, extend) {
    this.current = index;
    if (!extend) this.anchor = index;
  }

  // Forget a pair that is gone.
  check() {
    if (this.current !== null && !this.model.pairs.has(this.current)) this.current = this.anchor = null;
  }

  // First and last place in the order shown; undefined where nothing shown is selected.
  range() {
    const { places } = this.model;
    const to = places.get(this.current);
    const from = places.get(this.anchor) ?? to;
    return to === undefined ? undefined : [Math.min(from, to), Math.max(from, to)];
  }

  has(index) {
    const range = this.range();
    const at = this.model.places.get(index);
    return range !== undefined && at >= range[0] && at <= range[1];
  }

  pairs() {
    const range = this.range();
    return range ? this.model.flat.slice(range[0], range[1] + 1) : [];
  }
}
