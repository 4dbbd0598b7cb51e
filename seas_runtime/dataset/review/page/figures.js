// Where masks lie and how large they are, generated against real.

import { countText, FILTERS, shareText, VERDICTS } from "./model.js";

const SVG = "http://www.w3.org/2000/svg";
const PLOT = { left: 40, margin: 24, top: 12, bottom: 170, height: 214 };
// From dark to bright, even steps for the eye and for eyes that see few colours (after "viridis").
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

export class Figures {
  constructor(model, source, say) {
    Object.assign(this, { model, source, say });
    this.dialog = document.getElementById("figures");
    this.dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-do=close]")) this.dialog.close();
    });
  }

  async open() {
    if (!this.dialog.open) this.dialog.showModal();
    await this.refresh();
  }

  async refresh() {
    const { type, decision } = this.model.view;
    const verdict = VERDICTS.includes(decision) ? decision : null;
    try {
      const found = await this.source.figures(type || null, verdict);
      this.describe(type, verdict, found);
      const [generated, real] = this.dialog.querySelectorAll(".heats figure");
      heat(generated, found.cells, found.generated, "Generated");
      heat(real, found.cells, found.real, "Real");
      areas(document.getElementById("areas"), found);
    } catch (error) {
      this.say(error.message);
    }
  }

  describe(type, verdict, found) {
    const what = verdict ? `${FILTERS[verdict].label} pairs` : "pairs";
    const measured = `${countText(found.generated.count)} ${what} of ${type || "all types"}`;
    const wait = this.model.measured < this.model.list.length ? `; ${countText(this.model.measured)} measured so far` : "";
    document.getElementById("figures-of").textContent = `${measured}, ${countText(found.real.count)} real anomalies${wait}.`;
  }
}

// How often each place is marked, brightest where that is most often.
function heat(figure, cells, side, name) {
  const canvas = figure.querySelector("canvas");
  const caption = figure.querySelector("figcaption");
  canvas.width = canvas.height = cells;
  const text = side.count ? `brightest place in ${shareText(side.peak)} of ${countText(side.count)} masks` : "none yet";
  caption.textContent = `${name}: ${text}`;
  canvas.setAttribute("aria-label", `${name}, where masks lie, ${text}`);
  const pixels = new ImageData(cells, cells);
  side.heat.forEach((level, i) => pixels.data.set([...colour(level / 255), side.count ? 255 : 0], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function colour(level) {
  const at = level * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[low].map((value, i) => Math.round(value + (STOPS[low + 1][i] - value) * (at - low)));
}

// Both sides' areas as bars of equal total, on a scale of powers of ten.
function areas(figure, found) {
  const svg = figure.querySelector("svg");
  const width = Math.max(svg.clientWidth, 280); // in its own pixels, so that texts keep their size
  const right = width - PLOT.margin;
  svg.setAttribute("viewBox", `0 0 ${width} ${PLOT.height}`);
  const { bins, perDecade, least } = found;
  const sides = [["generated", found.generated], ["real", found.real]].filter(([, side]) => side.count);
  const shares = sides.map(([, side]) => side.areas.map((count) => count / side.count));
  const top = Math.max(...shares.flat(), 0.01);
  const step = (right - PLOT.left) / bins;
  const height = (share) => ((PLOT.bottom - PLOT.top) * share) / top;
  const parts = [];
  for (let decade = 0; decade <= bins / perDecade; decade += 1) {
    const x = PLOT.left + decade * perDecade * step;
    parts.push(make("line", { x1: x, x2: x, y1: PLOT.top, y2: PLOT.bottom + 5, class: "axis" }));
    parts.push(make("text", { x, y: PLOT.bottom + 20, "text-anchor": "middle" }, shareText(least * 10 ** decade)));
  }
  parts.push(make("line", { x1: PLOT.left, x2: right, y1: PLOT.bottom, y2: PLOT.bottom, class: "axis" }));
  shares.forEach((side, number) => {
    const bar = step / 2 - Math.min(1.5, step / 8);
    side.forEach((share, bin) => {
      const x = PLOT.left + bin * step + 1 + (number * step) / 2;
      const box = { x, y: PLOT.bottom - height(share), width: bar, height: height(share), class: sides[number][0] };
      if (share) parts.push(make("rect", box, null, `${sides[number][0]}: ${shareText(share)}`));
    });
  });
  parts.push(make("text", { x: PLOT.left - 6, y: PLOT.top + 8, "text-anchor": "end" }, shareText(top)));
  parts.push(make("text", { x: (PLOT.left + right) / 2, y: PLOT.height - 4, "text-anchor": "middle" }, "share of the picture that the mask marks"));
  svg.replaceChildren(...parts);
  const medians = sides.map(([name, side]) => `${name} ${shareText(side.median)}`).join(", ");
  svg.setAttribute("aria-label", `Areas of masks; medians: ${medians || "none yet"}`);
  figure.querySelector("figcaption").replaceChildren(
    ...sides.map(([name]) => Object.assign(document.createElement("span"), { className: `key ${name}`, textContent: name })),
    ` medians: ${medians || "none yet"}`,
  );
}

function make(name, attributes, text, title) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  if (title) element.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: title }));
  return element;
}
