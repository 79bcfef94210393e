// Two sliders over a run's kept checkpoints: the left one, and the right one of all views.
import { element } from "../dom.js";
import { debounce } from "../timing.js";

/**
 * Fills a box with the sliders. The right one moves `session.checkpoint`, the left one calls
 * `changed`. Returns what is chosen.
 */
export function checkpointSliders(box, model, session, changed) {
  let leftId = session.checkpoints[0].id;
  const right = slider("Right checkpoint", "learning-right", () => {
    label(right, at(right));
    choose();
  });
  const left = slider("Left checkpoint", "learning-left", () => {
    leftId = at(left).id;
    label(left, at(left));
    changed();
  });
  const choose = debounce(() => session.set({ checkpoint: at(right).id }), 100);
  const at = ({ input }) => session.checkpoints[Number(input.value)];
  const found = (id) => session.checkpoints.find((each) => each.id === id);
  const chosen = () => ({
    left: (found(leftId) ?? session.checkpoints[0]).id,
    right: session.checkpoint === "default" ? model.default : session.checkpoint,
  });
  const show = () => {
    const { checkpoints } = session;
    const ids = chosen();
    for (const [side, one] of Object.entries({ left, right })) {
      one.input.max = checkpoints.length - 1;
      one.input.disabled = checkpoints.length < 2;
      one.input.value = Math.max(0, checkpoints.findIndex(({ id }) => id === ids[side]));
      label(one, at(one));
    }
  };
  box.append(element("div", { class: "sides" }, left.box, right.box));
  show();
  session.subscribe((changed) => {
    if (changed.has("checkpoints")) show();
  });
  return {
    show,
    chosen,
    label: (side) => found(chosen()[side])?.label ?? chosen()[side],
    steps: () => ({ left: found(chosen().left)?.step, right: found(chosen().right)?.step }),
  };
}

function slider(title, id, moved) {
  const input = element("input", { id, type: "range", min: 0, step: 1, oninput: moved });
  const output = element("output", { for: id, class: "number" });
  const head = element("div", { class: "slider-head" },
    element("label", { for: id, text: title }), output);
  return { input, output, box: element("div", { class: id }, head, input) };
}

function label({ input, output }, checkpoint) {
  output.textContent = checkpoint.label;
  input.setAttribute("aria-valuetext", checkpoint.label);
}
