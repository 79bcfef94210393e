// What the views of one token share: its place, kept answers, and drawing again when it changes.
import { element } from "../dom.js";
import { serial } from "../timing.js";

/** `ask`, which keeps its last answer and gives it again for the same arguments. */
export function keepLast(ask) {
  let last = null;
  let answer;
  return async (args) => {
    const key = JSON.stringify(args);
    if (key !== last) {
      answer = await ask(args);
      last = key;
    }
    return answer;
  };
}

/**
 * Fills `root`, the view's panel, with a lead and the element `body`, and calls
 * `draw({tokens, position, input})` for the text's tokens and the chosen one (the last where none
 * is chosen); `input` is what every question to the backend begins with. Without tokens, a sentence
 * stands in the place of `body`.
 * @returns {{update, refresh}} `update` rejects on an error; `refresh` shows it in `root`.
 */
export function followToken(root, { backend, session }, { lead, body, draw }) {
  const error = element("p", { class: "failure", role: "alert", hidden: true });
  const nothing = element("p", { text: "There is no token yet: type a text above.", hidden: true });
  root.append(element("p", { class: "lead", text: lead }), error, nothing, body);
  const askTokens = keepLast((args) => backend.tokens(args));
  let drawn = session.position;

  const update = serial(async () => {
    drawn = session.position;
    const input = { text: session.text, checkpoint: session.checkpoint };
    const { tokens } = await askTokens(input);
    nothing.hidden = tokens.length > 0;
    body.hidden = tokens.length === 0;
    if (tokens.length === 0) return;
    await draw({ tokens, position: Math.min(drawn ?? Infinity, tokens.length - 1), input });
  });

  async function refresh() {
    root.setAttribute("aria-busy", "true");
    try {
      await update();
      error.hidden = true;
    } catch (failure) {
      error.textContent = failure.message;
      error.hidden = false;
    }
    root.setAttribute("aria-busy", "false");
  }

  session.subscribe((changed) => {
    if (changed.has("position") && !changed.has("text") && isVisible(root)) refresh();
  });
  // A token chosen in another view meanwhile is drawn when this one is opened again.
  new ResizeObserver(() => {
    if (isVisible(root) && drawn !== session.position) refresh();
  }).observe(root);
  return { update, refresh };
}

function isVisible(node) {
  return node.offsetParent !== null;
}
