// What each key does, in the gallery, with one pair, and with the brush; and the page that says so.

const EVERYWHERE = [
  ["A", "accept and go on"],
  ["D", "reject and go on"],
  ["U", "undo"],
  ["M", "masks on and off"],
  ["F", "figures"],
  ["?", "this list"],
];

export const HELP = [
  ["Everywhere", EVERYWHERE],
  ["All pairs", [
    ["Arrows", "move; Page Up and Down, Home and End too"],
    ["Shift", "with these or a click: select several, for A and D"],
    ["Ctrl A", "select all that are shown"],
    ["Enter", "open the pair"],
    ["N", "next undecided pair"],
  ]],
  ["One pair", [
    ["Left, Right", "previous and next pair"],
    ["N", "next undecided pair"],
    ["+, \u2212, 0", "larger, smaller, fit"],
    ["E", "mend its mask"],
    ["Esc", "back to all pairs"],
  ]],
  ["Mending a mask", [
    ["B, E", "brush, eraser"],
    ["[, ]", "narrower, wider"],
    ["U, R", "undo, redo a stroke"],
    ["Arrows", "move the brush by a pixel, with Shift by ten"],
    ["Space", "put the brush down"],
    ["G", "the generated mask again"],
    ["Esc", "done; every stroke is saved by itself"],
  ]],
];

const GRID = {
  a: "accept", d: "reject", u: "undo", m: "masks", f: "figures", "?": "help", enter: "open", n: "undecided",
};
const LOUPE = {
  a: "accept", d: "reject", u: "undo", m: "masks", f: "figures", "?": "help", n: "undecided", e: "edit",
  arrowleft: "previous", arrowright: "next", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "zoom-fit", escape: "close",
};
const BRUSH = {
  b: "brush", e: "eraser", u: "stroke-undo", r: "stroke-redo", "[": "narrower", "]": "wider", g: "generated",
  " ": "press", escape: "done", m: "masks", "?": "help", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "zoom-fit",
};
const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"];

// What a key means in a place ("grid", "loupe" or "brush"): {name, key, shift}, or null where it is the browser's own.
export function meaning(event, place) {
  const key = event.key.toLowerCase();
  if (event.altKey || event.isComposing) return null;
  if (event.ctrlKey || event.metaKey) return withControl(key, event.shiftKey, place);
  const onControl = event.target.closest("input, select, textarea, button, a");
  if (onControl && takes(onControl, event.key)) return null;
  if (place === "grid" && MOVES.includes(event.key)) return { name: "move", key: event.key, shift: event.shiftKey };
  if (place === "brush" && event.key.startsWith("Arrow")) return { name: "step", key: event.key, shift: event.shiftKey };
  const name = { grid: GRID, loupe: LOUPE, brush: BRUSH }[place][key];
  return name ? { name, key: event.key, shift: event.shiftKey } : null;
}

function withControl(key, shift, place) {
  if (key === "a" && place === "grid") return { name: "select-all" };
  if (key === "z" && place === "brush") return { name: shift ? "stroke-redo" : "stroke-undo" };
  if (key === "y" && place === "brush") return { name: "stroke-redo" };
  return key === "z" ? { name: "undo" } : null;
}

// Whether a control with the focus uses this key itself.
function takes(control, key) {
  if (control.matches("button, a")) return key === "Enter" || key === " ";
  if (control.matches("select")) return key === "Enter" || key === " " || MOVES.includes(key);
  return MOVES.includes(key);
}

export class Help {
  constructor() {
    this.dialog = document.getElementById("help");
    const parts = HELP.map(([title, keys]) => {
      const list = document.createElement("dl");
      for (const [key, what] of keys) {
        const name = document.createElement("dt");
        name.append(Object.assign(document.createElement("kbd"), { textContent: key }));
        list.append(name, Object.assign(document.createElement("dd"), { textContent: what }));
      }
      const part = document.createElement("section");
      part.append(Object.assign(document.createElement("h3"), { textContent: title }), list);
      return part;
    });
    document.getElementById("help-keys").append(...parts);
    this.dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-do=close]")) this.dialog.close();
    });
  }

  open() {
    if (!this.dialog.open) this.dialog.showModal();
  }
}
