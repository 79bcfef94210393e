// The list of checkpoints in the header, which grows while the run trains.
import { element } from "./dom.js";
import { serial } from "./timing.js";

const SECONDS = 10;

/** Keeps the list equal to the session, in both directions, and asks for new checkpoints. */
export function followCheckpoints(box, select, { backend, model, session }) {
  const fill = () => {
    const options = session.checkpoints.map(({ id, label }) =>
      element("option", { value: id, text: label }),
    );
    select.replaceChildren(...options);
    box.hidden = options.length < 2;
  };
  const show = () => (select.value = session.checkpoint);
  select.addEventListener("change", () => session.set({ checkpoint: select.value }));
  session.subscribe((changed) => {
    if (changed.has("checkpoints")) fill();
    show();
  });
  fill();
  show();
  if (model.has_curve) follow({ backend, session });
}

/** Reads again which checkpoints the run has, until it ends; not while the page is out of sight. */
function follow({ backend, session }) {
  let timer;
  const read = serial(async () => {
    const { is_running, checkpoints } = await backend.curve();
    const steps = session.checkpoints.map(({ step }) => step);
    if (checkpoints.some((step) => !steps.includes(step))) session.offer(await backend.model());
    if (is_running) plan();
  });
  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(look, 1000 * SECONDS);
  };
  const look = () => {
    if (!document.hidden) read().catch(plan); // what the reader asks for next shows the error
  };
  document.addEventListener("visibilitychange", look);
  look();
}
