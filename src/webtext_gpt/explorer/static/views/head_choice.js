// Lists of layers and heads to choose from.
import { element } from "../dom.js";

/**
 * Lists of layers and heads; the head null is the mean over heads. `onChange` follows a choice;
 * `first`, of the number of layers, gives the first choice {layer, head}.
 */
export function headChoice(parent, onChange, first = () => ({ layer: 0, head: 0 })) {
  const list = (label) => {
    const select = element("select", { onchange: onChange });
    parent.append(element("label", { class: "row" }, label, select));
    return select;
  };
  const [layers, heads] = [list("Layer"), list("Head")];
  const fill = (select, options, start) => {
    if (select.options.length === options.length) return;
    const { value } = select;
    select.replaceChildren(
      ...options.map(([each, text]) => element("option", { value: each, text })),
    );
    select.value = options.some(([each]) => String(each) === value) ? value : start;
  };
  const numbered = (count) => d3.range(count).map((index) => [index, index + 1]);
  return {
    offer: (n_layer, n_head) => {
      const { layer, head } = first(n_layer);
      fill(layers, numbered(n_layer), layer);
      fill(heads, [...numbered(n_head), ["mean", "mean over heads"]], head ?? "mean");
    },
    get: () => ({
      layer: Number(layers.value),
      head: heads.value === "mean" ? null : Number(heads.value),
    }),
    set: (layer, head) => {
      layers.value = layer;
      heads.value = head ?? "mean";
      onChange();
    },
  };
}
