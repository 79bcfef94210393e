// What the views of one token share: its place, kept answers, and drawing again when it changes.
import { element } from "../dom.js";
import { counted } from "../numbers.js";
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
 * is chosen); `input` is what every question to the backend begins with. A sentence says how
 * many tokens the context has left out, or that there are none.
 * @returns {{update, refresh}} `update` rejects on an error; `refresh` shows it in `root`.
 */
export function followToken(root, { backend, session }, { lead, body, draw }) {
  const error = element("p", { class: "failure", role: "alert", hidden: true });
  const note = element("p", { class: "muted small", hidden: true });
  root.append(element("p", { class: "lead", text: lead }), error, note, body);
  const askTokens = keepLast((args) => backend.tokens(args));
  let drawn = session.position;

  const update = serial(async () => {
    drawn = session.position;
    const input = { text: session.text, checkpoint: session.checkpoint };
    const { tokens, n_cut } = await askTokens(input);
    body.hidden = tokens.length === 0;
    note.hidden = n_cut === 0 && !body.hidden;
    note.textContent = body.hidden
      ? "There is no token yet: type a text above."
      : `The context holds no more: ${counted(n_cut, "token")} left out.`;
    if (body.hidden) return;
    await draw({ tokens, position: Math.min(drawn ?? Infinity, tokens.length - 1), input });
    error.hidden = true;
  });

  async function refresh() {
    root.setAttribute("aria-busy", "true");
    try {
      await update();
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
