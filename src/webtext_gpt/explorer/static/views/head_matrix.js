// One head's weights of every token on every token before it, as a picture.
import { element } from "../dom.js";
import { percent } from "../numbers.js";
import { visible } from "../tokens.js";
import { cellCursor } from "./cell_cursor.js";
import { heatMap } from "./heat_map.js";
import { marginOf } from "./heat_map.js";
import { onTheme } from "./heat_map.js";
import { legend } from "./legend.js";

const LARGEST = 420;
const LARGEST_CELL = 28;
const SMALLEST_LABELLED = 13;
const HINT = "Point at a cell, or move with the arrow keys, for its weight; press a row to choose its token.";
const MASKED =
  "Hatched cells are masked: there the column's token comes after the row's, its score is set to " +
  "minus infinity, and softmax makes that a weight of 0. So no token can look at the one it has " +
  "to predict.";

/**
 * A picture of the lower triangle in `container`; pressing a row chooses its token.
 * @returns {{svg: SVGElement, draw: (state: object) => void}} draw takes {size, weights (rows of
 *   the lower triangle, one after another), tokens, chosen}.
 */
export function headMatrix(container, onChoose) {
  const svg = d3.create("svg:svg").attr("class", "matrix");
  const box = element("div", { class: "scroll" }, svg.node());
  const readout = element("p", { class: "muted small readout", "aria-live": "polite", text: HINT });
  container.append(
    box,
    legend("0 %", "100 %, by cube root"),
    readout,
    element("p", { class: "small", text: MASKED }),
  );
  let state = null;
  let cells = null;
  let width = 0;

  function draw(next = state) {
    if (next === null || box.clientWidth === 0) return;
    state = next;
    const { size, weights, tokens, chosen } = state;
    width = box.clientWidth;
    const names = tokens.map(visible);
    const isLabelled = edgeOf(width, size, names) >= SMALLEST_LABELLED * size;
    const labels = isLabelled ? { rows: names, columns: names } : null;
    const edge = edgeOf(width, size, labels);
    svg.attr(
      "aria-label",
      `Weights of ${size} tokens on each other; the text above has the chosen row's`,
    );
    cells = heatMap(
      svg.node(),
      {
        rows: size,
        columns: size,
        at: (row, column) => (column > row ? NaN : weightOf(weights, row, column)),
        shade: Math.cbrt, // most weights are small, and would all look like nothing
        pool: d3.max,
      },
      {
        size: { width: edge, height: edge },
        labels,
        chosenRow: chosen,
        rowTitle: "token that looks",
        columnTitle: "token looked at",
      },
    );
  }

  function say({ row, column }) {
    const { tokens, weights } = state;
    const name = (index) => `“${visible(tokens[index])}” (${index + 1})`;
    const pair = `${name(row)} on ${name(column)}`;
    readout.textContent =
      column > row ? `${pair}: masked` : `${pair}: ${percent(weightOf(weights, row, column))}`;
  }

  cellCursor(svg.node(), {
    cells: () => cells,
    show: (cell) => (cell === null ? (readout.textContent = HINT) : say(cell)),
    choose: ({ row }) => onChoose(row),
    start: () => state.chosen,
  });
  onTheme(() => draw());
  new ResizeObserver(() => {
    if (box.clientWidth !== width) draw();
  }).observe(box);
  return { svg: svg.node(), draw };
}

/** Pixels of the picture's edge in a box, with labels or (null) numbers at its axes. */
function edgeOf(width, size, labels) {
  const margin = marginOf(labels);
  return Math.min(LARGEST, width - margin.left - margin.right, LARGEST_CELL * size);
}

function weightOf(weights, row, column) {
  return weights[(row * (row + 1)) / 2 + column];
}
