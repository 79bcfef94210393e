// The scale's colours between the names of its ends.
import { N_STEPS } from "../charts.js";
import { scale } from "../charts.js";
import { element } from "../dom.js";

/** A paragraph: the text `low`, squares from little to much, the text `high`. */
export function legend(low, high) {
  const squares = d3.range(N_STEPS).map((step) => {
    const square = element("span", { class: "square" });
    square.style.background = scale((step + 0.5) / N_STEPS);
    return square;
  });
  return element(
    "p",
    { class: "legend muted small" },
    `${low} `,
    element("span", { "aria-hidden": "true" }, ...squares),
    ` ${high}`,
  );
}
