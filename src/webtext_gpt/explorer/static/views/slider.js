// A slider with its name, its value in words and a hint.
import { element } from "../dom.js";

/**
 * A slider at the end of `root`: `read` gives its value, `say` that value in words, `start` is where
 * it begins. `onchange` is called when the reader moves it.
 */
export function slider(root, { id, name, title, min, max, step, start, read, say, hint }, onchange) {
  const output = element("output", { for: id, class: "number" });
  const input = element("input", {
    id,
    type: "range",
    min,
    max,
    step,
    "aria-describedby": `${id}-hint`,
  });
  const show = () => {
    output.textContent = say(read(input));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  const reset = () => {
    input.value = start;
    show();
  };
  input.addEventListener("input", () => {
    show();
    onchange();
  });
  root.append(
    element(
      "div",
      { class: "slider" },
      element("div", { class: "slider-head" }, element("label", { for: id, text: title }), output),
      input,
      element("div", { id: `${id}-hint`, class: "muted small", text: hint }),
    ),
  );
  reset();
  return { name, reset, read: () => read(input) };
}
