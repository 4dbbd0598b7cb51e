// The head of the page: what is there, how far the review is, and what of it is shown.

import { countText, FILTERS, SORTS } from "./model.js";

export class Toolbar {
  constructor(model, grid, loupe, live) {
    Object.assign(this, { model, grid, loupe, live });
    const element = (id) => document.getElementById(id);
    Object.assign(this, {
      status: element("status"), progress: element("progress"), type: element("type"), decision: element("decision"),
      sort: element("sort"), size: element("size"), nothing: element("nothing"),
      sliders: [element("opacity"), element("loupe-opacity")],
    });
    const name = `${model.info.product}, ${model.info.readOnly ? "read only" : "review"}`;
    document.title = name;
    element("product").textContent = model.info.product;
    for (const select of ["type", "decision", "sort"]) {
      this[select].addEventListener("change", () => model.setView({ [select]: this[select].value }));
    }
    this.size.addEventListener("change", () => this.setSize(this.size.value));
    for (const slider of this.sliders) slider.addEventListener("input", () => this.setOpacity(slider.value));
    this.nothing.querySelector("button").addEventListener("click", () => model.setView({ type: "", decision: "all" }));
    model.addEventListener("kinds", () => this.fillSelects());
    model.addEventListener("view", () => this.fillSelects());
    model.addEventListener("order", () => this.fill());
    model.addEventListener("pairs", () => this.fill());
    this.setSize(kept("size") ?? (matchMedia("(max-width: 600px)").matches ? "112" : "168"));
    this.setOpacity(kept("opacity") ?? "100");
    this.fillSelects();
    this.fill();
  }

  fillSelects() {
    const { types, view } = this.model;
    options(this.type, [["", "all"], ...types.map((name) => [name, name])], view.type);
    options(this.decision, this.model.offered(FILTERS).map(([key, one]) => [key, one.label]), view.decision);
    options(this.sort, this.model.offered(SORTS).map(([key, one]) => [key, one.label]), view.sort);
  }

  fill() {
    const { list, planned, info } = this.model;
    const { accept, reject } = this.model.counts();
    const parts = [`${countText(list.length)} pairs`, `${countText(accept + reject)} decided`];
    if (planned > list.length && this.live) parts[0] = `${countText(list.length)} of ${countText(planned)} pairs so far`;
    if (info.note) parts[0] = info.note;
    if (info.readOnly) parts.push("read only");
    const text = parts.join(" \u00b7 ");
    if (this.status.textContent !== text) this.status.textContent = text;
    const [accepted, rejected] = this.progress.children;
    accepted.style.width = `${(100 * accept) / Math.max(list.length, 1)}%`;
    rejected.style.width = `${(100 * reject) / Math.max(list.length, 1)}%`;
    const label = `${countText(accept)} accepted, ${countText(reject)} rejected of ${countText(list.length)}`;
    this.progress.setAttribute("aria-label", label);
    this.progress.title = label;
    this.nothing.hidden = this.model.flat.length > 0;
    this.nothing.querySelector("p").textContent = list.length
      ? "No pair fits what is chosen above."
      : "No pair is there yet. They appear here as seas-gen writes them.";
    this.nothing.querySelector("button").hidden = !list.length;
  }

  setSize(side) {
    this.size.value = side;
    keep("size", side);
    this.grid.setSide(Number(side));
  }

  setOpacity(percent) {
    for (const slider of this.sliders) slider.value = percent;
    if (Number(percent)) this.shown = percent;
    keep("opacity", percent);
    document.documentElement.style.setProperty("--opacity", percent / 100);
    this.loupe.stage.opacity = percent / 100;
    this.loupe.stage.draw();
  }

  toggleMasks() {
    this.setOpacity(Number(this.sliders[0].value) ? "0" : (this.shown ?? "100"));
  }
}

function options(select, entries, chosen) {
  const now = entries.map(([value, text]) => Object.assign(document.createElement("option"), { value, textContent: text }));
  const same = now.length === select.length && now.every((one, i) => one.value === select[i].value);
  if (!same) select.replaceChildren(...now);
  select.value = chosen;
}

// Settings of this browser; where it keeps none, nothing is lost but them.
function kept(name) {
  try {
    return localStorage.getItem(`seas-review-${name}`);
  } catch {
    return null;
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`seas-review-${name}`, value);
  } catch {
    // a file opened from a disk may have no storage
  }
}
