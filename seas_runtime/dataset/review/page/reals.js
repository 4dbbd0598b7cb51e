// Real anomalies beside a pair: the one it is most like first.

const SHOWN = 24;

export class Reals {
  constructor(model, source) {
    this.model = model;
    this.source = source;
    this.box = document.getElementById("reals");
    this.heading = this.box.querySelector("h3");
    this.figure = this.box.querySelector("figure");
    this.strip = this.box.querySelector(".strip");
    this.box.hidden = !model.info.reals.length;
    document.getElementById("loupe").classList.toggle("with-reals", !this.box.hidden);
    this.strip.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.pick(Number(button.dataset.number));
    });
  }

  show(pair) {
    if (this.box.hidden || !pair) return;
    const numbers = this.numbers(pair);
    const key = `${pair.type} ${pair.real}`;
    if (this.key === key && this.index === pair.index) return;
    this.index = pair.index;
    this.pair = pair;
    this.heading.textContent = numbers.length ? `Real ${pair.type}` : `No real ${pair.type}`;
    this.figure.hidden = !numbers.length;
    if (this.key !== key) this.strip.replaceChildren(...numbers.map((number) => this.thumb(number)));
    this.key = key;
    if (numbers.length) this.pick(numbers[0]);
  }

  numbers(pair) {
    const { reals } = this.model.info;
    const same = reals.map((_, number) => number).filter((n) => reals[n][0] === pair.type && this.source.hasReal(n));
    const first = same.includes(pair.real) ? [pair.real] : [];
    return [...first, ...same.filter((number) => number !== pair.real)].slice(0, SHOWN);
  }

  thumb(number) {
    const button = Object.assign(document.createElement("button"), { type: "button", title: `Real anomaly ${number}` });
    button.dataset.number = number;
    const image = Object.assign(new Image(), { alt: `Real anomaly ${number}`, loading: "lazy", draggable: false });
    image.src = this.source.real(number, "thumb");
    button.append(image);
    return button;
  }

  pick(number) {
    this.figure.querySelector(".picture").src = this.source.real(number, "large");
    this.figure.querySelector(".picture").alt = `Real anomaly ${number}`;
    this.figure.querySelector(".overlay").src = this.source.real(number, "overlay");
    const like = number === this.pair.real && this.pair.likeness !== null;
    const caption = like ? `most like this pair: ${this.pair.likeness.toFixed(3)}` : `number ${number}`;
    this.figure.querySelector("figcaption").textContent = caption;
    for (const button of this.strip.children) {
      button.setAttribute("aria-pressed", Number(button.dataset.number) === number);
    }
  }
}
