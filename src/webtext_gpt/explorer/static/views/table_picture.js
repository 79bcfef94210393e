// A table of the page as a drawing, to save.
import { drawing } from "../charts.js";

/** A drawing with the texts, backgrounds and small drawings of the table's cells in their places. */
export function tablePicture(table, label) {
  const frame = table.getBoundingClientRect();
  const svg = drawing(Math.ceil(frame.width), Math.ceil(frame.height), label);
  for (const cell of table.querySelectorAll("th, td")) drawCell(svg, cell, frame);
  return svg.node();
}

function drawCell(svg, cell, frame) {
  const box = cell.getBoundingClientRect();
  const style = getComputedStyle(cell);
  const [x, y] = [box.x - frame.x, box.y - frame.y];
  svg.append("rect").attr("x", x).attr("y", y).attr("width", box.width).attr("height", box.height)
    .style("fill", style.backgroundColor)
    .style("stroke", cell.classList.contains("follows") ? style.outlineColor : "none")
    .style("stroke-width", 2);
  const isRight = style.textAlign === "right";
  svg.append("text")
    .attr("x", isRight ? x + box.width - parseFloat(style.paddingRight) : x + parseFloat(style.paddingLeft))
    .attr("y", y + box.height / 2).attr("dy", "0.35em").attr("text-anchor", isRight ? "end" : "start")
    .style("fill", style.color).style("font", style.font)
    .text(textOf(cell));
  for (const small of cell.querySelectorAll("svg")) {
    const place = small.getBoundingClientRect();
    const copy = small.cloneNode(true);
    copy.setAttribute("x", place.x - frame.x);
    copy.setAttribute("y", place.y - frame.y);
    svg.node().append(copy);
  }
}

/** What one sees of a cell's text. */
function textOf(cell) {
  const seen = [...cell.childNodes].filter((node) => !node.classList?.contains("visually-hidden"));
  return seen.map((node) => (node.tagName === "svg" ? "" : node.textContent)).join("").trim();
}
