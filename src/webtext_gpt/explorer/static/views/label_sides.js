// A classifier's labels as two checkpoints answer, beside each other.
import { element } from "../dom.js";
import { savePictures } from "../picture.js";
import { drawing } from "../charts.js";
import { classBars } from "./classifier.js";

const WIDTH = 440;
const GAP = 20;

/** A card; `show` takes `[side, label, classes]` of the left and the right checkpoint. */
export function labelSides() {
  const place = element("div", { class: "sides" });
  const box = element("div", { class: "card" }, element("h2", { text: "Labels" }), place);
  let shown = [];
  savePictures(box, () => picture(shown), "learning-labels");
  return {
    box,
    show(sides) {
      shown = sides;
      place.replaceChildren(...sides.map(([side, label, classes]) =>
        element("section", { class: side }, element("h3", { text: label }),
          classBars(classes, sideWidth(place), side === "right"))));
    },
  };
}

/** Width of a column: half of the card, or all of it on narrow pages. */
function sideWidth(place) {
  const columns = getComputedStyle(place).gridTemplateColumns.split(" ").length;
  return Math.max(260, Math.min(WIDTH, (place.clientWidth || 640) / columns - GAP));
}

function picture(sides) {
  const svg = drawing(2 * WIDTH + GAP, 28 + 28 * sides[0][2].length, "Labels of two checkpoints");
  sides.forEach(([side, label, classes], index) => {
    const drawn = classBars(classes, WIDTH, side === "right");
    drawn.setAttribute("y", 28);
    const part = svg.append("g").attr("transform", `translate(${index * (WIDTH + GAP)}, 0)`);
    part.append("text").attr("y", 16).text(label);
    part.append(() => drawn);
  });
  return svg.node();
}
