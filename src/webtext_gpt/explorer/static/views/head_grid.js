// All layers and heads as small pictures of the chosen token's row of weights, to choose from.
import { percent } from "../numbers.js";
import { spoken } from "../tokens.js";

const CELL = { least: 30, most: 64, height: 26, gap: 4, inset: 3 };
const MARGIN = { left: 58, top: 22 };

/**
 * Draw the grid in `container`: arrow keys move, Enter or a click chooses. The last column is the
 * mean over the heads of a layer, head null.
 * @param {HTMLElement} container
 * @param {(layer: number, head: number | null) => void} onChoose
 * @returns {{svg: SVGElement, draw: (state: object) => void}} draw takes {rows: Float32Array
 *   (n_layer, n_head, length), n_layer, n_head, length, tokens, chosen: {layer, head}}.
 */
export function headGrid(container, onChoose) {
  const box = d3.select(container).append("div").attr("class", "scroll head-grid");
  const svg = box
    .append("svg")
    .attr("role", "grid")
    .attr("aria-label", "Attention of every layer and head; arrow keys move, Enter chooses");
  const headings = svg.append("g").attr("class", "headings").attr("aria-hidden", "true");
  const body = svg.append("g").attr("role", "presentation");

  function draw({ rows, n_layer, n_head, length, tokens, chosen }) {
    const pictures = withMeans(rows, n_layer, n_head, length);
    const width = MARGIN.left + (n_head + 1) * (CELL.width + CELL.gap) + 2 * CELL.gap;
    const height = MARGIN.top + n_layer * (CELL.height + CELL.gap);
    svg.attr("width", width).attr("height", height).attr("viewBox", [0, 0, width, height]);
    drawHeadings(headings, n_layer, n_head);
    const cells = body
      .selectAll(".layer")
      .data(pictures)
      .join("g")
      .attr("class", "layer")
      .attr("role", "row")
      .selectAll(".cell")
      .data((heads, layer) => heads.map((row, head) => ({ row, layer, head: head < n_head ? head : null })))
      .join(newCell)
      .attr("transform", ({ layer, head }) => `translate(${left(head ?? n_head, n_head)}, ${top(layer)})`);
    const isChosen = ({ layer, head }) => layer === chosen.layer && head === chosen.head;
    cells
      .classed("chosen", isChosen)
      .attr("aria-selected", isChosen)
      .attr("tabindex", (cell) => (isChosen(cell) ? 0 : -1))
      .attr("aria-label", (cell) => said(cell, tokens))
      .on("click", (_, { layer, head }) => onChoose(layer, head))
      .on("keydown", (event, { layer, head }) => {
        const column = head ?? n_head;
        const next = neighbour(event.key, layer, column, n_layer, n_head + 1);
        if (next) body.selectAll(".cell").nodes()[next.layer * (n_head + 1) + next.column].focus();
        else if (event.key === "Enter" || event.key === " ") onChoose(layer, head);
        else return;
        event.preventDefault();
      });
    cells.select("title").text((cell) => said(cell, tokens));
    cells.select("path").attr("d", ({ row }) => outline(row));
  }
  return { svg: svg.node(), draw };
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
  cell.append("rect").attr("width", CELL.width).attr("height", CELL.height).attr("rx", 3);
  cell.append("path");
  cell.append("title");
  return cell;
}

function drawHeadings(group, n_layer, n_head) {
  const columns = [...d3.range(1, n_head + 1).map(String), "mean"];
  group
    .selectAll(".column")
    .data(columns)
    .join("text")
    .attr("class", "column")
    .attr("text-anchor", "middle")
    .attr("x", (_, column) => left(column, n_head) + CELL.width / 2)
    .attr("y", MARGIN.top - 8)
    .text((name, column) => (column === 0 ? `head ${name}` : name));
  group
    .selectAll(".row")
    .data(d3.range(1, n_layer + 1))
    .join("text")
    .attr("class", "row")
    .attr("text-anchor", "end")
    .attr("x", MARGIN.left - 8)
    .attr("y", (_, layer) => top(layer) + CELL.height / 2 + 4)
    .text((number) => (number === 1 ? "layer 1" : number));
}

/** Left edge of a column; the means stand apart. */
function left(column, n_head) {
  return MARGIN.left + column * (CELL.width + CELL.gap) + (column === n_head ? 2 * CELL.gap : 0);
}

function top(layer) {
  return MARGIN.top + layer * (CELL.height + CELL.gap);
}

/** Bars of a row of weights as one path; where a bar has several positions, their largest. */
function outline(row) {
  const space = CELL.width - 2 * CELL.inset;
  const n = Math.min(row.length, space / 2);
  const wide = space / n;
  const round = d3.format(".1f");
  const bars = d3.range(n).map((bar) => {
    const start = Math.floor((bar * row.length) / n);
    const end = Math.floor(((bar + 1) * row.length) / n);
    const high = round(d3.max(row.slice(start, end)) * (CELL.height - 2 * CELL.inset));
    const left = round(CELL.inset + bar * wide);
    return `M${left},${CELL.height - CELL.inset}v-${high}h${round(0.75 * wide)}v${high}z`;
  });
  return bars.join("");
}

function said({ row, layer, head }, tokens) {
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
