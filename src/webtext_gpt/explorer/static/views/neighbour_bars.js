// Tokens with the embeddings most like the chosen token's, as bars.
import { bars } from "../charts.js";
import { element } from "../dom.js";
import { visible } from "../tokens.js";

/** Bars in `container`; `draw` takes the answer of /api/neighbours. */
export function neighbourBars(container) {
  const box = element("div", { class: "scroll" });
  container.append(box);

  function draw({ token, neighbours }) {
    const said = d3.format(".3f");
    const rows = neighbours.map((each) => ({
      label: visible(each),
      share: each.similarity,
      value: said(each.similarity),
    }));
    const list = rows.map(({ label, value }) => `${label} ${value}`).join(", ");
    const label = `Neighbours of ${visible(token)}: ${list}`;
    const width = Math.min(480, box.clientWidth);
    box.replaceChildren(bars(rows, { label, width, labelWidth: 112 }));
  }

  return { draw, picture: () => box.firstChild.cloneNode(true) };
}
