// The norm of the residual stream from layer to layer, as a line.
import { drawing } from "../charts.js";
import { element } from "../dom.js";

const SIZE = { width: 640, height: 220 };
const MARGIN = { left: 56, top: 30, right: 24, bottom: 40 };

/** A line in `container`; `draw` takes the answer of /api/lens. */
export function normLine(container) {
  const svg = drawing(SIZE.width, SIZE.height, "").attr("class", "norm");
  const box = element("div", { class: "scroll" }, svg.node());
  container.append(box);

  function draw({ layers }) {
    const width = Math.max(300, Math.min(SIZE.width, box.clientWidth));
    svg.attr("width", width).attr("viewBox", [0, 0, width, SIZE.height]);
    const norms = layers.map(({ norm }) => norm);
    const said = d3.format(",.1f");
    svg.attr(
      "aria-label",
      `L2 norms: ${layers.map(({ name, norm }) => `${name} ${said(norm)}`).join(", ")}`,
    );
    svg.selectAll("*").remove();
    const x = d3.scaleLinear([0, layers.length - 1], [MARGIN.left, width - MARGIN.right]);
    const y = d3.scaleLinear([0, d3.max(norms)], [SIZE.height - MARGIN.bottom, MARGIN.top]).nice();
    drawAxes(svg, x, y, width);
    svg
      .append("path")
      .attr("class", "line")
      .attr("d", d3.line((_, i) => x(i), y)(norms));
    svg
      .selectAll("circle")
      .data(layers)
      .join("circle")
      .attr("r", 4)
      .attr("cx", (_, i) => x(i))
      .attr("cy", ({ norm }) => y(norm))
      .append("title")
      .text(({ name, norm }) => `${name}: ${said(norm)}`);
  }

  return { draw, picture: svg.node() };
}

function drawAxes(svg, x, y, width) {
  const steps = x.ticks(width / 50).filter(Number.isInteger);
  const across = svg.append("g").selectAll("text").data(steps).join("text");
  across
    .attr("class", "quiet")
    .attr("x", x)
    .attr("y", SIZE.height - MARGIN.bottom + 18);
  across.attr("text-anchor", "middle").text((step) => (step === 0 ? "embedding" : step));
  const up = svg.append("g").selectAll("g").data(y.ticks(4)).join("g");
  up.attr("transform", (tick) => `translate(0, ${y(tick)})`);
  up.append("line")
    .attr("class", "grid")
    .attr("x1", MARGIN.left)
    .attr("x2", width - MARGIN.right);
  up.append("text")
    .attr("class", "quiet")
    .attr("x", MARGIN.left - 8)
    .attr("dy", "0.35em")
    .attr("text-anchor", "end")
    .text(y.tickFormat(4));
  svg
    .append("text")
    .attr("class", "quiet")
    .attr("x", width - MARGIN.right)
    .attr("y", SIZE.height - 4)
    .attr("text-anchor", "end")
    .text("after block");
  svg.append("text").attr("class", "quiet").attr("x", 4).attr("y", 12).text("L2 norm");
}
