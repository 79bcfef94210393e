// The drawing of training and validation loss by step, with the points of kept checkpoints.
import { drawing } from "../charts.js";
import { element } from "../dom.js";
import { count } from "../numbers.js";

const HEIGHT = 280;
const EDGE = { left: 52, right: 16, top: 36, bottom: 44 };

/** Unit of a model's losses: a language model's are per token, a classifier's per row. */
export function lossUnit({ labels }) {
  if (labels === null) return "nats per token";
  return labels.length === 1 ? "squared error" : "nats per row";
}

/** An svg element of losses in a unit; `chosen` are the steps of the left and right checkpoint. */
export function lossCurve(curve, chosen, width, unit) {
  const { train, validation, checkpoints } = curve;
  const all = [...train, ...validation];
  const svg = drawing(width, HEIGHT, describe(curve, unit));
  if (all.length === 0) {
    svg.append("text").attr("x", 8).attr("y", 40).text("No losses are written yet.");
    return svg.node();
  }
  const x = d3.scaleLinear([0, d3.max([...all.map(([step]) => step), ...checkpoints])],
    [EDGE.left, width - EDGE.right]);
  const y = d3.scaleLinear(d3.extent(all, ([, loss]) => loss),
    [HEIGHT - EDGE.bottom, EDGE.top]).nice(5);
  axes(svg, x, y, width, unit);
  const line = d3.line(([step]) => x(step), ([, loss]) => y(loss));
  svg.append("path").attr("d", line(train)).attr("fill", "none")
    .style("stroke", "var(--muted)").attr("stroke-opacity", 0.6).attr("stroke-width", 1);
  svg.append("path").attr("d", line(validation)).attr("fill", "none")
    .style("stroke", "var(--text)").attr("stroke-width", 2);
  key(svg);
  for (const step of checkpoints) {
    const loss = lossAt(curve, step);
    if (loss !== null) point(svg, x(step), y(loss), "--surface", 4);
  }
  mark(svg, curve, x, y, chosen.left, "--accent", "left");
  mark(svg, curve, x, y, chosen.right, "--chosen", "right");
  return svg.node();
}

/** Validation loss at a step between those measured on both sides, else the training loss. */
export function lossAt({ train, validation }, step) {
  const points = validation.length > 0 && step >= validation[0][0] ? validation : train;
  if (points.length === 0) return null;
  const after = d3.bisector(([each]) => each).left(points, step);
  const [a, b] = [points[Math.max(0, after - 1)], points[Math.min(after, points.length - 1)]];
  return a[0] === b[0] ? b[1] : a[1] + (b[1] - a[1]) * Math.min(1, (step - a[0]) / (b[0] - a[0]));
}

/** The kept checkpoints' losses as a table. */
export function lossTable(curve, unit) {
  const exact = (points, step) => points.find(([each]) => each === step)?.[1].toFixed(3) ?? "–";
  const cell = (text) => element("td", { class: "number", text });
  return element("table", {},
    element("caption", { text: `Losses (${unit}) at the kept checkpoints' steps` }),
    element("thead", {}, element("tr", {}, ...["Step", "Training", "Validation"].map((text) =>
      element("th", { scope: "col", class: "number", text })))),
    element("tbody", {}, ...curve.checkpoints.map((step) => element("tr", {},
      cell(count(step)), cell(exact(curve.train, step)), cell(exact(curve.validation, step))))));
}

function axes(svg, x, y, width, unit) {
  for (const value of y.ticks(5)) {
    svg.append("line").attr("x1", EDGE.left).attr("x2", width - EDGE.right)
      .attr("y1", y(value)).attr("y2", y(value)).style("stroke", "var(--line)");
    svg.append("text").attr("class", "quiet").attr("x", EDGE.left - 8).attr("y", y(value))
      .attr("dy", "0.35em").attr("text-anchor", "end").text(y.tickFormat(5)(value));
  }
  for (const value of x.ticks(width < 500 ? 4 : 8).filter(Number.isInteger)) {
    svg.append("text").attr("class", "quiet").attr("x", x(value))
      .attr("y", HEIGHT - EDGE.bottom + 18).attr("text-anchor", "middle").text(count(value));
  }
  svg.append("text").attr("class", "quiet").attr("x", width - EDGE.right).attr("y", HEIGHT - 6)
    .attr("text-anchor", "end").text("optimizer steps");
  svg.append("text").attr("class", "quiet").attr("x", 0).attr("y", 12).text(unit);
}

function key(svg) {
  const entries = [["training", "--muted", 1], ["validation", "--text", 2]];
  entries.forEach(([text, colour, thickness], index) => {
    const left = 120 + 100 * index;
    svg.append("line").attr("x1", left).attr("x2", left + 20).attr("y1", 8).attr("y2", 8)
      .style("stroke", `var(${colour})`).attr("stroke-width", thickness);
    svg.append("text").attr("class", "quiet").attr("x", left + 26).attr("y", 12).text(text);
  });
}

function point(svg, cx, cy, colour, r) {
  svg.append("circle").attr("cx", cx).attr("cy", cy).attr("r", r).attr("stroke-width", 1.5)
    .style("fill", `var(${colour})`).style("stroke", "var(--text)");
}

function mark(svg, curve, x, y, step, colour, side) {
  const loss = step == null ? null : lossAt(curve, step);
  if (loss === null) return;
  svg.append("line").attr("class", `mark-${side}`).attr("x1", x(step)).attr("x2", x(step))
    .attr("y1", EDGE.top - 8).attr("y2", HEIGHT - EDGE.bottom)
    .style("stroke", `var(${colour})`).attr("stroke-width", 1.5)
    .attr("stroke-dasharray", side === "left" ? "4 3" : null);
  point(svg, x(step), y(loss), colour, 6);
}

function describe({ train, validation, checkpoints }, unit) {
  const from = (name, points) => points.length === 0 ? `no ${name} loss`
    : `${name} loss from ${points[0][1].toFixed(2)} to ${points.at(-1)[1].toFixed(2)}`;
  return `Loss by step, ${unit}: ${from("training", train)}, ${from("validation", validation)}; ${
    checkpoints.length} checkpoints marked`;
}
