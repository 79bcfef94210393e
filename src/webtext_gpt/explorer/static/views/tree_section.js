// The tree below the bars: its sizes, its drawing, its text for those who do not see it.
import { element } from "../dom.js";
import { savePictures } from "../picture.js";
import { treeDrawing } from "./tree.js";

/** Above so many parameters a tree takes long, so that it is drawn only when it is opened. */
const QUICK = 50e6;

const LEAD =
  "Each step to the right reads one token more and shows the likeliest after it, " +
  "without temperature or truncation; a thicker line and a stronger blue are likelier. Press a " +
  "token to append its whole branch.";

/** Appends the tree to `root`; `choose(tokens)` takes the branch that was adopted. */
export function treeSection(root, { backend, model, session }, choose) {
  const box = element("div", {
    class: "scroll tree",
    tabindex: "0",
    role: "region",
    "aria-label": "Tree of continuations",
  });
  const saves = element("div");
  const failure = element("p", { class: "failure", role: "alert" });
  let shown = null;
  const width = select("Branches at each step", [2, 3, 4, 5], 3);
  const depth = select("Steps", [1, 2, 3, 4], 3);
  const details = element(
    "details",
    { class: "card", open: model.parameters < QUICK },
    element("summary", {}, element("h2", { text: "What else could have been" })),
    element("p", { class: "lead", text: LEAD }),
    element("div", { class: "row" }, ...width.nodes, ...depth.nodes),
    failure,
    box,
    saves,
  );

  async function update() {
    const asked = {
      text: session.text,
      checkpoint: session.checkpoint,
      width: Number(width.input.value),
      depth: Number(depth.input.value),
    };
    const key = JSON.stringify(asked);
    if (!details.open || key === shown) return;
    const { children } = await backend.tree(asked);
    const hadFocus = box.contains(document.activeElement) && document.activeElement !== box;
    const svg = treeDrawing(children, session.text, choose);
    box.replaceChildren(svg);
    saves.replaceChildren();
    savePictures(saves, svg, "continuations");
    if (hadFocus) svg.querySelector("[tabindex='0']").focus();
    shown = key;
  }
  const refresh = () =>
    update().then(
      () => (failure.textContent = ""),
      (error) => (failure.textContent = error.message),
    );
  details.addEventListener("toggle", refresh);
  width.input.addEventListener("change", refresh);
  depth.input.addEventListener("change", refresh);
  root.append(details);
  return { update };
}

function select(title, values, start) {
  const options = values.map((value) =>
    element("option", { value, text: value, selected: value === start }),
  );
  const input = element("select", {}, ...options);
  return { input, nodes: [element("label", {}, `${title} `, input)] };
}
