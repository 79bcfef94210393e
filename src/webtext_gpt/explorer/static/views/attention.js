// What each head looks at: all heads small, one head large, and how its numbers come about.
import { element } from "../dom.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { visible } from "../tokens.js";
import { followToken } from "./follow.js";
import { keepLast } from "./follow.js";
import { headChoice } from "./head_choice.js";
import { headGrid } from "./head_grid.js";
import { headMatrix } from "./head_matrix.js";
import { headSum } from "./head_sum.js";
import { tokenText } from "./token_text.js";

const LEAD =
  "In every head of every layer, a token takes from itself and from the tokens before it by weights " +
  "that sum to 100 %. Choose a token in the text and a head in the grid: the thicker a line, the " +
  "larger the weight.";

export const ATTENTION_VIEW = {
  id: "attention",
  title: "Attention",
  needs: ["tokens", "attention", "heads", "head"],
  mount,
};

function mount(root, context) {
  const { backend, session } = context;
  const ask = {
    model: keepLast((args) => backend.model(args)), // a model to compare may have another shape
    heads: keepLast((args) => backend.heads(args)),
    attention: keepLast((args) => backend.attention(args)), // one head's triangle, never all
    head: keepLast((args) => backend.head(args)),
  };
  const page = build();
  const choosePosition = (position) => session.set({ position });
  const choice = headChoice(page.controls, () => refresh());
  const text = tokenText(page.text, {
    label: "The text: choose a token",
    onChoose: choosePosition,
  });
  const grid = headGrid(page.grid, choice.set);
  const matrix = headMatrix(page.matrix, choosePosition);
  const sum = headSum(page.sum);
  savePictures(page.text, text.svg, "attention");
  savePictures(page.grid, grid.svg, "heads");
  savePictures(page.matrix, matrix.svg, "head");

  let drawn = null;
  async function draw({ tokens, position, input }) {
    const { config } = await ask.model({ checkpoint: input.checkpoint });
    const { n_layer, n_head } = config;
    choice.offer(n_layer, n_head);
    const { layer, head } = choice.get();
    if (tokens !== drawn) text.draw({ tokens, chosen: position, weights: null });
    drawn = tokens;
    const { size, weights } = await ask.attention({ ...input, layer, head });
    const start = (position * (position + 1)) / 2;
    const row = weights.subarray(start, start + position + 1);
    text.draw({ tokens, chosen: position, weights: row });
    page.result.textContent = summary(row, tokens, position, layer, head);
    matrix.draw({ size, weights, tokens, chosen: position });
    if (head === null) sum.clear("A mean over heads has no query of its own: choose one head.");
    else sum.draw(await ask.head({ ...input, layer, head, position }), tokens, position, config);
    const rows = await ask.heads({ ...input, position });
    grid.draw({ rows, n_layer, n_head, length: position + 1, tokens, chosen: { layer, head } });
  }

  const { update, refresh } = followToken(root, context, { lead: LEAD, body: page.body, draw });
  return { update };
}

/** The view's parts, empty. */
function build() {
  const controls = element("div", { class: "row" });
  const result = element("p", { "aria-live": "polite" });
  const text = element(
    "section",
    { class: "card", "aria-label": "Lines from the chosen token" },
    controls,
    result,
  );
  const grid = titled("Every head, for the chosen token");
  const matrix = titled("The chosen head, for every token");
  const sum = titled("How this number comes about");
  const body = element("div", {}, text, element("div", { class: "pair" }, grid, matrix), sum);
  return { controls, result, text, grid, matrix, sum, body };
}

function titled(title) {
  return element("section", { class: "card", "aria-label": title }, element("h2", { text: title }));
}

/** The row of weights in a sentence. */
function summary(row, tokens, position, layer, head) {
  const strongest = d3
    .range(row.length)
    .sort((a, b) => row[b] - row[a])
    .slice(0, 3);
  const parts = strongest.map((index) => `“${visible(tokens[index])}” (${percent(row[index])})`);
  const who = head === null ? "the mean over heads" : `head ${head + 1}`;
  return (
    `In layer ${layer + 1}, ${who}, token ${position + 1} “${visible(tokens[position])}” ` +
    `looks most at ${parts.join(", ")}.`
  );
}
