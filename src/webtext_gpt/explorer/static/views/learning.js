// Learning: the same text read by two checkpoints of a run, and the run's loss curve.
import { element } from "../dom.js";
import { bits } from "../numbers.js";
import { percent } from "../numbers.js";
import { debounce } from "../timing.js";
import { serial } from "../timing.js";
import { visible } from "../tokens.js";
import { bothSides } from "./both_sides.js";
import { hasLearned } from "./both_sides.js";
import { checkpointSliders } from "./checkpoint_sliders.js";
import { followCurve } from "./follow_curve.js";
import { labelSides } from "./label_sides.js";
import { nextSides } from "./next_sides.js";
import { pairedSection } from "./paired_chips.js";

const N = 10;
const LEAD = "Two checkpoints read the same text; move the sliders to see what the model learned "
  + "between them. Blue is the left one, orange the right one, which the other views show too.";

export const LEARNING_VIEW = { id: "learning", title: "Learning", needs: ["tokens"], isFor: hasLearned, mount };

function mount(root, { backend, model, session }) {
  const error = element("p", { class: "failure", role: "alert" });
  const status = element("p", { class: "visually-hidden", role: "status" });
  const sliderBox = element("div", { class: "card" });
  const next = nextSides();
  const labels = labelSides();
  const surprise = pairedSection("Surprise of each token", "in bits, left and right", bits,
    "surprise");
  const attention = pairedSection("One head's row",
    "how much the chosen token looks at each token before it, left and right", percent,
    "one-head");
  const heads = headChoice(model, () => again());
  const sums = element("p", {});
  const row = element("p", { class: "small" });
  attention.head.append(heads.box, row);

  const refresh = serial(async () => {
    const ids = sliders.chosen();
    const asked = (name, args) => bothSides(ids, (checkpoint) =>
      backend[name]({ text: session.text, checkpoint, ...args }));
    if (model.views.includes("next")) {
      const { left, right } = await asked("next", { n: N });
      next.show([["left", sliders.label("left"), left.tokens],
        ["right", sliders.label("right"), right.tokens]]);
    }
    if (model.views.includes("classify")) {
      const pair = model.takes_pairs ? { second: session.second } : {};
      const { left, right } = await asked("classify", pair);
      labels.show([["left", sliders.label("left"), left.classes],
        ["right", sliders.label("right"), right.classes]]);
    }
    const read = await asked("tokens", {});
    sums.textContent = summed(read, sliders);
    const isAlike = sameTokens(read);
    surprise.box.hidden = !isAlike || !model.views.includes("next");
    attention.box.hidden = !isAlike || read.left.tokens.length === 0;
    if (!surprise.box.hidden) {
      const of = (side) => read[side].tokens.map((token) => token.surprise);
      surprise.show(read.left.tokens, of("left"), of("right"), Math.log2(model.config.vocab_size));
    }
    if (!attention.box.hidden) await showRow(read.left.tokens, asked);
    status.textContent = `${sliders.label("left")} beside ${sliders.label("right")}`;
    curve.mark(sliders.steps());
  });
  const showRow = async (tokens, asked) => {
    const last = tokens.length - 1;
    const position = Math.min(session.position ?? last, last);
    const rows = await asked("head", { ...heads.chosen(), position });
    const masked = tokens.slice(position + 1).map(() => null);
    const all = (side) => [...rows[side].weights, ...masked];
    attention.show(tokens, all("left"), all("right"), 1, position);
    row.textContent = `Row of “${visible(tokens[position])}”, token ${position + 1} of ${last + 1}, `
      + "which looks at itself and the tokens before it; press another token for its row.";
  };
  const show = (problem) => (error.textContent = problem?.message ?? "");
  const again = debounce(() => refresh().then(() => show(), show), 80);
  const sliders = checkpointSliders(sliderBox, model, session, again);
  const curve = followCurve(root, { backend, model, changed: async () =>
    session.offer(await backend.model()) });
  for (const section of [surprise, attention]) {
    section.onChoose((position) => session.set({ position }));
  }
  session.subscribe((changed) => {
    if (changed.has("position") && !root.hidden) again();
  });

  root.append(element("p", { class: "lead", text: LEAD }), sliderBox, error, status, sums);
  if (model.views.includes("curve")) root.append(curve.box);
  if (model.views.includes("next")) root.append(next.box);
  if (model.views.includes("classify")) root.append(labels.box);
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

function sameTokens({ left, right }) {
  return left.tokens.map(({ id }) => id).join() === right.tokens.map(({ id }) => id).join();
}

/** What each checkpoint makes of the whole text, and why there is no more if they cut it apart. */
function summed(read, sliders) {
  const parts = ["left", "right"].filter((side) => read[side].bits_per_byte !== null).map((side) =>
    `${sliders.label(side)}: ${bits(read[side].bits)} of surprise in all, ${
      read[side].bits_per_byte.toFixed(3)}\u00a0bits per byte`);
  if (!sameTokens(read)) {
    parts.push("the two cut the text into different tokens, which cannot be set side by side");
  }
  return parts.join(" · ");
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
