// Tokens with a number of the left checkpoint and one of the right beneath each.
import { drawing } from "../charts.js";
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { textWidth } from "../charts.js";
import { element } from "../dom.js";
import { roving } from "../dom.js";
import { savePictures } from "../picture.js";
import { tokenNode } from "../tokens.js";
import { visible } from "../tokens.js";

const WIDTH = 760;
const HEIGHT = 48;
const CELL = 56;
const GAP = 6;

/** A card with a title; `format` writes a number with its unit, `name` is the picture's file. */
export function pairedSection(title, explanation, format, name) {
  const head = element("div");
  const chips = element("div", { class: "duos", role: "group", "aria-label": title });
  const box = element("div", { class: "card" }, element("h2", { text: title }),
    element("p", { class: "muted small", text: `For each token ${explanation}; the darker or `
      + "brighter the blue, the more." }), head, chips);
  const stop = roving(chips, () => [...chips.querySelectorAll("button")]);
  let shown = { tokens: [], left: [], right: [], most: 1 };
  let choose = () => {};
  savePictures(box, () => pairsDrawing(shown, title, format), `learning-${name}`);
  return {
    box,
    /** A place between the explanation and the tokens. */
    head,
    onChoose: (call) => (choose = call),
    /** Shows `left` and `right`, a number or null for each token; the scale ends at `most`. */
    show(tokens, left, right, most, chosen = null) {
      shown = { tokens, left, right, most };
      chips.replaceChildren(...tokens.map((token, index) => element("button", {
        type: "button", class: "duo", "aria-pressed": String(index === chosen),
        onclick: () => choose(index),
      }, tokenNode(token), element("span", { class: "cells" },
        cell("left", left[index], most, format), cell("right", right[index], most, format)))));
      if (tokens.length > 0) stop(chips.querySelector("button"));
    },
  };
}

function cell(side, value, most, format) {
  const text = value === null ? "–" : format(value);
  const node = element("span", { class: `${side} number` },
    element("span", { class: "visually-hidden", text: `${side} ` }), text);
  node.style.background = scale((value ?? 0) / most);
  node.style.color = onScale((value ?? 0) / most);
  return node;
}

function pairsDrawing({ tokens, left, right, most }, title, format) {
  let [x, y] = [0, 0];
  const boxes = tokens.map((token, index) => {
    const width = Math.max(2 * CELL, 12 + textWidth(visible(token)));
    if (x > 0 && x + width > WIDTH) [x, y] = [0, y + HEIGHT + GAP];
    const box = { token, x, y, width, values: [left[index], right[index]] };
    x += width + GAP;
    return box;
  });
  const svg = drawing(WIDTH, y + HEIGHT, title);
  for (const box of boxes) {
    const part = svg.append("g").attr("transform", `translate(${box.x}, ${box.y})`);
    part.append("text").attr("class", "token-label").attr("x", box.width / 2).attr("y", 16)
      .attr("text-anchor", "middle").text(visible(box.token));
    box.values.forEach((value, index) => {
      const share = (value ?? 0) / most;
      const at = index * box.width / 2;
      part.append("rect").attr("x", at).attr("y", 22).attr("width", box.width / 2)
        .attr("height", 22).style("fill", scale(share));
      part.append("text").attr("class", "quiet").attr("x", at + box.width / 4).attr("y", 37)
        .attr("text-anchor", "middle").style("fill", onScale(share))
        .text(value === null ? "–" : format(value));
    });
  }
  return svg.node();
}
