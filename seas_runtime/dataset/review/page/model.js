// What is known of the pairs: rows from the source, decisions, measures, and the order in which they are shown.

export const VERDICTS = ["accept", "reject", "undecided"];
const LAST = Number.MAX_VALUE;

export const SORTS = {
  number: { label: "number", key: (pair) => pair.index },
  small: { label: "smallest masks", key: (pair) => pair.area },
  large: { label: "largest masks", key: (pair) => -pair.area },
  agreement: { label: "least agreement", key: (pair) => pair.agreement ?? LAST, needs: "agreement" },
  like: { label: "most like real ones", key: (pair) => -(pair.likeness ?? -1), needs: "reals" },
  unlike: { label: "least like real ones", key: (pair) => pair.likeness ?? LAST, needs: "reals" },
};

export const FILTERS = {
  all: { label: "all", has: () => true },
  undecided: { label: "undecided", has: (pair) => pair.verdict === "undecided" },
  accept: { label: "accepted", has: (pair) => pair.verdict === "accept" },
  reject: { label: "rejected", has: (pair) => pair.verdict === "reject" },
  mended: { label: "mended masks", has: (pair) => pair.mended },
  copies: { label: "suspected copies", has: (pair) => pair.copy, needs: "reals" },
};

export class Model extends EventTarget {
  constructor(info) {
    super();
    this.info = info;
    this.view = { type: "", decision: "all", sort: "number" };
    this.hasAgreement = false;
    this.planned = null;
    this.sent = 0; // changes of ours that have been sent, and of these
    this.settled = 0; // those that were answered
    this.reset(0);
  }

  // Forget all pairs, as when the run has others now.
  reset(generation) {
    this.generation = generation;
    this.list = [];
    this.pairs = new Map();
    this.types = [];
    this.revision = 0;
    this.surveyed = 0;
    this.measured = 0;
    this.early = []; // measures of pairs that are not loaded yet
    this.arrange();
  }

  // Rows (index, type's number, area, agreement, attempt, verdict's number, mended, mask's revision).
  addPage(page) {
    const kinds = this.types.length;
    const agreed = this.hasAgreement;
    for (const name of page.types) if (!this.types.includes(name)) this.types.push(name);
    for (const [index, type, area, agreement, attempt, verdict, mended, maskRevision] of page.rows) {
      if (this.pairs.has(index)) continue;
      const pair = {
        index, type: page.types[type], area, agreement, attempt, verdict: VERDICTS[verdict], mended, maskRevision,
        share: null, real: null, likeness: null, copy: false,
      };
      this.hasAgreement ||= agreement !== null;
      this.pairs.set(index, pair);
      this.list.push(pair);
    }
    this.revision ||= page.revision;
    this.applySurvey(this.early.splice(0));
    this.arrange();
    if (this.types.length !== kinds || this.hasAgreement !== agreed) this.tell("kinds");
  }

  // Rows (index, verdict's number, mended, mask's revision).
  applyChanges(rows) {
    const news = [];
    for (const [index, verdict, mended, maskRevision] of rows) {
      const pair = this.pairs.get(index);
      if (!pair) continue;
      const now = { verdict: VERDICTS[verdict], mended, maskRevision };
      if (Object.keys(now).every((name) => pair[name] === now[name])) continue;
      Object.assign(pair, now);
      news.push(pair);
    }
    this.changed(news);
  }

  // Rows (index, share, marked pixels, real anomaly, likeness, suspected copy).
  applySurvey(rows) {
    const news = [];
    let moved = false;
    for (const row of rows) {
      const [index, share, area, real, likeness, copy] = row;
      const pair = this.pairs.get(index);
      if (!pair) {
        this.early.push(row);
        continue;
      }
      if (pair.share === null) this.measured += 1;
      moved ||= pair.area !== area || pair.likeness !== likeness;
      Object.assign(pair, { share, area, real, likeness, copy });
      news.push(pair);
    }
    if (moved && (this.view.sort !== "number" || this.view.decision === "copies")) this.arrange();
    if (news.length) this.tell("pairs", { pairs: news });
  }

  // Note that a change is on its way; returns what notes its answer. News asked for meanwhile may be older than it.
  begin() {
    this.sent += 1;
    return () => (this.settled += 1);
  }

  // Set a verdict here; the source is told by whoever calls.
  setVerdicts(verdicts) {
    const news = [];
    for (const [index, verdict] of verdicts) {
      const pair = this.pairs.get(index);
      if (!pair || pair.verdict === verdict) continue;
      pair.verdict = verdict;
      news.push(pair);
    }
    this.changed(news);
  }

  // How many pairs the run was asked for, or null.
  plan(planned) {
    if (planned === this.planned) return;
    this.planned = planned;
    this.tell("pairs", { pairs: [] });
  }

  setView(view) {
    Object.assign(this.view, view);
    this.arrange();
    this.tell("view");
  }

  // The pair at some steps from another in the order shown, or undefined.
  neighbour(index, steps) {
    const place = this.places.get(index);
    return place === undefined ? undefined : this.flat[place + steps];
  }

  counts(pairs = this.list) {
    const found = { accept: 0, reject: 0, undecided: 0 };
    for (const pair of pairs) found[pair.verdict] += 1;
    return found;
  }

  offered(table) {
    const has = { agreement: this.hasAgreement, reals: this.info.reals.length > 0 };
    return Object.entries(table).filter(([, one]) => !one.needs || has[one.needs]);
  }

  changed(news) {
    if (!news.length) return;
    if (this.view.decision !== "all") this.arrange();
    this.tell("pairs", { pairs: news });
  }

  // Sections by type, each filtered and sorted.
  arrange() {
    const { type, decision, sort } = this.view;
    const has = FILTERS[decision].has;
    const key = SORTS[sort].key;
    const sections = new Map(this.types.filter((name) => !type || name === type).map((name) => [name, []]));
    for (const pair of this.list) if (has(pair)) sections.get(pair.type)?.push(pair);
    this.sections = [];
    for (const [name, pairs] of sections) {
      if (!pairs.length) continue;
      pairs.sort((a, b) => key(a) - key(b) || a.index - b.index);
      this.sections.push({ type: name, pairs });
    }
    this.flat = this.sections.flatMap((section) => section.pairs);
    this.places = new Map(this.flat.map((pair, place) => [pair.index, place]));
    this.tell("order");
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

const percent = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 2 });
const number = new Intl.NumberFormat("en");

// A mask's size as people read it: a share of the picture once that is known.
export function areaText(pair) {
  return pair.share === null ? `${number.format(pair.area)} px` : percent.format(pair.share);
}

export function shareText(share) {
  return percent.format(share);
}

export function countText(count) {
  return number.format(count);
}

export const VERDICT_WORDS = { accept: "accepted", reject: "rejected", undecided: "undecided" };
