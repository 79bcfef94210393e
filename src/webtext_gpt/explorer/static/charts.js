// Drawings that several views share, and the scale from little to much.
import { percent } from "./numbers.js";

/** Number of colours in the scale: --scale-0 (nothing) to --scale-9 (all). */
export const N_STEPS = 10;

/** Step of the scale for a share of 0 to 1; what lies outside counts as the nearest. */
export function step(share) {
  return Math.max(0, Math.min(N_STEPS - 1, Math.floor(share * N_STEPS)));
}

/** Colour of a share of 0 to 1, to set as a style. */
export function scale(share) {
  return `var(--scale-${step(share)})`;
}

/** Colour of text on `scale(share)`. */
export function onScale(share) {
  return `var(--on-scale-${step(share)})`;
}

/** Share of 0 to 1 that a full bar stands for: the first of a few that the largest fits in. */
export function scaleEnd(largest) {
  return [0.1, 0.25, 0.5, 1].find((end) => end >= largest) ?? 1;
}

/** Width in pixels of a text in the monospace font of drawings, 14 px. */
export function textWidth(text) {
  return d3.sum([...text], (letter) => (letter.codePointAt(0) < 0x1100 ? 8.5 : 14.5));
}

/** A text of at most `most` letters; what is left out becomes an ellipsis. */
export function shortened(text, most) {
  const letters = [...text];
  return letters.length <= most ? text : `${letters.slice(0, most - 1).join("")}…`;
}

/** An empty drawing of a width and height in pixels; `label` is what screen readers say. */
export function drawing(width, height, label) {
  return d3
    .create("svg")
    .attr("viewBox", `0 0 ${width} ${height}`)
    .attr("width", width)
    .attr("height", height)
    .attr("role", "img")
    .attr("aria-label", label);
}

/**
 * Horizontal bars: an svg element of `rows` `{label, share, value, isChosen, isCut}` from top to
 * bottom; `share` of 0 to 1 is the bar's length, `value` the text after it (default: per cent).
 */
export function bars(rows, { label, width = 640, labelWidth = 160, valueWidth = 72 }) {
  const height = 28;
  const length = width - labelWidth - valueWidth - 24;
  const svg = drawing(width, height * rows.length, label);
  const row = svg
    .selectAll("g")
    .data(rows)
    .join("g")
    .attr("transform", (_, index) => `translate(0, ${index * height})`);
  row
    .append("text")
    .attr("class", "token-label")
    .attr("x", labelWidth)
    .attr("y", height / 2)
    .attr("dy", "0.35em")
    .attr("text-anchor", "end")
    .style("text-decoration", ({ isCut }) => (isCut ? "line-through" : null))
    .text((each) => shortened(each.label, Math.floor(labelWidth / textWidth("0"))));
  row
    .append("rect")
    .attr("x", labelWidth + 12)
    .attr("y", 4)
    .attr("height", height - 8)
    .attr("rx", 3)
    .attr("width", ({ share }) => Math.max(0, Math.min(1, share)) * length)
    .style("fill", ({ isChosen }) => `var(${isChosen ? "--chosen" : "--accent"})`);
  row
    .append("text")
    .attr("class", "value-label")
    .attr("x", width)
    .attr("y", height / 2)
    .attr("dy", "0.35em")
    .attr("text-anchor", "end")
    .text((each) => each.value ?? percent(each.share));
  return svg.node();
}
