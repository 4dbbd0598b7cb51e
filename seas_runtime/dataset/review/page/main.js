// The page: loads the pairs, follows what is written, and has keys and buttons do their work.

import { Decider } from "./decide.js";
import { Figures } from "./figures.js";
import { Grid } from "./grid.js";
import { Help, meaning } from "./keys.js";
import { Loupe } from "./loupe.js";
import { Model } from "./model.js";
import { open } from "./source.js";
import { Toolbar } from "./toolbar.js";

const SOON = 1000;
const LATER = 4000;

class Page {
  async start() {
    if (location.pathname === "/" && location.search) history.replaceState(null, "", "/"); // the token is in a cookie now
    this.alert = document.getElementById("alert");
    this.alert.querySelector("button").addEventListener("click", () => (this.alert.hidden = true));
    this.source = open();
    this.model = new Model(await this.source.describe());
    const say = (text) => this.say(text);
    this.grid = new Grid(this.model, this.source);
    this.loupe = new Loupe(this.model, this.source, say);
    this.figures = new Figures(this.model, this.source, say);
    this.help = new Help();
    this.decider = new Decider(this.model, this.source, say);
    this.toolbar = new Toolbar(this.model, this.grid, this.loupe, this.source.live);
    this.listen();
    document.body.classList.toggle("read-only", this.model.info.readOnly);
    await this.follow();
  }

  listen() {
    document.addEventListener("keydown", (event) => this.pressed(event));
    document.getElementById("open-figures").addEventListener("click", () => this.do("figures"));
    document.getElementById("open-help").addEventListener("click", () => this.do("help"));
    document.getElementById("grid-bar").addEventListener("click", (event) => {
      const what = event.target.closest("[data-do]")?.dataset.do;
      if (what) this.do(what);
    });
    for (const what of ["accept", "reject", "open"]) this.grid.addEventListener(what, () => this.do(what));
    this.loupe.addEventListener("do", (event) => this.do(event.detail));
    this.loupe.addEventListener("moved", () => this.grid.select(this.loupe.index));
    this.loupe.addEventListener("closed", () => this.grid.box.focus());
    this.model.addEventListener("view", () => (this.grid.box.scrollTop = 0));
    addEventListener("beforeunload", (event) => {
      if (!this.loupe.saver.job) return;
      this.loupe.saver.flush();
      event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.follow());
  }

  // What is new, once now and then again and again while the page is in sight.
  async follow() {
    clearTimeout(this.timer);
    let wait = LATER;
    try {
      if (await this.catchUp()) wait = SOON;
      if (this.lost) this.found();
    } catch (error) {
      this.say(error.message);
      this.lost = true;
    }
    clearTimeout(this.timer);
    if (this.source.live && !document.hidden) this.timer = setTimeout(() => this.follow(), wait);
  }

  // The server answers again.
  found() {
    this.lost = false;
    this.alert.hidden = true;
    this.grid.render();
  }

  // Returns whether more is to be expected soon.
  async catchUp() {
    const { model } = this;
    if (!model.list.length) await this.loadPairs();
    const settled = model.settled;
    const found = await this.source.changes(model.revision, model.surveyed);
    if (found.generation !== model.generation) {
      model.reset(found.generation);
      await this.loadPairs();
      return true;
    }
    model.plan(found.planned);
    const fresh = settled === model.sent;
    if (fresh) {
      model.applyChanges(found.changes);
      model.revision = found.revision;
    }
    model.applySurvey(found.survey);
    model.surveyed += found.survey.length;
    if (found.total > model.list.length) await this.loadPairs();
    if (this.figures.dialog.open && found.survey.length) await this.figures.refresh();
    return !fresh || found.total < (found.planned ?? 0) || model.measured < model.list.length || found.survey.length > 0;
  }

  async loadPairs() {
    const { model } = this;
    let page;
    do {
      page = await this.source.pairs(model.list.length);
      if (model.list.length && page.generation !== model.generation) return;
      model.generation = page.generation;
      model.addPage(page);
    } while (page.rows.length && model.list.length < page.total);
  }

  pressed(event) {
    if (this.help.dialog.open || this.figures.dialog.open) return;
    const place = this.loupe.editing ? "brush" : this.loupe.isOpen ? "loupe" : "grid";
    const found = meaning(event, place);
    if (!found) return;
    event.preventDefault();
    if (found.name === "move") this.grid.move(found.key, found.shift);
    else if (found.name === "step") this.loupe.strokes.step(...steps(found));
    else this.do(found.name);
  }

  do(what) {
    const { grid, loupe } = this;
    const work = {
      accept: () => this.decide("accept"),
      reject: () => this.decide("reject"),
      undo: () => this.undo(),
      masks: () => this.toolbar.toggleMasks(),
      figures: () => this.figures.open(),
      help: () => this.help.open(),
      open: () => grid.selected.current !== null && loupe.open(grid.selected.current),
      close: () => loupe.close(),
      previous: () => this.step(-1),
      next: () => this.step(1),
      undecided: () => this.nextUndecided(),
      "select-all": () => grid.selectAll(),
      edit: () => loupe.edit(),
      done: () => loupe.stopEditing(),
      brush: () => loupe.setTool(true),
      eraser: () => loupe.setTool(false),
      narrower: () => loupe.strokes.widen(-5),
      wider: () => loupe.strokes.widen(5),
      press: () => loupe.strokes.press(),
      generated: () => loupe.useGenerated(),
      "stroke-undo": () => loupe.strokes.undo(),
      "stroke-redo": () => loupe.strokes.redo(),
      "zoom-in": () => loupe.stage.zoom(1.5),
      "zoom-out": () => loupe.stage.zoom(1 / 1.5),
      "zoom-fit": () => loupe.stage.fit(),
    };
    work[what]?.();
  }

  // Decide on the open pair or the selected ones, and go on to the next.
  decide(verdict) {
    if (this.model.info.readOnly) return this.say("This page only looks; decisions are not taken here.");
    const pairs = this.loupe.isOpen ? [this.model.pairs.get(this.loupe.index)] : this.grid.selected.pairs();
    if (!pairs.length) return this.say("Select a pair first: click it, or press an arrow key.");
    const next = this.model.neighbour(pairs.at(-1).index, 1);
    this.decider.decide(pairs, verdict);
    const goal = next ?? pairs.at(-1);
    this.goTo(this.model.places.has(goal.index) ? goal : this.model.flat.at(-1));
  }

  undo() {
    const index = this.decider.undo();
    const pair = index === null ? null : this.model.pairs.get(index);
    if (!pair) return this.say("Nothing is left to undo in this tab.");
    if (this.model.places.has(index) || this.loupe.isOpen) this.goTo(pair);
  }

  step(steps) {
    const pair = this.model.neighbour(this.loupe.index, steps) ?? this.model.flat.at(steps < 0 ? 0 : -1);
    if (pair && pair.index !== this.loupe.index) this.goTo(pair);
  }

  nextUndecided() {
    const { flat, places } = this.model;
    const at = places.get(this.grid.selected.current) ?? -1;
    const pair = [...flat.slice(at + 1), ...flat.slice(0, at + 1)].find((one) => one.verdict === "undecided");
    if (pair) this.goTo(pair);
    else this.say("Every pair shown here is decided.");
  }

  goTo(pair) {
    if (!pair) return this.loupe.isOpen && this.loupe.close();
    if (this.loupe.isOpen) this.loupe.go(pair.index);
    else this.grid.select(pair.index);
  }

  say(text) {
    this.alert.querySelector("span").textContent = text;
    this.alert.hidden = false;
    if (this.loupe?.isOpen) this.loupe.dialog.append(this.alert); // above it, not behind
    else document.getElementById("top").after(this.alert);
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => (this.alert.hidden = true), 8000);
  }
}

function steps({ key, shift }) {
  const far = shift ? 10 : 1;
  return { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[key];
}

const page = new Page();
page.start().catch((error) => page.say(error.message));
