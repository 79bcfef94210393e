// What else could have been: likely continuations as a tree that grows to the right.
import { drawing } from "../charts.js";
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { shortened } from "../charts.js";
import { textWidth } from "../charts.js";
import { percent } from "../numbers.js";
import { appended } from "../tokens.js";
import { spoken } from "../tokens.js";
import { visible } from "../tokens.js";

const ROW = 32;
const BOX = 26;
const GAP = 64;
const SHARE = 58; // width of the per cents
const LONGEST = 16;
const KEYS = { ArrowDown: "below", ArrowUp: "above", ArrowRight: "first", ArrowLeft: "parent" };

/**
 * An svg element of `children` as `/api/tree` returns them. A node's branch, the tokens from the
 * root to it, goes to `choose`, by click, Enter or space; arrow keys move between nodes.
 */
export function treeDrawing(children, text, choose) {
  const root = d3.hierarchy({ children });
  d3.tree().nodeSize([ROW, 1]).separation((a, b) => (a.parent === b.parent ? 1 : 1.25))(root);
  const nodes = root.descendants().slice(1);
  const widths = place(root);
  const top = d3.min(nodes, (node) => node.x) - ROW / 2;
  const height = d3.max(nodes, (node) => node.x) - top + ROW / 2;
  const svg = drawing(widths.total, height, "Likely continuations").attr("role", "tree");
  const content = svg.append("g").attr("transform", `translate(0, ${-top})`)
    .attr("role", "presentation");
  content.append("g").attr("aria-hidden", "true").selectAll("path").data(nodes).join("path")
    .attr("d", curve)
    .style("fill", "none")
    .style("stroke", "var(--accent)")
    .style("stroke-opacity", 0.55)
    .style("stroke-width", ({ data }) => Math.max(1, 12 * data.probability));
  const node = content.selectAll("g.node").data(nodes).join("g")
    .attr("class", (each) => (branchText(text, each) === null ? "node blocked" : "node"))
    .attr("role", "treeitem")
    .attr("aria-level", ({ depth }) => depth)
    .attr("aria-disabled", (each) => branchText(text, each) === null)
    .attr("tabindex", (_, index) => (index === 0 ? 0 : -1))
    .attr("transform", (each) => `translate(${each.y}, ${each.x})`)
    .on("click", (_, each) => choose(branch(each)))
    .on("keydown", (event, each) => press(event, each, node, choose));
  draw(node);
  return svg.node();
}

/** Sets each node's `y`, the left edge of its column, and `width`; returns the total width. */
function place(root) {
  let left = 0;
  for (const level of d3.groups(root.descendants(), ({ depth }) => depth).map(([, all]) => all)) {
    const tokens = d3.max(level, (node) => textWidth(shown(node)));
    const widest = level[0].depth === 0 ? 1 : 28 + tokens + SHARE;
    for (const node of level) Object.assign(node, { y: left, width: widest });
    left += widest + GAP;
  }
  return { total: left - GAP + 2 };
}

/** From the parent's right edge to the node's left edge. */
function curve(node) {
  const from = node.parent.y + node.parent.width;
  const middle = (from + node.y) / 2;
  const start = `${node.parent.x}C${middle},${node.parent.x}`;
  return `M${from},${start} ${middle},${node.x} ${node.y},${node.x}`;
}

function draw(node) {
  node.append("title").text(described); // also what screen readers say
  node.append("rect")
    .attr("y", -BOX / 2).attr("height", BOX).attr("rx", 6).attr("width", ({ width }) => width)
    .style("fill", ({ data }) => scale(data.probability));
  node.append("text")
    .attr("class", "token-label")
    .attr("x", 10).attr("dy", "0.35em")
    .style("fill", ({ data }) => onScale(data.probability))
    .text(shown);
  node.append("text")
    .attr("class", "quiet")
    .attr("x", ({ width }) => width - 10).attr("dy", "0.35em").attr("text-anchor", "end")
    .style("fill", ({ data }) => onScale(data.probability))
    .text(({ data }) => percent(data.probability));
}

function shown({ data }) {
  return data.bytes ? shortened(visible(data), LONGEST) : "";
}

function described(node) {
  const { probability, joint } = node.data;
  const whole = node.depth > 1 ? `; the branch up to here ${percent(joint)}` : "";
  return `${branch(node).map(spoken).join(", ")}: ${percent(probability)}${whole}`;
}

function branch(node) { return node.ancestors().reverse().slice(1).map(({ data }) => data); }

function branchText(text, node) { return appended(text, branch(node)); }

function press(event, node, all, choose) {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(branch(node));
    return;
  }
  const target = KEYS[event.key] && neighbour(node, KEYS[event.key], all.data());
  if (!target) return;
  event.preventDefault();
  all.attr("tabindex", (each) => (each === target ? 0 : -1));
  all.filter((each) => each === target).node().focus();
}

function neighbour(node, direction, nodes) {
  if (direction === "first") return node.children?.[0];
  if (direction === "parent") return node.parent.depth > 0 ? node.parent : undefined;
  const level = nodes.filter(({ depth }) => depth === node.depth);
  return level[level.indexOf(node) + (direction === "below" ? 1 : -1)];
}
