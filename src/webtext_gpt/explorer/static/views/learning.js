// Learning: the same text read by two checkpoints of a run, and the run's loss curve.
import { bars } from "../charts.js";
import { element } from "../dom.js";
import { bits } from "../numbers.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { debounce } from "../timing.js";
import { serial } from "../timing.js";
import { visible } from "../tokens.js";
import { checkpointSliders } from "./checkpoint_sliders.js";
import { followCurve } from "./follow_curve.js";
import { pairedSection } from "./paired_chips.js";

const N = 10;
const LEAD = "Two checkpoints read the same text; move the sliders to see what the model learned "
  + "between them. Blue is the left one, orange the right one, which the other views show too.";
const COLOURS = { left: "--accent", right: "--chosen" };

export const LEARNING_VIEW = { id: "learning", title: "Learning", needs: [], isFor, mount };

/** One checkpoint without a curve has nothing to compare. */
function isFor(model) { return model.checkpoints.length > 1 || model.views.includes("curve"); }

function mount(root, { backend, model, session }) {
  const error = element("p", { class: "failure", role: "alert" });
  const status = element("p", { class: "visually-hidden", role: "status" });
  const sliderBox = element("div", { class: "card" });
  const nextBox = element("div", { class: "sides" });
  const surprise = pairedSection("Surprise of each token", "in bits, left and right", bits,
    "surprise");
  const attention = pairedSection("One head's row",
    "how much the chosen token looks at each token before it, left and right", percent,
    "one-head");
  const heads = headChoice(model, () => again());
  attention.box.insertBefore(heads.box, attention.box.children[1]);
  let next = { left: [], right: [] };

  const refresh = serial(async () => {
    const ids = sliders.chosen();
    const asked = (name, args) => bothSides(ids, (checkpoint) =>
      backend[name]({ text: session.text, checkpoint, ...args }));
    if (model.views.includes("next")) {
      next = await asked("next", { n: N });
      nextBox.replaceChildren(...["left", "right"].map((side) =>
        nextSide(side, sliders.label(side), next[side].tokens)));
    }
    const tokens = await tokensOf(model, asked);
    const hasSurprise = model.views.includes("tokens");
    surprise.box.hidden = !hasSurprise;
    if (hasSurprise) {
      const of = (side) => tokens[side].map((token) => token.surprise);
      const most = Math.log2(model.config.vocab_size);
      surprise.show(tokens.left, of("left"), of("right"), most, summed(tokens, sliders));
    }
    const last = tokens.left.length - 1;
    attention.box.hidden = !model.views.includes("head") || last < 0;
    if (!attention.box.hidden) {
      const position = Math.min(session.position ?? last, last);
      const rows = await asked("head", { ...heads.chosen(), position });
      const masked = tokens.left.slice(position + 1).map(() => null);
      attention.show(tokens.left, [...rows.left.weights, ...masked],
        [...rows.right.weights, ...masked], 1,
        `Row of “${visible(tokens.left[position])}”, token ${position + 1} of ${last + 1}, which `
        + "looks at itself and the tokens before it; press another token for its row.", position);
    }
    status.textContent = `${sliders.label("left")} beside ${sliders.label("right")}`;
    curve.mark(sliders.steps());
  });
  const show = (problem) => (error.textContent = problem?.message ?? "");
  const again = debounce(() => refresh().then(() => show(), show), 80);
  const sliders = checkpointSliders(sliderBox, model, session, again);
  const curve = followCurve(root, { backend, model, changed: async () => {
    const { checkpoints } = await backend.model();
    sliders.offer(checkpoints);
  } });
  for (const section of [surprise, attention]) {
    section.onChoose((position) => session.set({ position }));
  }
  session.subscribe((changed) => {
    if (changed.has("position") && !root.hidden) again();
  });

  root.append(element("p", { class: "lead", text: LEAD }), sliderBox, error, status);
  if (model.views.includes("curve")) root.append(curve.box);
  if (model.views.includes("next")) root.append(nextCard(nextBox, () => nextPicture(next, sliders)));
  root.append(surprise.box, attention.box);
  return {
    async update() {
      sliders.show();
      await curve.update();
      await refresh();
      show();
    },
  };
}

/** Answers of both checkpoints; the server keeps two of them loaded. */
async function bothSides({ left, right }, ask) {
  const one = await ask(left);
  return { left: one, right: left === right ? one : await ask(right) };
}

async function tokensOf(model, asked) {
  const answers = await asked(model.views.includes("tokens") ? "tokens" : "classify", {});
  return { left: answers.left.tokens, right: answers.right.tokens };
}

function summed(tokens, sliders) {
  const total = (side) => d3.sum(tokens[side], (token) => token.surprise ?? 0);
  return ["left", "right"]
    .map((side) => `${sliders.label(side)}: ${bits(total(side))} in all`).join(" · ");
}

function nextCard(sides, draw) {
  const card = element("div", { class: "card" },
    element("h2", { text: "Next words" }), element("p", { class: "muted small",
      text: "The likeliest next tokens and their probabilities; bars end at 100\u00a0%." }), sides);
  savePictures(card, draw, "learning-next-words");
  return card;
}

function nextSide(side, label, tokens) {
  const list = element("ol", { class: "compared", "aria-label": `Next tokens, ${label}` },
    ...tokens.map((token) => {
      const bar = element("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${100 * token.probability}%`;
      bar.style.background = `var(${COLOURS[side]})`;
      return element("li", {}, element("span", { class: "token", text: visible(token) }),
        element("span", { class: "track" }, bar),
        element("span", { class: "number", text: percent(token.probability) }));
    }));
  return element("section", { class: side }, element("h3", { text: label }), list);
}

function nextPicture(next, sliders) {
  const sides = ["left", "right"];
  const svg = d3.create("svg").attr("width", 900).attr("height", 32 + 28 * N)
    .attr("viewBox", `0 0 900 ${32 + 28 * N}`);
  sides.forEach((side, index) => {
    const rows = next[side].tokens.map((token) => ({
      label: visible(token), share: token.probability, isChosen: side === "right",
    }));
    const part = svg.append("g").attr("transform", `translate(${index * 460}, 0)`);
    part.append("text").attr("y", 16).text(sliders.label(side));
    const drawn = bars(rows, { label: sliders.label(side), width: 430, labelWidth: 130 });
    drawn.setAttribute("y", 28);
    part.append(() => drawn);
  });
  return svg.node();
}

/** Lists of layers and heads, numbered from 1 as people see them. */
function headChoice(model, changed) {
  const { n_layer, n_head } = model.config;
  const list = (id, text, n) => {
    const select = element("select", { id, onchange: changed },
      ...d3.range(n).map((each) => element("option", { value: each, text: each + 1 })));
    return [element("label", { for: id, text }), select];
  };
  const [layerLabel, layer] = list("learning-layer", "Layer", n_layer);
  const [headLabel, head] = list("learning-head", "Head", n_head);
  return {
    box: element("div", { class: "row" }, layerLabel, layer, headLabel, head),
    chosen: () => ({ layer: Number(layer.value), head: Number(head.value) }),
  };
}
