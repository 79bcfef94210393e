// The loss curve of a run, read again while the run goes on and the view is in sight.
import { element } from "../dom.js";
import { count } from "../numbers.js";
import { counted } from "../numbers.js";
import { savePictures } from "../picture.js";
import { serial } from "../timing.js";
import { lossCurve } from "./loss_curve.js";
import { lossTable } from "./loss_curve.js";
import { lossUnit } from "./loss_curve.js";

const SECONDS = 3;
const OF_CLASSIFIER = "Validation loss is of the labels alone. Training loss may have terms besides, "
  + "such as lm_weight times the language-model loss, and is then higher.";

/**
 * A card with the curve. `changed` is called when the run has kept or removed a checkpoint; `mark`
 * takes the steps of the chosen checkpoints.
 */
export function followCurve(root, { backend, model, changed }) {
  const place = element("div", { class: "scroll" });
  const state = element("p", { class: "muted small", role: "status" });
  const table = element("div", {
    class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of losses",
  });
  const box = element("div", { class: "card" }, element("h2", { text: "Loss" }),
    state, ...(model.labels === null ? [] : [note(OF_CLASSIFIER)]), place,
    element("details", {}, element("summary", { text: "The kept checkpoints as a table" }), table));
  savePictures(box, () => place.querySelector("svg"), "loss");
  const unit = lossUnit(model);
  let [curve, steps, timer] = [null, {}, null];

  const draw = () => {
    if (curve === null) return;
    place.replaceChildren(lossCurve(curve, steps, Math.min(1100, place.clientWidth || 640), unit));
    table.replaceChildren(lossTable(curve, unit));
  };
  const read = serial(async () => {
    if (!model.views.includes("curve")) return;
    const before = curve?.checkpoints.join();
    curve = await backend.curve();
    state.textContent = said(curve, unit);
    draw();
    if (before !== undefined && before !== curve.checkpoints.join()) await changed();
    plan();
  });
  const plan = () => {
    clearTimeout(timer);
    if (curve?.is_running && inSight(root)) timer = setTimeout(follow, 1000 * SECONDS);
  };
  const follow = () => {
    if (inSight(root)) read().catch((error) => (state.textContent = error.message)).then(plan);
  };
  const resume = () => {
    clearTimeout(timer);
    if (curve?.is_running) follow();
  };
  new MutationObserver(resume).observe(root, { attributes: true, attributeFilter: ["hidden"] });
  document.addEventListener("visibilitychange", resume);

  return {
    box,
    update: read,
    mark(chosen) {
      steps = chosen;
      draw();
    },
  };
}

function inSight(root) { return !root.hidden && !document.hidden; }

function note(text) { return element("p", { class: "muted small", text }); }

function said({ step, is_running, checkpoints, validation }, unit) {
  const last = validation.at(-1);
  const parts = [
    is_running ? `Training goes on, step ${count(step)}; read again every ${SECONDS}\u00a0seconds`
      : `Training has ended at step ${count(step)}`,
    `${counted(checkpoints.length, "checkpoint")} kept`,
  ];
  if (last) parts.push(`last validation loss ${last[1].toFixed(3)} (${unit})`);
  return parts.join(" · ");
}
