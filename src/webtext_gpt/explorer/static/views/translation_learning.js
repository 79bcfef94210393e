// Learning of a translation model: the translations of two checkpoints, and the run's loss curve.
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { element } from "../dom.js";
import { percent } from "../numbers.js";
import { debounce } from "../timing.js";
import { serial } from "../timing.js";
import { tokenNode } from "../tokens.js";
import { bothSides } from "./both_sides.js";
import { hasLearned } from "./both_sides.js";
import { checkpointSliders } from "./checkpoint_sliders.js";
import { followCurve } from "./follow_curve.js";
import { legend } from "./legend.js";

const LEAD =
  "Two checkpoints translate the same sentence, each by beam search; move the sliders to see what " +
  "the model learned between them.";

export const TRANSLATION_LEARNING_VIEW = {
  id: "learning",
  title: "Learning",
  needs: ["translate"],
  isFor: hasLearned,
  mount,
};

function mount(root, { backend, model, session }) {
  const error = element("p", { class: "failure", role: "alert" });
  const sliderBox = element("div", { class: "card" });
  const sides = element("div", { class: "sides", "aria-live": "polite" });
  const translations = element(
    "div",
    { class: "card" },
    element("h2", { text: "Translations, with the probability of each token" }),
    legend("0 %", "100 %"),
    sides,
  );

  const refresh = serial(async () => {
    const { text } = session;
    translations.hidden = text.trim() === "";
    curve.mark(sliders.steps());
    if (translations.hidden) return;
    const found = await bothSides(sliders.chosen(), (checkpoint) =>
      backend.translate({ text, checkpoint }),
    );
    sides.replaceChildren(
      ...["left", "right"].map((side) => column(side, sliders.label(side), found[side])),
    );
  });
  const show = (problem) => (error.textContent = problem?.message ?? "");
  const again = debounce(() => refresh().then(() => show(), show), 80);
  const sliders = checkpointSliders(sliderBox, model, session, again);
  const curve = followCurve(root, {
    backend,
    model,
    changed: async () => session.offer(await backend.model()),
  });

  root.append(element("p", { class: "lead", text: LEAD }), sliderBox, error);
  if (model.views.includes("curve")) root.append(curve.box);
  root.append(translations);
  return {
    async update() {
      sliders.show();
      await curve.update();
      await refresh();
      show();
    },
  };
}

function column(side, label, { translation, target, log_probability }) {
  const total = log_probability.toFixed(2).replace("-", "\u2212");
  return element(
    "section",
    { class: side },
    element("h3", { text: label }),
    element("p", { class: "mono", text: translation }),
    element("ol", { class: "chips", "aria-label": `Tokens, ${label}` }, ...target.map(chip)),
    element("p", { class: "muted small", text: `log-probability ${total}\u00a0nats` }),
  );
}

function chip(token) {
  const node = element(
    "li",
    { class: "chip" },
    tokenNode(token),
    element("span", { class: "chip-bits number", text: percent(token.probability) }),
  );
  node.style.background = scale(token.probability);
  node.style.color = onScale(token.probability);
  return node;
}
