// The tokens that decided: chips from orange (against) over nothing to blue (for), with numbers.
import { drawing } from "../charts.js";
import { textWidth } from "../charts.js";
import { element } from "../dom.js";
import { savePictures } from "../picture.js";
import { tokenNode } from "../tokens.js";
import { visible } from "../tokens.js";

const WIDTH = 760;
const HEIGHT = 44;
const GAP = 4;
/** Strongest tint, so that text on it stays legible in both themes. */
const STRONGEST = 0.45;

/** A card that explains one of `labels`; `changed` is called when another one is chosen. */
export function attributionSection(labels, changed) {
  const choice = element("select", { id: "explained", onchange: changed },
    element("option", { value: "", text: "the likeliest" }),
    ...labels.map((text) => element("option", { value: text, text })));
  const sums = element("p", { class: "sums", role: "status" });
  const note = element("p", { class: "muted small" });
  const chips = element("ol", { class: "decided", "aria-label": "Tokens and their attributions" });
  const box = element("div", { class: "card", "aria-busy": "false" },
    element("h2", { text: "Tokens that decided" }),
    element("div", { class: "row" }, element("label", { for: "explained", text: "Label" }), choice),
    sums, chips, note);
  let tokens = [];
  savePictures(box, () => decidedDrawing(tokens), "tokens-that-decided");
  const end = () => box.setAttribute("aria-busy", "false");
  return {
    box,
    label: () => choice.value || null,
    wait() {
      box.setAttribute("aria-busy", "true");
      sums.textContent = "Following the gradients from the empty text to this one…";
    },
    fail() {
      sums.textContent = "";
      chips.replaceChildren();
      tokens = [];
      end();
    },
    show(answer) {
      tokens = answer.tokens;
      sums.textContent = `Logit of ${answer.label}: the tokens add up to ${signed(answer.sum)}; `
        + `the text's logit minus the baseline's is ${signed(answer.difference)}.`;
      note.textContent = `Integrated gradients with ${answer.steps} steps, in units of the logit. `
        + "The baseline is the same positions with token vectors of zero; the tokens that the "
        + "classifier adds are kept, so they have 0.";
      const most = strongest(tokens);
      chips.replaceChildren(...tokens.map((token) => chip(token, most)));
      end();
    },
  };
}

/** 0.25 is "+0.250", with a minus sign as wide as the plus. */
export function signed(value) {
  const digits = Math.abs(value).toFixed(3);
  return Number(digits) === 0 ? "0" : `${value > 0 ? "+" : "−"}${digits}`;
}

function strongest(tokens) { return d3.max(tokens, (each) => Math.abs(each.attribution)) || 1; }

function chip(token, most) {
  const node = element("li", { class: isSpecial(token) ? "chip special" : "chip" },
    tokenNode(token),
    element("span", { class: "chip-bits number", text: signed(token.attribution) }));
  const share = 100 * STRONGEST * Math.abs(token.attribution) / most;
  node.style.background = `color-mix(in srgb, var(${hue(token)}) ${share}%, var(--surface))`;
  return node;
}

function hue(token) { return token.attribution < 0 ? "--chosen" : "--accent"; }

/** Whether it stands for no part of a text. */
function isSpecial(token) { return token.bytes.length === 0; }

function decidedDrawing(tokens) {
  const most = strongest(tokens);
  let [x, y] = [0, 0];
  const boxes = tokens.map((token) => {
    const width = Math.max(60, 16 + textWidth(visible(token)));
    if (x > 0 && x + width > WIDTH) [x, y] = [0, y + HEIGHT + GAP];
    const box = { token, x, y, width };
    x += width + GAP;
    return box;
  });
  const svg = drawing(WIDTH, y + HEIGHT, "Tokens and their attributions");
  const box = svg.selectAll("g").data(boxes).join("g")
    .attr("transform", (each) => `translate(${each.x}, ${each.y})`);
  box.append("rect").attr("width", ({ width }) => width).attr("height", HEIGHT).attr("rx", 4)
    .style("fill", ({ token }) => `var(${hue(token)})`)
    .attr("fill-opacity", ({ token }) => STRONGEST * Math.abs(token.attribution) / most);
  const text = (y, name, said) => box.append("text").attr("class", name)
    .attr("x", ({ width }) => width / 2).attr("y", y).attr("text-anchor", "middle").text(said);
  text(18, "token-label", ({ token }) => visible(token));
  text(36, "quiet", ({ token }) => signed(token.attribution));
  return svg.node();
}
