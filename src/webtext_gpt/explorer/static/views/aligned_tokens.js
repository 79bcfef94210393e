// The tokens of a sentence and of its translation; choosing one of these marks those it attends to.
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { element } from "../dom.js";
import { roving } from "../dom.js";
import { percent } from "../numbers.js";
import { tokenNode } from "../tokens.js";
import { visible } from "../tokens.js";
import { legend } from "./legend.js";

const NAMED = 3;

/**
 * Fills `container`; pointing at a target token, or moving to it by keyboard, chooses it.
 * @returns {{draw: (state: object) => void}} draw takes {source, target: tokens, weights: (target,
 *   source) row after row, chosen: index of a target token, layer, head: null for the mean}
 */
export function alignedTokens(container, onChoose) {
  const result = element("p", { "aria-live": "polite" });
  const source = element("ol", { class: "chips", "aria-labelledby": "source-tokens" });
  const target = element("div", {
    class: "chips",
    role: "group",
    "aria-labelledby": "target-tokens",
  });
  const heading = (id, text) => element("h3", { id, text });
  container.append(
    heading("source-tokens", "Sentence, with the chosen token's weights"),
    source,
    heading("target-tokens", "Translation, with probabilities: point at a token"),
    target,
    result,
    legend("Weight: 0 %", "100 %, by square root"),
  );
  const buttons = () => [...target.children];
  const stop = roving(target, buttons);
  let drawn = null;

  return {
    draw({ source: read, target: written, weights, chosen, layer, head }) {
      const row = weights.subarray(chosen * read.length, (chosen + 1) * read.length);
      source.replaceChildren(...read.map((token, index) => sourceChip(token, row[index], row)));
      if (written !== drawn) {
        const focused = buttons().indexOf(document.activeElement);
        target.replaceChildren(
          ...written.map((token, index) => targetChip(token, () => onChoose(index))),
        );
        buttons()[Math.min(focused, written.length - 1)]?.focus();
      }
      drawn = written;
      buttons().forEach((button, index) => button.setAttribute("aria-pressed", index === chosen));
      stop(buttons()[chosen]);
      result.textContent = summary(read, written, row, chosen, layer, head);
    },
  };
}

function sourceChip(token, weight, row) {
  const isStrongest = weight === d3.max(row);
  const chip = element(
    "li",
    { class: `chip${isStrongest ? " strongest" : ""}` },
    tokenNode(token),
    element("span", { class: "chip-bits number", text: percent(weight) }),
  );
  chip.style.background = scale(Math.sqrt(weight));
  chip.style.color = onScale(Math.sqrt(weight));
  return chip;
}

function targetChip(token, choose) {
  return element(
    "button",
    { type: "button", class: "chip", onclick: choose, onfocus: choose, onpointerenter: choose },
    tokenNode(token),
    element("span", { class: "visually-hidden", text: " probability " }),
    element("span", { class: "chip-bits number", text: percent(token.probability) }),
  );
}

/** The chosen token's weights in a sentence. */
function summary(source, target, row, chosen, layer, head) {
  const strongest = d3
    .range(row.length)
    .sort((a, b) => row[b] - row[a])
    .slice(0, NAMED);
  const parts = strongest.map((index) => `“${visible(source[index])}” (${percent(row[index])})`);
  const who = head === null ? "the mean over heads" : `head ${head + 1}`;
  return (
    `“${visible(target[chosen])}”, token ${chosen + 1} of ${target.length}, in layer ` +
    `${layer + 1}, ${who}: most weight on ${parts.join(", ")}.`
  );
}
