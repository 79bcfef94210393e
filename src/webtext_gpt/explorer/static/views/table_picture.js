// A table of the page as a drawing, to save.
import { drawing } from "../charts.js";

/** A drawing with the table's texts, backgrounds, frames and small drawings in their places. */
export function tablePicture(table, label) {
  const frame = table.getBoundingClientRect();
  const svg = drawing(Math.ceil(frame.width), Math.ceil(frame.height), label);
  const placeOf = (thing) => {
    const { x, y, width, height } = thing.getBoundingClientRect();
    return { x: x - frame.x, y: y - frame.y, width, height };
  };
  for (const node of table.querySelectorAll(":not(.visually-hidden, svg, svg *)")) {
    drawBox(svg, placeOf(node), getComputedStyle(node));
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) drawText(svg, child, placeOf);
    }
  }
  for (const small of table.querySelectorAll("svg")) {
    const { x, y } = placeOf(small);
    const copy = small.cloneNode(true);
    copy.setAttribute("x", x);
    copy.setAttribute("y", y);
    svg.node().append(copy);
  }
  return svg.node();
}

function drawBox(svg, { x, y, width, height }, { backgroundColor, outlineColor, outlineStyle }) {
  const isFramed = outlineStyle === "solid";
  if (backgroundColor === "rgba(0, 0, 0, 0)" && !isFramed) return;
  svg
    .append("rect")
    .attr("x", x)
    .attr("y", y)
    .attr("width", width)
    .attr("height", height)
    .style("fill", backgroundColor)
    .style("stroke", isFramed ? outlineColor : "none")
    .style("stroke-width", 2);
}

function drawText(svg, node, placeOf) {
  const text = node.textContent.trim();
  if (text === "") return;
  const range = document.createRange();
  range.selectNodeContents(node);
  const { x, y, width, height } = placeOf(range);
  const { color, fontFamily, fontSize, fontWeight } = getComputedStyle(node.parentNode);
  svg
    .append("text")
    .attr("x", x + width / 2)
    .attr("y", y + height / 2)
    .attr("dy", "0.35em")
    .attr("text-anchor", "middle")
    .style("fill", color)
    .style("font-family", fontFamily)
    .style("font-size", fontSize)
    .style("font-weight", fontWeight)
    .text(text);
}
