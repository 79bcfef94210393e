// Piano roll: the notes of a piece, shaded by the attention that the chosen one pays to the others.
import { scale } from "../charts.js";
import { element } from "../dom.js";
import { pitchName } from "../music.js";
import { bits } from "../numbers.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { visible } from "../tokens.js";
import { composer } from "./composer.js";
import { followToken } from "./follow.js";
import { keepLast } from "./follow.js";
import { headChoice } from "./head_choice.js";
import { legend } from "./legend.js";
import { rollPicture } from "./roll_picture.js";

const LEAD =
  "The piece as a piano roll. Point at a note to choose the word that makes it, in a chorale that of " +
  "its sixteenth: the stronger the blue of another note, the more of its weight the chosen word " +
  "gives to it. The weights of a head sum to 100 %, over the notes and over the words that are none.";
const NAMED = 3;

export const ROLL_VIEW = {
  id: "roll",
  title: "Piano roll",
  needs: ["piece", "compose", "midi", "tokens", "attention"],
  mount,
};

function mount(root, context) {
  const { backend, session } = context;
  const page = build();
  const ask = {
    model: keepLast((args) => backend.model(args)), // a model to compare may have another shape
    piece: keepLast(async (args) => flattened(await backend.piece(args))),
    attention: keepLast((args) => backend.attention(args)), // of all positions: pointing asks nothing
  };
  const choice = headChoice(page.controls, () => refresh(), (n) => ({ layer: n - 1, head: null }));
  const colour = element("select", { onchange: () => refresh() });
  page.controls.append(element("label", { class: "row" }, "Colour shows", colour));
  const roll = rollPicture(page.roll, ({ tokens }) => session.set({ position: tokens[0] }));
  page.roll.append(page.key, page.result);
  savePictures(page.roll, roll.svg, "piano-roll");
  const controls = composer(page.compose, context, roll.playing);

  async function draw({ tokens, position, input }) {
    const { config } = await ask.model({ checkpoint: input.checkpoint });
    choice.offer(config.n_layer, config.n_head);
    const piece = await ask.piece(input);
    controls.take(piece.notes);
    page.roll.hidden = piece.notes.length === 0;
    page.empty.hidden = !page.roll.hidden;
    if (page.roll.hidden) return;
    offerColours(colour, piece.voices.length > 0);
    const { layer, head } = choice.get();
    const { weights } = await ask.attention({ ...input, layer, head });
    const start = (position * (position + 1)) / 2;
    const row = weights.subarray(start, start + position + 1);
    const chosen = piece.parts.find((part) => part.tokens.includes(position)) ?? null;
    const painted = painting(colour.value, { piece, row, tokens });
    roll.draw({ ...piece, chosen, ...painted });
    page.key.replaceChildren(...voiceKey(piece), ...painted.key);
    page.result.textContent = summary({ piece, row, tokens, position, chosen, layer, head });
  }

  const { update, refresh } = followToken(root, context, { lead: LEAD, body: page.body, draw });
  return { update };
}

/** The view's parts, empty. */
function build() {
  const controls = element("div", { class: "row" });
  const card = (label, ...children) =>
    element("section", { class: "card", "aria-label": label }, ...children);
  const empty = element("p", { class: "muted", text: "There is no note yet: compose a piece." });
  const key = element("div", {});
  const result = element("p", { "aria-live": "polite" });
  const roll = element("div", {});
  const compose = card("Compose");
  const body = element("div", {}, card("Piano roll", controls, empty, roll), compose);
  return { controls, empty, key, result, roll, compose, body };
}

/** A piece with the `parts` of all its notes, each with its note's voice and pitch. */
function flattened({ voices, beat, notes }) {
  const parts = notes.flatMap((note) =>
    note.parts.map((part) => ({ ...part, note, voice: note.voice, pitch: note.pitch })),
  );
  return { voices, beat, notes, parts };
}

function offerColours(select, hasVoices) {
  const last = hasVoices ? "voices" : "loudness";
  if (select.options.length > 0 && select.options[2].value === last) return;
  const options = { attention: "attention", surprise: "surprise", [last]: last };
  select.replaceChildren(
    ...Object.entries(options).map(([value, text]) => element("option", { value, text })),
  );
}

/** What `rollPicture` needs for a choice of colours, and the `key` that explains them. */
function painting(kind, { piece, row, tokens }) {
  if (kind === "voices") {
    const paint = ({ voice }) => `var(--voice-${voice})`;
    return { paint, isLater: () => false, key: [] };
  }
  if (kind === "loudness") {
    const paint = ({ note }) => scale(note.velocity / 128);
    const key = [legend("Loudness: 0", "127 (velocity)")];
    return { paint, isLater: () => false, key };
  }
  const surpriseOf = (part) => tokens[part.tokens[0]]?.surprise ?? 0;
  const value = kind === "attention" ? (part) => weightOf(part, row) : surpriseOf;
  const most = d3.max(piece.parts, value) || 1;
  // The square root: most are small, and would all look like nothing.
  const paint = (part) => (isRead(part, kind, row) ? scale(Math.sqrt(value(part) / most)) : "none");
  const isLater = ({ parts }) => parts.every((part) => !isRead(part, kind, row));
  const key =
    kind === "attention"
      ? legend(`Weight: 0\u00a0%`, `${percent(most)}, by square root`)
      : legend(`Surprise: 0\u00a0bits`, `${bits(most)}, by square root`);
  return { paint, isLater, key: [key] };
}

/** Whether a part has a value: in the context, and for attention not after the chosen word. */
function isRead({ tokens }, kind, row) {
  return tokens.length > 0 && (kind !== "attention" || tokens[0] < row.length);
}

function weightOf({ tokens }, row) {
  return d3.sum(tokens, (token) => row[token] ?? 0);
}

/** The voices' colours with their names. */
function voiceKey({ voices }) {
  if (voices.length === 0) return [];
  const names = voices.map((name, voice) => {
    const square = element("span", { class: "square", "aria-hidden": "true" });
    square.style.background = `var(--voice-${voice})`;
    return element("span", {}, square, ` ${name} `);
  });
  return [element("p", { class: "legend muted small" }, "Outlines: ", ...names)];
}

/** The chosen word and the notes that it attends to, in sentences. */
function summary({ piece, row, tokens, position, chosen, layer, head }) {
  const name = ({ voice, pitch }) => `${piece.voices[voice] ?? ""} ${pitchName(pitch)}`.trim();
  const at = (seconds) =>
    piece.beat === null
      ? `at ${seconds.toFixed(2)}\u00a0s`
      : `at beat ${Math.round(100 * (1 + seconds / piece.beat)) / 100}`;
  const weights = piece.notes
    .map((note) => ({ note, weight: d3.sum(note.parts, (part) => weightOf(part, row)) }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight);
  const most = weights.slice(0, NAMED).map(({ note, weight }) => {
    const isOwn = note === chosen?.note ? "itself, " : "";
    return `${isOwn}${name(note)} ${at(note.start)} (${percent(weight)})`;
  });
  const others = Math.max(0, 1 - d3.sum(weights, ({ weight }) => weight));
  const { surprise } = tokens[position];
  const word = [
    `Word “${visible(tokens[position])}”`,
    chosen ? `${name(chosen)} ${at(chosen.start)}` : "which is no note",
    `token ${position + 1} of ${tokens.length}`,
    surprise === null ? "the first" : `surprise ${bits(surprise)}`,
  ];
  const who = head === null ? "the mean over heads" : `head ${head + 1}`;
  const looks = most.length > 0 ? ` looks most at ${most.join(", ")}; it` : "";
  return (
    `${word.join(", ")}. In layer ${layer + 1}, ${who}${looks} gives ${percent(others)} ` +
    "to words that are no notes."
  );
}
