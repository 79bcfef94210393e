// All layers and heads as small pictures of the chosen token's row of weights, to choose from.
import { percent } from "../numbers.js";
import { spoken } from "../tokens.js";

const CELL = { least: 30, most: 64, height: 26, gap: 4, inset: 3 };
const MARGIN = { left: 58, top: 22 };
const EXPLANATION =
  "Bars from left to right are the weights of the first token to the chosen one, by square root. " +
  "Press a picture to see its head, or move with the arrow keys and choose with Enter.";

/**
 * Draw the grid in `container`: arrow keys move, Enter or a click chooses. The last column is the
 * mean over the heads of a layer, head null.
 * @param {HTMLElement} container
 * @param {(layer: number, head: number | null) => void} onChoose
 * @returns {{svg: SVGElement, draw: (state: object) => void}} draw takes {rows: Float32Array
 *   (n_layer, n_head, length), n_layer, n_head, length, tokens, chosen: {layer, head}}.
 */
export function headGrid(container, onChoose) {
  d3.select(container).append("p").attr("class", "small").text(EXPLANATION);
  const box = d3.select(container).append("div").attr("class", "scroll head-grid");
  const svg = box
    .append("svg")
    .attr("role", "grid")
    .attr("aria-label", "Attention of every layer and head; arrow keys move, Enter chooses");
  const headings = svg.append("g").attr("class", "headings").attr("aria-hidden", "true");
  const body = svg.append("g").attr("role", "presentation");

  function draw({ rows, n_layer, n_head, length, tokens, chosen }) {
    const place = placement(box.node().clientWidth, n_layer, n_head);
    svg.attr("width", place.width).attr("height", place.height);
    svg.attr("viewBox", [0, 0, place.width, place.height]);
    drawHeadings(headings, place, n_layer, n_head);
    const cells = body
      .selectAll(".layer")
      .data(withMeans(rows, n_layer, n_head, length))
      .join("g")
      .attr("class", "layer")
      .attr("role", "row")
      .selectAll(".cell")
      .data((heads, layer) => heads.map((row, column) => ({ row, layer, column })))
      .join(newCell)
      .attr("transform", ({ layer, column }) => `translate(${place.x(column)}, ${place.y(layer)})`);
    const headOf = (column) => (column < n_head ? column : null);
    const isChosen = ({ layer, column }) =>
      layer === chosen.layer && headOf(column) === chosen.head;
    const note = ({ row, layer, column }) => said(row, layer, headOf(column), tokens);
    cells
      .classed("chosen", isChosen)
      .attr("aria-selected", isChosen)
      .attr("tabindex", (cell) => (isChosen(cell) ? 0 : -1))
      .attr("aria-label", note)
      .on("click", (_, { layer, column }) => onChoose(layer, headOf(column)))
      .on("keydown", (event, { layer, column }) => {
        const next = neighbour(event.key, layer, column, n_layer, n_head + 1);
        if (next) body.selectAll(".cell").nodes()[next.layer * (n_head + 1) + next.column].focus();
        else if (event.key === "Enter" || event.key === " ") onChoose(layer, headOf(column));
        else return;
        event.preventDefault();
      });
    cells.select("title").text(note);
    cells.select("rect").attr("width", place.cell);
    cells.select("path").attr("d", ({ row }) => outline(row, place.cell));
  }
  return { svg: svg.node(), draw };
}

/** Where the cells are: as wide as the box allows, within bounds; the means stand apart. */
function placement(available, n_layer, n_head) {
  const apart = 2 * CELL.gap;
  const room = (available - MARGIN.left - apart) / (n_head + 1) - CELL.gap;
  const cell = Math.floor(Math.max(CELL.least, Math.min(CELL.most, room)));
  const x = (column) => MARGIN.left + column * (cell + CELL.gap) + (column === n_head ? apart : 0);
  const y = (layer) => MARGIN.top + layer * (CELL.height + CELL.gap);
  return { cell, x, y, width: x(n_head) + cell + CELL.gap, height: y(n_layer) };
}

/** Rows of weights by layer and head; after the heads of a layer stands their mean. */
function withMeans(rows, n_layer, n_head, length) {
  return d3.range(n_layer).map((layer) => {
    const heads = d3.range(n_head).map((head) => {
      const start = (layer * n_head + head) * length;
      return rows.subarray(start, start + length);
    });
    return [...heads, d3.range(length).map((position) => d3.mean(heads, (row) => row[position]))];
  });
}

function newCell(enter) {
  const cell = enter.append("g").attr("class", "cell").attr("role", "gridcell");
  cell.append("rect").attr("height", CELL.height).attr("rx", 3);
  cell.append("path");
  cell.append("title");
  return cell;
}

function drawHeadings(group, place, n_layer, n_head) {
  const columns = [...d3.range(1, n_head + 1).map(String), "mean"];
  group
    .selectAll(".column")
    .data(columns)
    .join("text")
    .attr("class", "column")
    .attr("text-anchor", "middle")
    .attr("x", (_, column) => place.x(column) + place.cell / 2)
    .attr("y", MARGIN.top - 8)
    .text((name, column) => (column === 0 ? `head ${name}` : name));
  group
    .selectAll(".row")
    .data(d3.range(1, n_layer + 1))
    .join("text")
    .attr("class", "row")
    .attr("text-anchor", "end")
    .attr("x", MARGIN.left - 8)
    .attr("y", (_, layer) => place.y(layer) + CELL.height / 2 + 4)
    .text((number) => (number === 1 ? "layer 1" : number));
}

/** Bars of a row by square root, as one path; a bar of several positions has their largest. */
function outline(row, width) {
  const space = width - 2 * CELL.inset;
  const n = Math.min(row.length, space / 2);
  const wide = space / n;
  const round = d3.format(".1f");
  const bars = d3.range(n).map((bar) => {
    const start = Math.floor((bar * row.length) / n);
    const end = Math.floor(((bar + 1) * row.length) / n);
    const high = round(Math.sqrt(d3.max(row.slice(start, end))) * (CELL.height - 2 * CELL.inset));
    const left = round(CELL.inset + bar * wide);
    return `M${left},${CELL.height - CELL.inset}v-${high}h${round(0.75 * wide)}v${high}z`;
  });
  return bars.join("");
}

function said(row, layer, head, tokens) {
  const most = d3.maxIndex(row);
  const who = head === null ? "mean over heads" : `head ${head + 1}`;
  return `Layer ${layer + 1}, ${who}: most on “${spoken(tokens[most])}” (${percent(row[most])})`;
}

/** The cell that an arrow key, Home or End leads to, or null if the key is none of these. */
function neighbour(key, layer, column, n_rows, n_columns) {
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  const moves = {
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    Home: [0, -n_columns],
    End: [0, n_columns],
  };
  if (!(key in moves)) return null;
  const [down, right] = moves[key];
  return { layer: within(layer + down, n_rows), column: within(column + right, n_columns) };
}
