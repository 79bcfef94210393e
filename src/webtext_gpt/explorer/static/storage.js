// Small choices kept in this browser, or until the page closes where storage is forbidden.

const PREFIX = "webtext-gpt explorer: ";
const unsaved = new Map();

/** The value kept under a name, or null. */
export function recall(name) {
  try {
    return localStorage.getItem(PREFIX + name) ?? unsaved.get(name) ?? null;
  } catch {
    return unsaved.get(name) ?? null;
  }
}

/** Keeps a string under a name. */
export function remember(name, value) {
  unsaved.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // A browser may forbid storage, for a page from disk above all.
  }
}
