// Tokens as a drawing to keep: boxes with their bits, line after line.
import { drawing } from "../charts.js";
import { onScale } from "../charts.js";
import { scale } from "../charts.js";
import { shortened } from "../charts.js";
import { textWidth } from "../charts.js";
import { visible } from "../tokens.js";

const WIDTH = 760;
const HEIGHT = 44;
const GAP = 4;
const LONGEST = 50;

/** An svg element of `tokens` with `surprise`; the scale ends at `most` bits. */
export function chipsDrawing(tokens, most) {
  const boxes = placed(tokens);
  const height = d3.max(boxes, ({ y }) => y) + HEIGHT;
  const svg = drawing(WIDTH, height, "Tokens and their surprise in bits");
  const share = ({ token }) => (token.surprise ?? 0) / most;
  const box = svg.selectAll("g").data(boxes).join("g")
    .attr("transform", ({ x, y }) => `translate(${x}, ${y})`);
  box.append("rect").attr("width", ({ width }) => width).attr("height", HEIGHT).attr("rx", 4)
    .style("fill", (each) => scale(share(each)));
  box.append("text").attr("class", "token-label")
    .attr("x", ({ width }) => width / 2).attr("y", 18).attr("text-anchor", "middle")
    .style("fill", (each) => onScale(share(each))).text(({ shown }) => shown);
  box.append("text").attr("class", "quiet")
    .attr("x", ({ width }) => width / 2).attr("y", 36).attr("text-anchor", "middle")
    .style("fill", (each) => onScale(share(each)))
    .text(({ token }) => (token.surprise === null ? "first" : `${token.surprise.toFixed(1)} bits`));
  return svg.node();
}

function placed(tokens) {
  let [x, y] = [0, 0];
  return tokens.map((token) => {
    const shown = shortened(visible(token), LONGEST);
    const width = Math.max(64, 16 + textWidth(shown));
    if (x > 0 && x + width > WIDTH) [x, y] = [0, y + HEIGHT + GAP];
    const box = { token, shown, x, y, width };
    x = token.text.endsWith("\n") ? WIDTH : x + width + GAP;
    return box;
  });
}
