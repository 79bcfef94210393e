// Probabilities of the next token, as webtext_gpt/generation/sampling.py has them.
import { largest, softmax } from "./arithmetic.js";

const LEAST_TEMPERATURE = 1e-5; // below, only the most probable token is left

/** Probabilities after temperature, top-k and top-p; 0 for tokens that these exclude. */
export function probabilities(logits, { temperature = 1, top_k = null, top_p = null } = {}) {
  if (temperature < LEAST_TEMPERATURE) {
    const [greatest] = largest(logits, 1);
    return Float64Array.from(logits, (_, id) => (id === greatest ? 1 : 0));
  }
  let kept = logits.map((z) => z / temperature);
  if (top_k !== null && top_k < kept.length) {
    const least = kept[largest(kept, top_k).at(-1)]; // tokens as probable as the k-th are kept
    kept = kept.map((z) => (z < least ? -Infinity : z));
  }
  if (top_p !== null && top_p < 1) {
    const all = softmax(kept);
    let before = 0; // mass of the more probable tokens
    for (const id of largest(kept, kept.length)) {
      if (before >= top_p) kept[id] = -Infinity;
      before += all[id];
    }
  }
  return softmax(kept);
}
