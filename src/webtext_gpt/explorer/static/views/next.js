// Next words: the likeliest next tokens, chosen by a press, and what else could have been.
import { bars } from "../charts.js";
import { scaleEnd } from "../charts.js";
import { element } from "../dom.js";
import { count } from "../numbers.js";
import { counted } from "../numbers.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { debounce } from "../timing.js";
import { serial } from "../timing.js";
import { appended } from "../tokens.js";
import { spoken } from "../tokens.js";
import { tokenNode } from "../tokens.js";
import { visible } from "../tokens.js";
import { choicePath } from "./path.js";
import { samplingSliders } from "./sampling.js";
import { treeSection } from "./tree_section.js";

const N = 10;

export const NEXT_VIEW = { id: "next", title: "Next words", needs: ["next"], mount };

function mount(root, { backend, model, session }) {
  const list = element("ol", { class: "next-bars", "aria-label": "Likeliest next tokens" });
  const rest = element("p", { class: "muted small" });
  const status = element("p", { class: "visually-hidden", role: "status" });
  const error = element("p", { class: "failure", role: "alert" });
  const saves = element("div");
  const pathBox = group("row", "Chosen tokens");
  const sliderBox = group("card", "Sampling");
  const path = choicePath(pathBox, session);
  let tokens = [];

  const refresh = serial(async () => {
    const answer = await backend.next({
      text: session.text,
      checkpoint: session.checkpoint,
      n: N,
      ...sliders.read(),
    });
    tokens = answer.tokens;
    const hadFocus = list.contains(document.activeElement);
    const end = scaleEnd(tokens[0].probability);
    list.replaceChildren(...tokens.map((token) => row(token, end, session.text, path.choose)));
    if (hadFocus) list.querySelector("button:not(:disabled)")?.focus();
    rest.textContent = `A full bar is ${Math.round(100 * end)}\u00a0%. ${summary(answer, model)}`;
    status.textContent = `Likeliest next: ${spoken(tokens[0])}, ${percent(tokens[0].probability)}`;
    showWorked(tokens[0]);
  });
  const show = (problem) => (error.textContent = problem?.message ?? "");
  const again = debounce(() => refresh().then(() => show(), show), 60);
  const sliders = samplingSliders(sliderBox, again);

  root.append(
    element("p", {
      class: "lead",
      text:
        "The model has read the text and gives each of its " +
        `${count(model.config.vocab_size)} tokens a probability of coming next; these are the ${N} ` +
        "likeliest. Press one to append it, and the model reads on.",
    }),
    pathBox,
    element(
      "div",
      { class: "columns" },
      element("div", { class: "card" }, list, rest, error, status, saves),
      sliderBox,
    ),
  );
  savePictures(saves, () => barsPicture(tokens), "next-words");
  const tree = model.views.includes("tree")
    ? treeSection(root, { backend, model, session }, path.choose)
    : { update: () => {} };
  return {
    async update() {
      await refresh();
      await tree.update();
    },
  };
}

function row(token, end, text, choose) {
  const isCut = token.probability === 0;
  const isPart = appended(text, [token]) === null;
  const bar = element("span", { class: "bar", "aria-hidden": "true" });
  bar.style.width = `${(100 * token.probability) / end}%`;
  const note = isPart
    ? ", part of a character, which cannot be appended alone"
    : isCut
      ? ", cut off"
      : "";
  const button = element(
    "button",
    {
      type: "button",
      class: isCut ? "cut" : null,
      disabled: isPart || isCut,
      title: `id ${token.id}${note}`,
      onclick: () => choose([token]),
    },
    tokenNode(token),
    element("span", { class: "track" }, bar),
    element("span", { class: "number", text: isCut ? "cut off" : percent(token.probability) }),
  );
  return element("li", {}, button);
}

function summary({ tokens, n_tokens, n_cut }, model) {
  const others = Math.max(0, 1 - tokens.reduce((sum, token) => sum + token.probability, 0));
  const left = counted(model.config.vocab_size - tokens.length, "token");
  const cut =
    n_cut === 0
      ? ""
      : ` The context holds no more: ${counted(n_cut, "token")} at the beginning left out.`;
  return `${counted(n_tokens, "token")} read. The other ${left} share ${percent(others)}.${cut}`;
}

function group(name, label) {
  return element("div", { class: name, role: "group", "aria-label": label });
}

function barsPicture(tokens) {
  const end = scaleEnd(tokens[0].probability);
  const rows = tokens.map((token) => ({
    label: visible(token),
    share: token.probability / end,
    value: percent(token.probability),
    isCut: token.probability === 0,
  }));
  return bars(rows, { label: "Likeliest next tokens" });
}

/** Puts the numbers of the moment into the introduction's worked example. */
function showWorked(token) {
  const place = document.getElementById("worked"); // some kinds of model have another example
  place?.replaceChildren(
    "the likeliest next token is ",
    tokenNode(token),
    `, with ${percent(token.probability)}; press its bar to append it`,
  );
}
