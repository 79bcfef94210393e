// The logit lens as a table: a row for each layer, its likeliest tokens with per cents.
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { element } from "../dom.js";
import { percent } from "../numbers.js";
import { tokenNode } from "../tokens.js";
import { visible } from "../tokens.js";
import { tablePicture } from "./table_picture.js";

/** A table in `container`; `draw` takes the answer of /api/lens, `picture` makes a drawing of it. */
export function lensTable(container) {
  const table = element("table", { class: "lens" });
  const about = element("p", { class: "small muted" });
  container.append(about, element("div", { class: "scroll" }, table));

  function draw({ layers, next }) {
    const follows = next && `“${visible(next)}”`;
    const n = d3.max(layers, ({ tokens }) => tokens.length);
    const names = ["after", ...d3.range(1, n + 1).map((rank) => `${rank}.`)];
    const heads = names.map((text) => element("th", { scope: "col", text }));
    if (next) heads.push(element("th", { scope: "col", class: "number", text: follows }));
    about.textContent =
      next === null
        ? "This is the last token: what follows it is not in the text."
        : `The token that really follows is ${follows}: framed where it is among the likeliest, and ` +
          "with its probability in the last column.";
    table.replaceChildren(
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...layers.map((layer) => row(layer, next))),
    );
  }

  return { draw, picture: () => tablePicture(table, "Logit lens") };
}

function row({ name, tokens, next_probability }, next) {
  const cells = tokens.map((token) => {
    const follows = token.id === next?.id;
    const cell = element(
      "td",
      { class: follows ? "follows" : false },
      tokenNode(token),
      element("span", { class: "share", text: ` ${percent(token.probability)}` }),
    );
    if (follows) cell.append(element("span", { class: "visually-hidden", text: " (follows)" }));
    cell.style.background = scale(token.probability);
    cell.style.color = onScale(token.probability);
    return cell;
  });
  if (next) cells.push(element("td", { class: "number", text: percent(next_probability) }));
  return element("tr", {}, element("th", { scope: "row", text: name }), ...cells);
}
