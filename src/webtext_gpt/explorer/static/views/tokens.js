// Tokens: how the text is cut, and how much each token surprised the model.
import { N_STEPS } from "../charts.js";
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { element } from "../dom.js";
import { roving } from "../dom.js";
import { bits } from "../numbers.js";
import { counted } from "../numbers.js";
import { hexadecimal } from "../numbers.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { tokenNode } from "../tokens.js";
import { chipsDrawing } from "./chips.js";

const LEAD = "The text as the model reads it, cut into tokens; the stronger a token's blue, the "
  + "more it surprised the model. Surprise is −log₂ of the probability that the model gave the "
  + "token after those before it, in bits.";
const HINT = "Point at a token, or move to it with the arrow keys, for its id and bytes.";

export const TOKENS_VIEW = { id: "tokens", title: "Tokens", needs: ["tokens"], mount };

function mount(root, { backend, model, session }) {
  // A guess among all tokens alike has this surprise: the end of the scale.
  const most = Math.log2(model.config.vocab_size);
  const summary = element("p", { role: "status" });
  const chips = element("div", { class: "chips", role: "group", "aria-label": "Tokens" });
  const detail = element("p", { class: "detail" });
  const table = element("div", {
    class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of tokens",
  });
  const details = element("details", { class: "card" },
    element("summary", { text: "The same as a table, with ids and bytes" }), table);
  const card = element("div", { class: "card" }, summary, legend(most), chips, detail);
  let tokens = [];

  const stop = roving(chips, () => [...chips.querySelectorAll("button")]);
  const mark = (index) => [...chips.querySelectorAll("button")].forEach((chip, each) =>
    chip.setAttribute("aria-pressed", each === index));
  const choose = (index) => session.set({ position: index });
  session.subscribe((changed) => {
    if (changed.has("position")) mark(session.position);
  });
  const fillTable = () => {
    if (details.open) table.replaceChildren(tokenTable(tokens));
  };
  details.addEventListener("toggle", fillTable);
  root.append(
    element("p", { class: "lead", text: LEAD }), card, details);
  savePictures(card, () => chipsDrawing(tokens, most), "tokens");

  return {
    async update() {
      const answer = await backend.tokens({ text: session.text, checkpoint: session.checkpoint });
      tokens = answer.tokens;
      summary.textContent = summed(answer);
      const describe = (index) => (detail.textContent = described(tokens, index));
      chips.replaceChildren(...tokens.flatMap((token, index) =>
        chip(token, index, most, choose, describe)));
      detail.textContent = tokens.length > 0 ? HINT : "";
      mark(session.position);
      if (tokens.length > 0) stop(chips.querySelector("button"));
      fillTable();
    },
  };
}

function summed({ tokens, bits: total, bytes, bits_per_byte, n_cut }) {
  if (tokens.length === 0) return "No tokens: the text is empty.";
  const length = tokens.reduce((sum, token) => sum + token.bytes.length, 0);
  const parts = [counted(tokens.length, "token"), counted(length, "byte")];
  if (bits_per_byte !== null) {
    parts.push(`${bits(total)} of surprise after the first token, which nothing precedes`,
      `${bits_per_byte.toFixed(3)}\u00a0bits per byte (of ${counted(bytes, "byte")})`);
  }
  if (n_cut > 0) {
    parts.push(`${counted(n_cut, "token")} at the beginning left out: the context holds no more`);
  }
  return parts.join(" · ");
}

function legend(most) {
  const steps = Array.from({ length: N_STEPS }, (_, index) => {
    const square = element("span", { class: "square" });
    square.style.background = scale((index + 0.5) / N_STEPS);
    return square;
  });
  return element("p", { class: "legend muted small" }, "Surprise in bits, as below each token: 0 ",
    element("span", { "aria-hidden": "true" }, ...steps), ` ${bits(most)} (a blind guess) or more`);
}

function chip(token, index, most, choose, describe) {
  const share = (token.surprise ?? 0) / most;
  const below = token.surprise === null ? ["first"]
    : [token.surprise.toFixed(1), element("span", { class: "visually-hidden", text: " bits" })];
  const button = element("button", {
    type: "button", class: "chip", onclick: () => choose(index),
    onfocus: () => describe(index), onpointerenter: () => describe(index),
  }, tokenNode(token), element("span", { class: "chip-bits number" }, ...below));
  button.style.background = scale(share);
  button.style.color = onScale(share);
  const ends = token.text.endsWith("\n") ? [element("span", { class: "break" })] : [];
  return [button, ...ends];
}

function described(tokens, index) {
  const token = tokens[index];
  const surprise = token.surprise === null ? "the first, so without a surprise"
    : `${bits(token.surprise)}, a probability of ${percent(2 ** -token.surprise)}`;
  return `Token ${index + 1} of ${tokens.length}: “${token.text}”, id ${token.id}, ${
    counted(token.bytes.length, "byte")} ${hexadecimal(token.bytes)}, ${surprise}.`;
}

function surprise(token) {
  if (token.surprise === null) return ["–", "–"];
  return [token.surprise.toFixed(2), percent(2 ** -token.surprise)];
}

function tokenTable(tokens) {
  const head = ["Position", "Token", "Id", "Bytes (hexadecimal)", "Surprise (bits)", "Probability"];
  const rows = tokens.map((token, index) => element("tr", {},
    element("td", { class: "number", text: index + 1 }),
    element("td", {}, tokenNode(token)),
    element("td", { class: "number", text: token.id }),
    element("td", { class: "mono", text: hexadecimal(token.bytes) }),
    ...surprise(token).map((text) => element("td", { class: "number", text }))));
  return element("table", {},
    element("caption", { text: "Tokens of the text" }),
    element("thead", {}, element("tr", {}, ...head.map((text, index) =>
      element("th", { scope: "col", class: [1, 3].includes(index) ? null : "number", text })))),
    element("tbody", {}, ...rows));
}
