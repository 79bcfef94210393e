// The likeliest next tokens of two checkpoints beside each other.
import { bars } from "../charts.js";
import { drawing } from "../charts.js";
import { element } from "../dom.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { tokenNode } from "../tokens.js";
import { visible } from "../tokens.js";

const COLOURS = { left: "--accent", right: "--chosen" };
const TITLE = "Next words of two checkpoints";

/** A card; `show` takes `[side, label, tokens]` of the left and the right checkpoint. */
export function nextSides() {
  const place = element("div", { class: "sides" });
  const box = element("div", { class: "card" },
    element("h2", { text: "Next words" }), element("p", { class: "muted small",
      text: "The likeliest next tokens and their probabilities; bars end at 100\u00a0%." }), place);
  let shown = [];
  savePictures(box, () => picture(shown), "learning-next-words");
  return {
    box,
    show(sides) {
      shown = sides;
      place.replaceChildren(...sides.map(column));
    },
  };
}

function column([side, label, tokens]) {
  const list = element("ol", { class: "compared", "aria-label": `Next tokens, ${label}` },
    ...tokens.map((token) => {
      const bar = element("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${100 * token.probability}%`;
      bar.style.background = `var(${COLOURS[side]})`;
      return element("li", {}, tokenNode(token), element("span", { class: "track" }, bar),
        element("span", { class: "number", text: percent(token.probability) }));
    }));
  return element("section", { class: side }, element("h3", { text: label }), list);
}

function picture(sides) {
  const svg = drawing(900, 28 + 28 * sides[0][2].length, TITLE);
  sides.forEach(([side, label, tokens], index) => {
    const rows = tokens.map((token) => ({
      label: visible(token), share: token.probability, isChosen: side === "right",
    }));
    const drawn = bars(rows, { label, width: 430, labelWidth: 130 });
    drawn.setAttribute("y", 28);
    const part = svg.append("g").attr("transform", `translate(${index * 460}, 0)`);
    part.append("text").attr("y", 16).text(label);
    part.append(() => drawn);
  });
  return svg.node();
}
