// Heat maps of matrices as SVG: the cells as an image from a canvas, with axes.

const MARGIN = { left: 50, top: 36, right: 10, bottom: 4 };
const LABELLED = { left: 126, top: 126 };
const LABEL_LETTERS = 14; // as long as "⟨end of text⟩"
const LETTER = 7; // pixels of a title's letter, at most on average
const MOST_PIXELS = 512;

/**
 * Draw a matrix. Its image has the theme's colours of now: draw again after a change of theme.
 * @param {SVGElement} node
 * @param {object} matrix {rows, columns, at: (row, column) => number, NaN where the cell is left
 *   hatched; shade: value => 0 to 1; pool: d3.max or d3.mean, where a pixel has several cells}
 * @param {object} axes {size: {width, height} of the cells in pixels, chosenRow or null, rowTitle,
 *   columnTitle, labels: {rows, columns}, a text for each, or null for numbers}
 * @returns {object} the picture's cells: {rows, columns, at: (event) => the cell {row, column} under
 *   a pointer, box: (cell) => its {x, y, width, height} in pixels}
 */
export function heatMap(node, matrix, axes) {
  const { size, labels } = axes;
  const margin = marginOf(labels);
  const svg = d3.select(node);
  const width = margin.left + size.width + margin.right;
  const long = Math.max(size.height, LETTER * axes.rowTitle.length); // few rows are short
  const height = margin.top + long + margin.bottom;
  svg.attr("width", width).attr("height", height).attr("viewBox", [0, 0, width, height]);
  const x = d3.scaleLinear([0, matrix.columns], [margin.left, margin.left + size.width]);
  const y = d3.scaleLinear([0, matrix.rows], [margin.top, margin.top + size.height]);
  const area = (kind, name) =>
    part(svg, kind, name)
      .attr("x", margin.left)
      .attr("y", margin.top)
      .attr("width", size.width)
      .attr("height", size.height);
  hatch(svg);
  area("rect", "hatched").attr("fill", "url(#hatch)");
  area("image", "cells")
    .attr("preserveAspectRatio", "none")
    .attr("image-rendering", Math.min(matrix.rows, matrix.columns) < 256 ? "pixelated" : "auto")
    .attr("href", image(matrix));
  drawAxis(svg, "columns", x, margin, axes.columnTitle, labels?.columns);
  drawAxis(svg, "rows", y, margin, axes.rowTitle, labels?.rows);
  part(svg, "rect", "chosen-row")
    .attr("x", margin.left - 1)
    .attr("y", y(axes.chosenRow ?? 0) - 1)
    .attr("width", size.width + 2)
    .attr("height", Math.max(2, y(1) - y(0)) + 2)
    .attr("visibility", axes.chosenRow === null ? "hidden" : "visible");
  const at = (event) => {
    const [left, top] = d3.pointer(event, node);
    const cell = (scale, value) =>
      Math.max(0, Math.min(scale.domain()[1] - 1, Math.floor(scale.invert(value))));
    return { row: cell(y, top), column: cell(x, left) };
  };
  const box = ({ row, column }) => ({
    x: x(column),
    y: y(row),
    width: x(1) - x(0),
    height: y(1) - y(0),
  });
  return { rows: matrix.rows, columns: matrix.columns, at, box };
}

/** Pixels that the axes need left of and above the cells. */
export function marginOf(labels) {
  return labels ? { ...MARGIN, ...LABELLED } : MARGIN;
}

/** Calls `draw` when the theme has changed. */
export function onTheme(draw) {
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

/** Colours of the theme's scale, for numbers from 0 to 1. */
function themeColors() {
  const style = getComputedStyle(document.documentElement);
  const colors = d3.range(10).map((step) => style.getPropertyValue(`--scale-${step}`).trim());
  return d3.piecewise(d3.interpolateRgb, colors);
}

/** Child of a kind and class, made if it is not there. */
function part(svg, kind, name) {
  return svg.selectAll(`.${name}`).data([null]).join(kind).attr("class", name);
}

function hatch(svg) {
  part(svg, "pattern", "hatch")
    .attr("id", "hatch")
    .attr("width", 6)
    .attr("height", 6)
    .attr("patternUnits", "userSpaceOnUse")
    .attr("patternTransform", "rotate(45)");
  part(svg.select(".hatch"), "line", "stripe").attr("y2", 6);
}

/** PNG of the cells as an address: one pixel a cell, or several cells where there are many. */
function image({ rows, columns, at, shade, pool }) {
  const down = Math.ceil(rows / MOST_PIXELS);
  const right = Math.ceil(columns / MOST_PIXELS);
  const canvas = document.createElement("canvas");
  canvas.height = Math.ceil(rows / down);
  canvas.width = Math.ceil(columns / right);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  // 256 colours worked out once: a head of 1,024 tokens has half a million cells.
  const palette = d3.quantize(themeColors(), 256).map((color) => d3.rgb(color));
  for (let row = 0; row < canvas.height; row += 1) {
    for (let column = 0; column < canvas.width; column += 1) {
      const values = [];
      for (let i = row * down; i < Math.min(rows, (row + 1) * down); i += 1) {
        for (let j = column * right; j < Math.min(columns, (column + 1) * right); j += 1) {
          values.push(at(i, j));
        }
      }
      const value = pool(values); // without the NaN among them
      if (value === undefined) continue;
      const { r, g, b } = palette[Math.round(255 * Math.max(0, Math.min(1, shade(value))))];
      pixels.data.set([r, g, b, 255], 4 * (row * canvas.width + column));
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** Labels, or ticks that count from 1, along the left or the top edge, and the edge's title. */
function drawAxis(svg, name, scale, margin, title, labels) {
  const isRows = name === "rows";
  const [start, end] = isRows ? [margin.left - 6, 0] : [0, margin.top - 6];
  const axis = part(svg, "g", name);
  const place = (tick) => {
    const middle = scale(tick + 0.5);
    if (isRows) return `translate(${start}, ${middle + 4})`;
    return `translate(${middle + (labels ? 4 : 0)}, ${end}) rotate(${labels ? -90 : 0})`;
  };
  axis
    .selectAll(".tick")
    .data(labels ? d3.range(labels.length) : ticks(scale))
    .join("text")
    .attr("class", "tick")
    .attr("text-anchor", isRows ? "end" : labels ? "start" : "middle")
    .attr("transform", place)
    .text((tick) => (labels ? shortened(labels[tick]) : tick + 1));
  part(axis, "text", "title")
    .attr("text-anchor", isRows ? "end" : "start")
    .attr("transform", isRows ? "rotate(-90)" : null)
    .attr("x", isRows ? -margin.top : margin.left)
    .attr("y", 13)
    .text(title);
}

/** Round numbers, and 1, as indices from 0. */
function ticks(scale) {
  const count = scale.domain()[1];
  const round = d3.ticks(1, count, 6).map((tick) => tick - 1);
  return [0, ...round.filter((tick) => Number.isInteger(tick) && scale(tick) - scale(0) > 28)];
}

function shortened(text) {
  return text.length > LABEL_LETTERS ? `${text.slice(0, LABEL_LETTERS - 1)}…` : text;
}
