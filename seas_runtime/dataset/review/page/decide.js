// Decisions: shown at once, sent in the order they were made, undone one by one.

export class Decider {
  constructor(model, source, say) {
    this.model = model;
    this.source = source;
    this.say = say;
    this.history = [];
    this.sending = Promise.resolve();
  }

  decide(pairs, verdict) {
    const before = pairs.filter((pair) => pair.verdict !== verdict).map((pair) => [pair.index, pair.verdict]);
    if (!before.length) return;
    this.history.push(before);
    this.send(before.map(([index]) => [index, verdict]), before);
  }

  // Take the last decision back; returns the index of its first pair, or null.
  undo() {
    const before = this.history.pop();
    if (!before) return null;
    const now = before.map(([index]) => [index, this.model.pairs.get(index)?.verdict ?? "undecided"]);
    this.send(before, now);
    return before[0][0];
  }

  // Show decisions and hand them to the source; if it refuses, show what was there before.
  send(decisions, before) {
    this.model.setVerdicts(decisions);
    const sent = this.model.begin();
    this.sending = this.sending.then(async () => {
      try {
        this.model.applyChanges((await this.source.decide(decisions)).changes);
      } catch (error) {
        this.model.setVerdicts(before);
        this.say(`Not saved. ${error.message}`);
      } finally {
        sent();
      }
    });
  }
}

// Mended masks: sent a moment after the last stroke, one after the other.
export class MaskSaver {
  constructor(model, source, say, saved) {
    Object.assign(this, { model, source, say, saved, job: null });
    this.sending = Promise.resolve();
  }

  // Have `take` asked in a moment for what to save: bits, or null for the generated mask. An editing is {pair, base}, base
  // being the revision of the mask it began with.
  later(editing, take) {
    clearTimeout(this.timer);
    this.job = { editing, take };
    this.saved("Saving\u2026");
    this.timer = setTimeout(() => this.flush(), 300);
  }

  // Send what waits; resolves once all is sent.
  flush() {
    clearTimeout(this.timer);
    const job = this.job;
    this.job = null;
    if (job) {
      const bits = job.take();
      this.sending = this.sending.then(() => this.send(job.editing, bits));
    }
    return this.sending;
  }

  async send(editing, bits) {
    const { pair, base } = editing;
    const sent = this.model.begin();
    try {
      const { changes } = await (bits ? this.source.mend(pair, bits, base) : this.source.restore(pair, base));
      editing.base = changes[0][3];
      this.model.applyChanges(changes);
      if (!this.job) this.saved(bits ? "Saved" : "As generated");
    } catch (error) {
      this.saved("Not saved");
      this.say(`The mask is not saved. ${error.message}`);
    } finally {
      sent();
    }
  }
}
