// Classifier: the probabilities of the labels, and the tokens that decided.
import { bars } from "../charts.js";
import { element } from "../dom.js";
import { counted } from "../numbers.js";
import { percent } from "../numbers.js";
import { savePictures } from "../picture.js";
import { debounce } from "../timing.js";
import { serial } from "../timing.js";
import { attributionSection } from "./attribution_chips.js";

const LEAD = "The classifier reads the text, and its head turns the last token's state into a "
  + "logit for each label. Below, blue tokens speak for the chosen label and orange ones against "
  + "it.";

export const CLASSIFIER_VIEW = {
  id: "classifier", title: "Classifier", needs: ["classify", "attributions"], mount,
};

function mount(root, { backend, model, session }) {
  const second = secondField(session, () => again());
  const place = element("div", { class: "scroll" });
  const cut = element("p", { class: "muted small" });
  const status = element("p", { class: "visually-hidden", role: "status" });
  const error = element("p", { class: "failure", role: "alert" });
  const card = element("div", { class: "card" }, element("h2", { text: "Labels" }), place, cut,
    status);
  const decided = attributionSection(model.labels, () => explain());
  const asked = () => ({
    text: session.text, checkpoint: session.checkpoint,
    ...(model.takes_pairs ? { second: session.second } : {}),
  });
  savePictures(card, () => place.querySelector("svg"), "labels");

  const refresh = serial(async () => {
    const { classes, n_cut } = await backend.classify(asked());
    const width = Math.max(280, Math.min(640, place.clientWidth || 640));
    place.replaceChildren(classBars(classes, width));
    cut.textContent = n_cut === 0 ? ""
      : `The context holds no more: ${counted(n_cut, "token")} at the end left out.`;
    const best = classes.reduce((a, b) => (b.logit > a.logit ? b : a));
    status.textContent = best.probability === null ? `${best.label} ${best.logit.toFixed(3)}`
      : `Likeliest label: ${best.label}, ${percent(best.probability)}`;
  });
  const attribute = serial(async () => {
    decided.wait();
    decided.show(await backend.attributions({ ...asked(), label: decided.label() }));
  });
  const show = (problem) => (error.textContent = problem?.message ?? "");
  const explain = () => attribute().then(() => show(), (problem) => {
    decided.fail();
    show(problem);
  });
  const again = debounce(() => {
    refresh().then(() => show(), show);
    explain();
  }, 200);

  root.append(element("p", { class: "lead", text: LEAD }));
  if (model.takes_pairs) root.append(second.box);
  root.append(error, card, decided.box);
  return {
    async update() {
      await refresh();
      explain(); // its time grows with the text: not waited for
    },
  };
}

function secondField(session, changed) {
  const field = element("textarea", {
    id: "second", rows: 3, spellcheck: "false", autocomplete: "off", oninput: () => {
      session.second = field.value;
      changed();
    },
  });
  field.value = session.second;
  return {
    box: element("div", { class: "second" },
      element("label", { for: "second", text: "Second text of the pair" }), field),
  };
}

/** Bars of probabilities; of a regression, its one number. */
export function classBars(classes, width, isChosen = false) {
  const isRegression = classes[0].probability === null;
  const rows = classes.map((each) => ({
    label: each.label, share: each.probability ?? 0, isChosen,
    value: isRegression ? each.logit.toFixed(3) : percent(each.probability),
  }));
  const label = isRegression ? `Predicted number: ${rows[0].value}`
    : `Probabilities: ${rows.map((row) => `${row.label} ${row.value}`).join(", ")}`;
  return bars(rows, { label, width, labelWidth: width < 420 ? 96 : 160 });
}
