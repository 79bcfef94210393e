// Position embeddings, or rotary's angles, as the picture everyone knows.
import { element } from "../dom.js";
import { cellCursor } from "./cell_cursor.js";
import { heatMap } from "./heat_map.js";
import { marginOf } from "./heat_map.js";
import { onTheme } from "./heat_map.js";
import { legend } from "./legend.js";

const LARGEST = { width: 720, height: 360 };
const KINDS = {
  learned: {
    text: "A learned vector for each position is added to its token's embedding: a row of the picture.",
    column: "dimension",
  },
  sinusoidal: {
    text:
      "Sines and cosines, whose wavelengths grow from dimension to dimension, are added to each " +
      "token's embedding: a row of the picture for each position.",
    column: "dimension",
  },
  rotary: {
    text:
      "Queries and keys are turned, two of their numbers at a time, by angles that grow with the " +
      "position: a row of the picture has the sine and the cosine of each pair's angle.",
    column: "sine and cosine of each pair",
  },
};

/** A picture in `container`; `draw` takes the answer of positions and {position}, the row to mark. */
export function positionPicture(container) {
  const svg = d3.create("svg:svg").attr("class", "positions");
  const text = element("p", { class: "small" });
  const box = element("div", { class: "scroll" }, svg.node());
  const ends = element("div");
  const readout = element("p", { class: "muted small readout", "aria-live": "polite" });
  container.append(text, box, ends, readout);
  let state = null;
  let cells = null;

  function draw(answer = state?.answer, now = state?.now) {
    if (answer === undefined || box.clientWidth === 0) return;
    state = { answer, now };
    const { rows, columns, kind, values } = answer;
    const { text: explanation, column } = KINDS[kind];
    const at = (i, j) => values[i * columns + j];
    const end = kind === "learned" ? d3.quantile(values.map(Math.abs), 0.99) || 1 : 1;
    text.textContent = explanation;
    svg.attr("aria-label", `${rows} positions by ${columns} columns. ${explanation}`);
    const margin = marginOf(null);
    const width = Math.min(LARGEST.width, box.clientWidth - margin.left - margin.right);
    cells = heatMap(
      svg.node(),
      {
        rows,
        columns,
        at,
        shade: (number) => (number / end + 1) / 2,
        pool: d3.mean,
      },
      {
        size: { width, height: Math.min(LARGEST.height, Math.max(10 * rows, 80)) },
        labels: null,
        chosenRow: now.position < rows ? now.position : null,
        rowTitle: "position",
        columnTitle: column,
      },
    );
    const said = d3.format(".2~r");
    ends.replaceChildren(legend(said(-end), said(end)));
  }

  function say({ row, column }) {
    const { columns, values } = state.answer;
    readout.textContent =
      `Position ${row + 1}, column ${column + 1}: ` +
      d3.format(".3f")(values[row * columns + column]);
  }

  cellCursor(svg.node(), {
    cells: () => cells,
    show: (cell) => (cell === null ? (readout.textContent = "") : say(cell)),
    start: () => state.now.position,
  });
  onTheme(() => draw());
  return { draw, picture: svg.node() };
}
