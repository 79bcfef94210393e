// What the views of two checkpoints share.

/** One checkpoint without a curve has nothing to compare. */
export function hasLearned(model) {
  return model.checkpoints.length > 1 || model.views.includes("curve");
}

/** Answers of both checkpoints; the server keeps two of them loaded. */
export async function bothSides({ left, right }, ask) {
  const one = await ask(left);
  return { left: one, right: left === right ? one : await ask(right) };
}
