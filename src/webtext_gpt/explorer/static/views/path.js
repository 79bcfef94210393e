// The tokens that were chosen one after another, each with a way back to it.
import { element } from "../dom.js";
import { appended } from "../tokens.js";
import { spoken } from "../tokens.js";
import { tokenNode } from "../tokens.js";

const HINT = "What you choose is listed here, with a way back.";

/**
 * Keeps in `root` the path of chosen tokens; `choose(tokens)` appends them to the session's text. A
 * text that was typed begins a new path.
 */
export function choicePath(root, session) {
  let steps = []; // {tokens, before, after}: texts before and after a choice
  const back = (index) => {
    const { before } = steps[index];
    steps = steps.slice(0, index);
    session.set({ text: before });
    root.querySelector("button:not(:disabled)")?.focus();
  };
  const show = () => {
    if (steps.length > 0 && steps.at(-1).after !== session.text) steps = [];
    const hint = element("span", { class: "muted small", text: HINT });
    root.replaceChildren(...(steps.length > 0 ? chips(steps, back) : [hint]));
  };
  session.subscribe((changed) => {
    if (changed.has("text")) show();
  });
  show();
  return {
    choose(tokens) {
      const after = appended(session.text, tokens, session.separator);
      if (after === null) return;
      steps = [...steps, { tokens, before: session.text, after }];
      if (after === session.text) show();
      session.set({ text: after });
    },
  };
}

function chips(steps, back) {
  const undo = element("button", {
    type: "button",
    text: "Undo",
    onclick: () => back(steps.length - 1),
  });
  const start = chip("Start", "Back to the text before all choices", () => back(0));
  const others = steps.map(({ tokens }, index) => {
    const said = tokens.map(spoken).join(", ");
    const isLast = index === steps.length - 1;
    const label = isLast ? `Chosen last: ${said}` : `Back to the text that ends with ${said}`;
    return chip(tokens.map(tokenNode), label, isLast ? null : () => back(index + 1));
  });
  return [undo, element("ol", { class: "path" }, start, ...others)];
}

function chip(content, label, onclick) {
  const button = element(
    "button",
    {
      type: "button",
      title: label,
      disabled: onclick === null,
      onclick: onclick ?? (() => {}),
    },
    ...[content].flat(),
  );
  return element("li", {}, button);
}
