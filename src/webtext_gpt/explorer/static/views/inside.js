// What happens between the layers: guesses, norms, units, positions, neighbours.
import { element } from "../dom.js";
import { savePictures } from "../picture.js";
import { followToken } from "./follow.js";
import { keepLast } from "./follow.js";
import { lensTable } from "./lens_table.js";
import { neighbourBars } from "./neighbour_bars.js";
import { normLine } from "./norm_line.js";
import { positionPicture } from "./position_picture.js";
import { tokenText } from "./token_text.js";
import { unitTable } from "./unit_table.js";

const LEAD =
  "Between the layers a token is one vector, the residual stream, to which every block adds. Choose " +
  "a token to see what the model would say next after each block, and what else is in that vector.";

/** Parts from top to bottom: the backend's method, its arguments, and what draws the answer. */
const PARTS = [
  {
    title: "What each layer would say next",
    explanation:
      "The logit lens: the final normalization and the output layer, applied to the residual " +
      "stream after each block. The stronger a cell's colour, the larger its probability.",
    method: "lens",
    args: ({ input, position }) => ({ ...input, position }),
    make: lensTable,
  },
  {
    title: "Norm of the residual stream",
    explanation: "Length of the token's vector (L2 norm, without a unit) after each block.",
    method: "lens",
    args: ({ input, position }) => ({ ...input, position }),
    make: normLine,
  },
  {
    title: "Most active units",
    explanation:
      "Units of a layer's MLP with the largest activations at this token, and the tokens whose " +
      "logits each of them raises most.",
    method: "units",
    args: ({ input, position }) => ({ ...input, position }),
    make: unitTable,
  },
  {
    title: "Positions",
    method: "positions",
    args: ({ input }) => ({ checkpoint: input.checkpoint }),
    make: positionPicture,
  },
  {
    title: "Neighbours of the chosen token",
    explanation:
      "Tokens whose embeddings point most nearly the same way: cosine similarity, from −1 to 1.",
    method: "neighbours",
    args: ({ input, tokens, position }) => ({
      checkpoint: input.checkpoint,
      id: tokens[position].id,
    }),
    make: neighbourBars,
  },
];

export const INSIDE_VIEW = { id: "inside", title: "Inside", needs: ["tokens", "lens"], mount };

function mount(root, context) {
  const { backend, model, session } = context;
  const text = element("section", { class: "card", "aria-label": "The text" });
  const chooser = tokenText(text, {
    label: "The text: choose a token",
    onChoose: (position) => session.set({ position }),
  });
  const ask = new Map(model.views.map((name) => [name, keepLast((args) => backend[name](args))]));
  const parts = PARTS.filter(({ method }) => ask.has(method)).map((part) => {
    const section = element(
      "section",
      { class: "card", "aria-label": part.title },
      element("h2", { text: part.title }),
    );
    if (part.explanation) section.append(element("p", { class: "small", text: part.explanation }));
    const { draw, picture } = part.make(section);
    savePictures(section, picture, part.title.toLowerCase().replaceAll(" ", "-"));
    return { ...part, section, draw };
  });
  const body = element("div", {}, text, ...parts.map(({ section }) => section));

  async function draw(now) {
    chooser.draw({ tokens: now.tokens, chosen: now.position });
    for (const part of parts) part.draw(await ask.get(part.method)(part.args(now)), now);
  }

  return { update: followToken(root, context, { lead: LEAD, body, draw }).update };
}
