// A cursor over the cells of a picture: the pointer moves it, and so do the arrow keys.

/**
 * Make the cells of `node`, an svg element, readable one by one.
 * @param {SVGElement} node
 * @param {object} picture {cells: what `heatMap` returned last, as a function; show: (cell) =>
 *   void, for the cell {row, column} under the cursor, null when it leaves; choose: (cell) => void,
 *   for a click or Enter; start: () => the row that the arrow keys begin in}
 */
export function cellCursor(node, { cells, show, choose = () => {}, start = () => 0 }) {
  let here = null;
  const svg = d3.select(node).attr("tabindex", 0).attr("role", "application");
  const mark = d3.create("svg:rect").attr("class", "cursor");

  function move(row, column) {
    const { rows, columns, box } = cells();
    const within = (index, count) => Math.max(0, Math.min(count - 1, index));
    here = { row: within(row, rows), column: within(column, columns) };
    const { x, y, width, height } = box(here);
    mark.attr("x", x).attr("y", y).attr("width", width).attr("height", height);
    svg.append(() => mark.node());
    mark.node().scrollIntoView({ block: "nearest", inline: "nearest" });
    show(here);
  }

  function leave() {
    here = null;
    mark.remove();
    show(null);
  }

  svg.on("pointermove", (event) => show(cells().at(event)));
  svg.on("pointerleave", () => show(here));
  svg.on("click", (event) => choose(cells().at(event)));
  svg.on("focus", () => {
    if (node.matches(":focus-visible")) move(start(), 0);
  });
  svg.on("blur", leave);
  svg.on("keydown", (event) => {
    const { row, column } = here ?? { row: start(), column: -1 };
    const moves = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, Math.max(0, column)],
      ArrowDown: [row + 1, Math.max(0, column)],
      Home: [row, 0],
      End: [row, Infinity],
    };
    if (event.key in moves) move(...moves[event.key]);
    else if (event.key === "Enter" && here) choose(here);
    else return;
    event.preventDefault();
  });
}
