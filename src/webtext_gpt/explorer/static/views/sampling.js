// Sliders for temperature, top-k and top-p.
import { element } from "../dom.js";
import { count } from "../numbers.js";
import { slider } from "./slider.js";

const KS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30, 40, 50, 100, 200, 500, 1000, null];

const SLIDERS = [
  {
    id: "sampling-temperature",
    name: "temperature",
    title: "Temperature",
    min: 0.1,
    max: 2,
    step: 0.05,
    start: 1,
    read: (slider) => Number(slider.value),
    say: (value) => (value === 1 ? "1 (as trained)" : String(value)),
    hint: "divides the logits: below 1 sharpens, above 1 flattens",
  },
  {
    id: "sampling-top_k",
    name: "top_k",
    title: "Top-k",
    min: 0,
    max: KS.length - 1,
    step: 1,
    start: KS.length - 1,
    read: (slider) => KS[Number(slider.value)],
    say: (value) => (value === null ? "off" : `${count(value)} likeliest`),
    hint: "keeps the k likeliest tokens",
  },
  {
    id: "sampling-top_p",
    name: "top_p",
    title: "Top-p",
    min: 0.05,
    max: 1,
    step: 0.01,
    start: 1,
    read: (slider) => (Number(slider.value) === 1 ? null : Number(slider.value)),
    say: (value) => (value === null ? "off" : `${Math.round(100 * value)}\u00a0%`),
    hint: "keeps the likeliest tokens that together reach this share",
  },
];

/** Builds the sliders in `root`; `read()` gives `{temperature, top_k, top_p}`. */
export function samplingSliders(root, onchange) {
  const sliders = SLIDERS.map((settings) => slider(root, settings, onchange));
  root.append(
    element("button", {
      type: "button",
      text: "Reset",
      onclick: () => {
        sliders.forEach((each) => each.reset());
        onchange();
      },
    }),
  );
  return { read: () => Object.fromEntries(sliders.map((each) => [each.name, each.read()])) };
}
