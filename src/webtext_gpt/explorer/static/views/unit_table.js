// The most active units of one layer's MLP, as a table.
import { element } from "../dom.js";
import { tokenNode } from "../tokens.js";
import { tablePicture } from "./table_picture.js";

/** A list of layers and a table in `container`; `draw` takes the answer of /api/units. */
export function unitTable(container) {
  const select = element("select", { onchange: () => show() });
  const table = element("table", { class: "units" });
  container.append(
    element("label", { class: "row" }, "Layer", select),
    element("div", { class: "scroll" }, table),
  );
  let layers = [];

  function draw(answer) {
    const isNew = layers.length !== answer.layers.length;
    layers = answer.layers;
    if (isNew) {
      select.replaceChildren(...layers.map((_, i) => element("option", { value: i, text: i + 1 })));
      select.value = layers.length - 1;
    }
    show();
  }

  function show() {
    const { units } = layers[select.value];
    const largest = d3.max(units, ({ activation }) => Math.abs(activation)) || 1;
    const heads = [["unit"], ["activation", 2], ["raises most"]].map(([text, colspan = 1]) =>
      element("th", { scope: "col", colspan, text }),
    );
    table.replaceChildren(
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...units.map((unit) => row(unit, largest))),
    );
  }

  return { draw, picture: () => tablePicture(table, "Most active units") };
}

function row({ unit, activation, promotes }, largest) {
  const bar = element("span", { class: "bar" });
  bar.style.setProperty("--share", Math.max(0, activation / largest));
  const tokens = promotes.flatMap((token) => [tokenNode(token), " "]);
  return element(
    "tr",
    {},
    element("th", { scope: "row", text: unit + 1 }),
    element("td", { class: "number", text: d3.format(".2f")(activation) }),
    element("td", {}, bar),
    element("td", {}, ...tokens),
  );
}
