// The text as one SVG of tokens to choose from, with lines from the chosen token to others.
import { percent } from "../numbers.js";
import { spoken } from "../tokens.js";
import { visible } from "../tokens.js";

const LINE_HEIGHT = 40;
const BOX_HEIGHT = 24;
const PADDING = 4;
const MOST_LINES = 200;

/**
 * Draw the text in `container`; a click or an arrow key chooses a token.
 * @param {HTMLElement} container
 * @param {{label: string, onChoose: (position: number) => void}} options
 * @returns {{svg: SVGElement, draw: (state: object) => void}} draw takes {tokens, chosen, weights};
 *   weights (one for each token up to the chosen one) may be null: no lines.
 */
export function tokenText(container, { label, onChoose }) {
  const box = d3.select(container).append("div").attr("class", "token-text scroll");
  const svg = box.append("svg").attr("role", "listbox").attr("aria-label", label);
  const groups = ["boxes", "lines"].map((name) => svg.append("g").attr("class", name));
  let state = { tokens: [], chosen: 0, weights: null };
  let placed = [];
  let width = 0;

  function draw(changes = {}) {
    const before = state;
    state = { ...state, ...changes };
    const { clientWidth } = box.node();
    if (clientWidth === 0) return; // hidden: the observer below draws once there is room
    if (state.tokens !== before.tokens || clientWidth !== width) {
      width = clientWidth;
      placed = place(state.tokens, width, measure(svg.node()));
      const height = (placed.at(-1)?.y ?? 0) + LINE_HEIGHT;
      svg.attr("width", width).attr("height", height).attr("viewBox", [0, 0, width, height]);
      drawTokens(groups[0], placed, choose);
    }
    mark(groups[0].selectAll("g"), state);
    drawLines(groups[1], placed, state);
    if (state.chosen !== before.chosen || state.tokens !== before.tokens)
      scrollTo(placed[state.chosen]);
  }

  /** Scrolls the box, never the page, so that the chosen token is in it. */
  function scrollTo({ y }) {
    const { scrollTop, clientHeight } = box.node();
    const isSeen = y > scrollTop && y + LINE_HEIGHT < scrollTop + clientHeight;
    if (!isSeen) box.node().scrollTop = y - clientHeight / 2;
  }

  function choose(position) {
    const wasFocused = svg.node().contains(document.activeElement);
    onChoose(position);
    draw({ chosen: position, weights: null });
    if (wasFocused) groups[0].selectAll("g").nodes()[position].focus();
  }

  svg.on("keydown", (event) => {
    const position = stepped(event.key, state.chosen, placed);
    if (position === null) return;
    event.preventDefault();
    if (position !== state.chosen) choose(position);
  });
  new ResizeObserver(() => {
    if (box.node().clientWidth !== width) draw();
  }).observe(box.node());
  return { svg: svg.node(), draw };
}

/** Width in pixels of a string in the font of an element. */
function measure(element) {
  const context = document.createElement("canvas").getContext("2d");
  const { fontSize, fontFamily } = getComputedStyle(element);
  context.font = `${fontSize} ${fontFamily}`;
  return (text) => context.measureText(text).width;
}

/** Boxes of the tokens, wrapped to the width: x, y (top) and width in pixels, and line. */
function place(tokens, width, widthOf) {
  let x = 0;
  let line = 0;
  return tokens.map((token) => {
    const text = visible(token);
    const wide = widthOf(text) + 2 * PADDING;
    if (x > 0 && x + wide > width) {
      x = 0;
      line += 1;
    }
    const box = {
      text,
      said: spoken(token),
      x,
      y: line * LINE_HEIGHT + LINE_HEIGHT - BOX_HEIGHT,
      width: wide,
      line,
    };
    x += wide + 1;
    if (token.text.includes("\n")) {
      x = 0;
      line += 1;
    }
    return box;
  });
}

function drawTokens(group, placed, choose) {
  const items = group
    .selectAll("g")
    .data(placed)
    .join((enter) => {
      const item = enter.append("g").attr("role", "option");
      item.append("rect").attr("height", BOX_HEIGHT).attr("rx", 4);
      item
        .append("text")
        .attr("dy", BOX_HEIGHT / 2)
        .attr("x", PADDING);
      item.append("title");
      return item;
    })
    .attr("transform", ({ x, y }) => `translate(${x}, ${y})`)
    .on("click", (event) => choose(items.nodes().indexOf(event.currentTarget)));
  items.select("rect").attr("width", (box) => box.width);
  items.select("text").text(({ text }) => text);
}

/** Show which token is chosen, and the weights as the boxes' colours. */
function mark(items, { chosen, weights }) {
  const isLater = (index) => weights && index > chosen;
  const note = ({ said }, index) => {
    if (isLater(index)) return `${index + 1}: ${said}, comes later: masked`;
    return `${index + 1}: ${said}${weights ? `, weight ${percent(weights[index])}` : ""}`;
  };
  items
    .attr("class", (_, i) => `token ${i === chosen ? "chosen" : isLater(i) ? "later" : ""}`)
    .attr("aria-selected", (_, i) => i === chosen)
    .attr("tabindex", (_, i) => (i === chosen ? 0 : -1));
  items.select("title").text(note); // also what screen readers say
  // The square root: most weights are small, and would all look like nothing.
  items
    .select("rect")
    .attr("fill-opacity", (_, i) => (weights && i <= chosen ? 0.4 * Math.sqrt(weights[i]) : 0));
}

/** The strongest lines; a token's weight on itself is the colour of its box alone. */
function drawLines(group, placed, { chosen, weights }) {
  const strongest = weights
    ? d3
        .range(chosen)
        .sort((a, b) => weights[b] - weights[a])
        .slice(0, MOST_LINES)
    : [];
  group
    .selectAll("path")
    .data(strongest.reverse())
    .join("path")
    .attr("d", (index) => curve(placed[chosen], placed[index]))
    .attr("stroke-width", (index) => 0.5 + 5.5 * weights[index])
    .attr("stroke-opacity", (index) => Math.sqrt(weights[index]));
}

/** Path from one box's top to another's: an arc on the same line, a bend between lines. */
function curve(from, to) {
  const [a, b] = [from, to].map((box) => box.x + box.width / 2);
  if (from.line === to.line) {
    const rise = Math.min(LINE_HEIGHT - BOX_HEIGHT, 5 + (a - b) / 20);
    return `M${a},${from.y} C${a},${from.y - 1.3 * rise} ${b},${to.y - 1.3 * rise} ${b},${to.y}`;
  }
  const bottom = to.y + BOX_HEIGHT;
  const middle = (from.y + bottom) / 2;
  return `M${a},${from.y} C${a},${middle} ${b},${middle} ${b},${bottom}`;
}

/** The token that a key leads to from the chosen one, or null if the key is none of ours. */
function stepped(key, chosen, placed) {
  const last = placed.length - 1;
  const moves = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: last };
  if (key in moves) return Math.max(0, Math.min(last, moves[key]));
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const { x, line } = placed[chosen];
  const wanted = line + (key === "ArrowUp" ? -1 : 1);
  const there = d3.range(placed.length).filter((index) => placed[index].line === wanted);
  return there.length ? d3.least(there, (index) => Math.abs(placed[index].x - x)) : chosen;
}
