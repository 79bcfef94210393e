// The weights of every target token on every source token, as a picture: the alignment.
import { element } from "../dom.js";
import { percent } from "../numbers.js";
import { visible } from "../tokens.js";
import { cellCursor } from "./cell_cursor.js";
import { heatMap } from "./heat_map.js";
import { marginOf } from "./heat_map.js";
import { onTheme } from "./heat_map.js";

const CELL = { least: 14, most: 30, labelled: 14 };
const MOST_PIXELS = 2400;
const HINT = "Point at a cell, or move with the arrow keys, for its weight; press a row to choose it.";

/**
 * A picture in `container`; pressing a row chooses its target token.
 * @returns {{svg: SVGElement, draw: (state: object) => void}} draw takes what `alignedTokens` does
 */
export function alignmentMatrix(container, onChoose) {
  const svg = d3.create("svg:svg").attr("class", "matrix alignment");
  const box = element("div", { class: "scroll" }, svg.node());
  const readout = element("p", {
    class: "muted small readout",
    "aria-live": "polite",
    text: HINT,
  });
  container.append(box, readout);
  let state = null;
  let cells = null;
  let width = 0;

  function draw(next = state) {
    if (next === null || box.clientWidth === 0) return;
    state = next;
    width = box.clientWidth;
    const { source, target, weights, chosen } = state;
    const [columns, rows] = [source.length, target.length];
    const cell = cellSize(width, Math.max(columns, rows), columns);
    svg.attr(
      "aria-label",
      `Weights of ${rows} target tokens on ${columns} source tokens; arrow keys move, Enter chooses`,
    );
    cells = heatMap(
      svg.node(),
      {
        rows,
        columns,
        at: (row, column) => weights[row * columns + column],
        shade: Math.sqrt,
        pool: d3.max,
      },
      {
        size: { width: cell * columns, height: cell * rows },
        labels:
          cell < CELL.labelled
            ? null
            : { rows: target.map(visible), columns: source.map(visible) },
        chosenRow: chosen,
        rowTitle: "translation",
        columnTitle: "sentence",
      },
    );
  }

  function say({ row, column }) {
    const { source, target, weights } = state;
    readout.textContent =
      `“${visible(target[row])}” on “${visible(source[column])}”: ` +
      percent(weights[row * source.length + column]);
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

/** Pixels of a cell's edge: as wide as the box allows, within bounds; the picture may scroll. */
function cellSize(width, longest, columns) {
  const margin = marginOf({});
  const room = (width - margin.left - margin.right) / columns;
  return Math.min(Math.max(CELL.least, Math.min(CELL.most, room)), MOST_PIXELS / longest);
}
