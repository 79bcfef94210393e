// What the page says of its model before the views.
import { counted } from "./numbers.js";
import { recall } from "./storage.js";
import { remember } from "./storage.js";
import { visible } from "./tokens.js";

const find = (id) => document.getElementById(id);

const KINDS = {
  classifier: {
    purpose: "A classifier reads a text as tokens and gives each of its labels a probability.",
    example: "Type a text: the answer is below, with the tokens that decided it.",
    given: "A row that it got wrong in validation is filled in, with the tokens that decided it.",
    placeholder: "Nothing: below is the classifier's answer without a text",
  },
  music_model: {
    purpose:
      "A model of music reads a piece as words, and gives every word of its vocabulary a " +
      "probability of coming next.",
    example: "A short piece is filled in below: point at a note.",
    label: "Piece that the model reads, as words",
    placeholder: "Nothing: a new piece begins",
  },
  translation_model: {
    purpose: "A translation model reads a sentence and writes its translation, token by token.",
    example: "A worked example is below: point at a token of the translation.",
    label: "Sentence to translate",
    placeholder: "A sentence in the language that the model reads",
  },
};

/** Fills the header and the introduction, which is shown until the reader has closed it once. */
export function introduce(model) {
  document.title = `${model.name} · webtext-gpt explorer`;
  find("facts").textContent = facts(model).join(" · ");
  const { purpose, given, label, placeholder, ...kind } = KINDS[model.kind] ?? {};
  const example = (model.example && given) || kind.example;
  if (purpose) find("purpose").textContent = purpose;
  if (example) find("example").textContent = example;
  if (label) document.querySelector("label[for=text]").textContent = label;
  if (placeholder) find("text").placeholder = placeholder;
  find("added").textContent = added(model.added ?? {});
  find("added").hidden = find("added").textContent === "";
  const show = (shown) => {
    find("welcome").hidden = !shown;
    find("help").setAttribute("aria-expanded", shown);
  };
  find("help").addEventListener("click", () => show(find("welcome").hidden));
  find("understood").addEventListener("click", () => {
    remember("introduced", "yes");
    show(false);
    find("text").focus();
  });
  show(recall("introduced") === null);
}

/** Which tokens a classifier adds to what it reads; empty if none. */
function added({ start, delimiter, extract }) {
  const parts = [
    start && `${visible(start)} before the text`,
    delimiter && `${visible(delimiter)} between the two texts`,
    extract && `${visible(extract)} at the end, where its head reads the answer`,
  ].filter(Boolean);
  return parts.length === 0 ? "" : `The classifier adds tokens of its own: ${parts.join(", ")}.`;
}

function facts({ name, parameters, kind, config }) {
  const { n_head, n_embd, block_size, vocab_size } = config;
  const layers =
    kind === "translation_model"
      ? [
          counted(config.n_encoder_layer, "encoder layer"),
          counted(config.n_decoder_layer, "decoder layer"),
        ]
      : [counted(config.n_layer, "layer")];
  return [
    name, counted(parameters, "parameter"), ...layers, `${counted(n_head, "head")} each`,
    `width ${n_embd}`, `context of ${counted(block_size, "token")}`,
    `vocabulary of ${counted(vocab_size, "token")}`,
  ];
}
