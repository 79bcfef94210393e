// One token's attention in one head, with its real numbers: scores, softmax, sum of values.
import { count } from "../numbers.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { visible } from "../tokens.js";
import { tablePicture } from "./table_picture.js";
import { vectorStrips } from "./vector_strip.js";

const number = d3.format(".3f");

/**
 * Show the calculation in `container`.
 * @returns {{draw: (head: object, tokens: object[], position: number, config: object) => void}}
 *   draw takes the answer of /api/head; null clears.
 */
export function headSum(container) {
  const root = d3.select(container).append("div").attr("class", "sum");
  let worked = () => {};
  const strips = vectorStrips(show);
  let component = 0;

  function show(next) {
    component = next;
    strips.show(component);
    worked(component);
  }

  function draw(head, tokens, position, config) {
    root.selectAll("*").remove();
    strips.clear();
    const width = head.query.length;
    component = Math.min(component, width - 1);
    const name = (index) => `“${visible(tokens[index])}”`;
    paragraph(
      "1. The query",
      `What ${name(position)} looks for: ${width} numbers${rotated(config)}. ` +
        "Point at a strip of bars, or press the arrow keys on it, to read its numbers one by one.",
    );
    strips.add(root.append("div").node(), `Query of ${name(position)}`, head.query);

    paragraph(
      "2. Scores and softmax",
      `Query times key, number by number, and summed; times ${number(head.scale)} = 1 / √${width}. ` +
        "Then e to the power of each score (less the largest, which changes no weight), divided by " +
        "the sum, so that all weights sum to 100 %. " +
        "Tokens that come later have no score: they are masked.",
    );
    const table = root.append("div").attr("class", "scroll").append("table");
    heading(table, [
      "token",
      "its key, k",
      "q · k",
      "score",
      "e^(score − largest)",
      "weight",
      "its value, v",
    ]);
    const body = table.append("tbody");
    const largest = d3.max(head.scores);
    const powers = head.scores.map((score) => Math.exp(score - largest));
    for (const { position: index, score, weight, key, value } of head.top) {
      const row = body.append("tr");
      row
        .append("th")
        .attr("scope", "row")
        .text(`${visible(tokens[index])} (${index + 1})`);
      strips.add(row.append("td").node(), `Key of ${name(index)}`, key);
      row
        .append("td")
        .attr("class", "number")
        .text(number(score / head.scale));
      row.append("td").attr("class", "number").text(number(score));
      row.append("td").attr("class", "number").text(number(powers[index]));
      row.append("td").attr("class", "number").text(percent(weight));
      strips.add(row.append("td").node(), `Value of ${name(index)}`, value);
    }
    const n_others = head.weights.length - head.top.length;
    const shown = head.top.map((top) => top.position);
    const others = (list) => d3.sum(list) - d3.sum(shown, (index) => list[index]);
    if (n_others) {
      total(
        body,
        n_others === 1 ? "1 other" : `${count(n_others)} others`,
        others(powers),
        others(head.weights),
      );
    }
    total(body, "sum", d3.sum(powers), d3.sum(head.weights));

    paragraph(
      "3. The sum of values",
      "Each value times its weight, summed, is what this head hands on to its output projection.",
    );
    strips.add(root.append("div").node(), "Output of the head", head.output);
    const line = root.append("p").attr("class", "worked").attr("aria-live", "polite");
    worked = (i) => line.text(workedSum(head, n_others, i));
    show(component);
    savePictures(root.node(), () => tablePicture(table.node(), "Scores and weights"), "scores");
  }

  function paragraph(title, text) {
    root.append("h3").text(title);
    root.append("p").text(text);
  }

  return { draw, clear: (text) => root.selectAll("*").remove() && root.append("p").text(text) };
}

function heading(table, names) {
  const row = table.append("thead").append("tr");
  row
    .selectAll("th")
    .data(names)
    .join("th")
    .attr("scope", "col")
    .text(String)
    .classed("number", (name) => !/token|its/.test(name));
}

/** A row of the table with sums: of the powers of e, and of the weights. */
function total(body, name, powers, weights) {
  const row = body.append("tr").attr("class", "total");
  row.append("th").attr("scope", "row").text(name);
  row.append("td").attr("colspan", 3);
  row.append("td").attr("class", "number").text(number(powers));
  row.append("td").attr("class", "number").text(percent(weights));
  row.append("td");
}

/** The sum for one component of the output, written out. */
function workedSum({ top, output }, n_others, i) {
  const parts = top.map(({ weight, value }) => `${number(weight)} × ${number(value[i])}`);
  const rest = output[i] - d3.sum(top, ({ weight, value }) => weight * value[i]);
  if (n_others) parts.push(`${number(rest)} (others)`);
  return `Component ${i + 1} of the output: ${parts.join(" + ")} = ${number(output[i])}`;
}

/** What this model does to queries and keys before they meet. */
function rotated({ positions, qk_norm }) {
  const done = [qk_norm && "normalized", positions === "rotary" && "rotated by its position"];
  const said = done.filter(Boolean).join(" and ");
  return said ? `, ${said} (as the keys are)` : "";
}
