// The likeliest next tokens of two checkpoints beside each other.
import { bars } from "../charts.js";
import { drawing } from "../charts.js";
import { scaleEnd } from "../charts.js";
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
  const scaleNote = element("p", { class: "muted small" });
  const heading = element("h2", { text: "Next words" });
  const box = element("div", { class: "card" }, heading, scaleNote, place);
  let shown = [];
  savePictures(box, () => picture(shown), "learning-next-words");
  return {
    box,
    show(sides) {
      shown = sides;
      const end = commonEnd(sides);
      scaleNote.textContent =
        `The likeliest next tokens; a full bar is ${Math.round(100 * end)}\u00a0%.`;
      place.replaceChildren(...sides.map((side) => column(side, end)));
    },
  };
}

/** The end of the scale that both sides share. */
function commonEnd(sides) {
  return scaleEnd(Math.max(...sides.map(([, , tokens]) => tokens[0].probability)));
}

function column([side, label, tokens], end) {
  const list = element("ol", { class: "compared", "aria-label": `Next tokens, ${label}` },
    ...tokens.map((token) => {
      const bar = element("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${(100 * token.probability) / end}%`;
      bar.style.background = `var(${COLOURS[side]})`;
      return element("li", {}, tokenNode(token), element("span", { class: "track" }, bar),
        element("span", { class: "number", text: percent(token.probability) }));
    }));
  return element("section", { class: side }, element("h3", { text: label }), list);
}

function picture(sides) {
  const svg = drawing(900, 28 + 28 * sides[0][2].length, TITLE);
  const end = commonEnd(sides);
  sides.forEach(([side, label, tokens], index) => {
    const rows = tokens.map((token) => ({
      label: visible(token),
      share: token.probability / end,
      value: percent(token.probability),
      isChosen: side === "right",
    }));
    const drawn = bars(rows, { label, width: 430, labelWidth: 130 });
    drawn.setAttribute("y", 28);
    const part = svg.append("g").attr("transform", `translate(${index * 460}, 0)`);
    part.append("text").attr("y", 16).text(label);
    part.append(() => drawn);
  });
  return svg.node();
}
