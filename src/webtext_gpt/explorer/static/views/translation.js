// Translation: a sentence, its translation, and which source tokens each target token attends to.
import { element } from "../dom.js";
import { savePictures } from "../picture.js";
import { debounce } from "../timing.js";
import { serial } from "../timing.js";
import { alignedTokens } from "./aligned_tokens.js";
import { alignmentMatrix } from "./alignment_matrix.js";
import { keepLast } from "./follow.js";
import { headChoice } from "./head_choice.js";
import { slider } from "./slider.js";

const LEAD =
  "The encoder reads the sentence; the decoder writes its translation token by token and, in " +
  "every head of every layer, attends to the sentence by weights that sum to 100 %. A token's " +
  "probability is the model's, given the sentence and the translation before it.";

const SLIDERS = [
  {
    id: "num-beams",
    name: "num_beams",
    title: "Beams",
    min: 1,
    max: 20,
    step: 1,
    start: 5,
    read: (input) => Number(input.value),
    say: (value) => (value === 1 ? "1 (greedy)" : String(value)),
    hint: "translations that the search keeps at each step",
  },
  {
    id: "length-penalty",
    name: "length_penalty",
    title: "Length penalty",
    min: 0,
    max: 2,
    step: 0.1,
    start: 0.6,
    read: (input) => Number(input.value),
    say: (value) => (value === 0 ? "0 (none)" : String(value)),
    hint: "the larger, the longer the translations that the search prefers",
  },
];

export const TRANSLATION_VIEW = {
  id: "translation",
  title: "Translation",
  needs: ["translate", "alignment"],
  mount,
};

function mount(root, { backend, session }) {
  const page = build();
  const ask = {
    model: keepLast((args) => backend.model(args)), // a model to compare may have another shape
    translate: keepLast((args) => backend.translate(args)),
    alignment: keepLast((args) => backend.alignment(args)),
  };
  let typed = null; // the reader's own translation; null: what beam search finds
  let chosen = 0;
  let shown = null;
  const choice = headChoice(page.heads, () => again(), (n) => ({ layer: n - 1, head: null }));
  const tokens = alignedTokens(page.tokens, (index) => choose(index));
  const matrix = alignmentMatrix(page.matrix, (index) => choose(index));
  savePictures(page.matrix, matrix.svg, "alignment");

  const refresh = serial(async () => {
    const { text, checkpoint } = session;
    const isEmpty = text.trim() === "";
    page.body.hidden = isEmpty;
    page.note.hidden = !isEmpty;
    if (isEmpty) return;
    const settings = Object.fromEntries(sliders.map((each) => [each.name, each.read()]));
    const answer = await ask.translate({ text, checkpoint, target: typed, ...settings });
    if (typed === null) page.field.value = answer.translation;
    page.search.disabled = typed === null;
    page.summary.textContent = summary(answer, settings, typed !== null);
    const { config } = await ask.model({ checkpoint });
    choice.offer(config.n_decoder_layer, config.n_head);
    const { layer, head } = choice.get();
    const target = answer.translation;
    const weights = await ask.alignment({ text, checkpoint, target, layer, head });
    chosen = Math.min(chosen, answer.target.length - 1);
    shown = { source: answer.source, target: answer.target, weights, layer, head };
    draw();
  });
  const draw = () => {
    tokens.draw({ ...shown, chosen });
    matrix.draw({ ...shown, chosen });
  };
  const choose = (index) => {
    if (index === chosen) return;
    chosen = index;
    draw();
  };
  const show = (problem) => (page.error.textContent = problem?.message ?? "");
  const again = debounce(() => refresh().then(() => show(), show), 150);
  const sliders = SLIDERS.map((settings) => slider(page.sliders, settings, again));
  page.field.addEventListener("input", () => {
    typed = page.field.value;
    again();
  });
  page.search.addEventListener("click", () => {
    typed = null;
    again();
  });

  root.append(element("p", { class: "lead", text: LEAD }), page.error, page.note, page.body);
  return {
    async update() {
      await refresh();
      show();
    },
  };
}

/** The view's parts, empty. */
function build() {
  const field = element("textarea", {
    id: "target",
    rows: 3,
    spellcheck: "false",
    autocomplete: "off",
    placeholder: "Nothing: the translation ends at once",
  });
  const search = element("button", { type: "button", text: "Translate by beam search" });
  const summary = element("p", { class: "small", role: "status" });
  const written = element(
    "div",
    { class: "card" },
    element("label", { for: "target", text: "Translation; type another for its probabilities" }),
    field,
    element("div", { class: "row" }, search),
    summary,
  );
  const sliders = element("div", { class: "card", role: "group", "aria-label": "Beam search" });
  const heads = element("div", { class: "row" });
  const tokens = titled("What each target token attends to", heads);
  const matrix = titled("All tokens");
  const body = element(
    "div",
    {},
    element("div", { class: "columns" }, written, sliders),
    tokens,
    matrix,
  );
  const error = element("p", { class: "failure", role: "alert" });
  const note = element("p", {
    class: "muted",
    hidden: true,
    text: "There is no sentence yet: type one above.",
  });
  return { field, search, summary, sliders, heads, tokens, matrix, body, error, note };
}

function titled(title, ...children) {
  return element(
    "section",
    { class: "card", "aria-label": title },
    element("h2", { text: title }),
    ...children,
  );
}

function summary({ log_probability, score }, { num_beams, length_penalty }, isTyped) {
  const who = isTyped
    ? "Typed by you"
    : num_beams === 1
      ? "Found by greedy search"
      : `Found by beam search with ${num_beams} beams`;
  const said = (number) => number.toFixed(2).replace("-", "\u2212");
  return (
    `${who}. Its log-probability is ${said(log_probability)}\u00a0nats. With the length penalty ` +
    `${length_penalty} its score is ${said(score)}, by which the search compares translations.`
  );
}
