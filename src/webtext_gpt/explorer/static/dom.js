// Building elements without markup in strings.

/**
 * An element with attributes and children. `text` sets its text; a function named `onEVENT`
 * listens to EVENT; true and false add or leave out an attribute; children may be strings.
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Moves the focus among `items` by arrow keys, Home and End; only one of them is a tab stop. */
export function roving(container, items) {
  const stop = (chosen) => items().forEach((item) => (item.tabIndex = item === chosen ? 0 : -1));
  container.addEventListener("keydown", (event) => {
    const all = items();
    const here = all.indexOf(event.target);
    const steps = {
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      Home: 0,
      End: all.length - 1,
    };
    const there = all[steps[event.key]];
    if (here < 0 || there === undefined) return;
    event.preventDefault();
    there.focus();
  });
  container.addEventListener("focusin", (event) => {
    if (items().includes(event.target)) stop(event.target);
  });
  return stop;
}
