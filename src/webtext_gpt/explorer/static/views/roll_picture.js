// A piano roll as SVG: time to the right, pitch upwards, and a cursor that chooses parts of notes.
import { pitchName } from "../music.js";

const MARGIN = { left: 40, top: 8, right: 8, bottom: 24 };
const SEMITONE = { least: 5, most: 12, of: 420 }; // pixels; `of` all together, within these bounds
const SECOND = { least: 60, most: 200 };
const WIDE = 30; // semitones; above, only the Cs are named
const LABEL = 48; // pixels between labels of the time

/**
 * Draw in `container`. Pointing at a part of a note chooses it, and so do the arrow keys: to the left
 * and right within a voice, up and down among the notes that sound together.
 * @param {HTMLElement} container
 * @param {(part: object) => void} onChoose
 * @returns {{svg: SVGElement, draw: (state: object) => void, playing: (seconds: number | null) =>
 *   void}} draw takes {notes, parts, beat: seconds or null, chosen: part or null, paint: part =>
 *   colour, isLater: note => boolean}; a part has its `note`, `start`, `end` and `tokens`.
 */
export function rollPicture(container, onChoose) {
  const box = d3.select(container).append("div").attr("class", "scroll roll");
  const svg = box
    .append("svg")
    .attr("tabindex", 0)
    .attr("role", "application")
    .attr("aria-label", "Piano roll; arrow keys choose a note");
  const layer = (name) => svg.append("g").attr("class", name);
  const [axes, cells, outlines, marks] = ["axes", "cells", "outlines", "marks"].map(layer);
  axes.attr("aria-hidden", "true");
  let state = null;
  let place = null;
  let width = 0;

  function draw(next = state) {
    const { clientWidth } = box.node();
    if (next === null || clientWidth === 0) return; // hidden: the observer draws once there is room
    const isNew = next.notes !== state?.notes || clientWidth !== width;
    state = next;
    width = clientWidth;
    if (isNew) {
      place = placement(state, width);
      svg.attr("width", place.width).attr("height", place.height);
      svg.attr("viewBox", [0, 0, place.width, place.height]);
      drawAxes(axes, place, state);
      bars(cells, state.parts, place).on("pointermove click", (_, part) => choose(part));
      bars(outlines, state.notes, place);
    }
    cells.selectAll("rect").style("fill", state.paint);
    outlines
      .selectAll("rect")
      .attr("class", (note) => `outline ${isCut(note) ? "cut" : state.isLater(note) ? "later" : ""}`)
      .style("stroke", (note) => (isCut(note) ? null : `var(--voice-${note.voice % 4})`));
    bars(marks, state.chosen ? [state.chosen] : [], place).attr("class", "cursor");
    if (isNew) show(state.chosen);
  }

  function choose(part) {
    if (part && part !== state.chosen && part.tokens.length > 0) onChoose(part);
  }

  /** Scrolls the box, never the page, so that a part is in it. */
  function show(part) {
    if (!part) return;
    const { scrollLeft, clientWidth } = box.node();
    const [left, right] = [place.x(part.start), place.x(part.end)];
    if (left < scrollLeft + MARGIN.left || right > scrollLeft + clientWidth) {
      box.node().scrollLeft = left - clientWidth / 2;
    }
  }

  svg.on("keydown", (event) => {
    const part = stepped(event.key, state);
    if (part === null) return;
    event.preventDefault();
    choose(part);
    show(part);
  });
  new ResizeObserver(() => {
    if (box.node().clientWidth !== width) draw();
  }).observe(box.node());

  return {
    svg: svg.node(),
    draw,
    playing(seconds) {
      svg
        .selectAll("line.playing")
        .data(seconds === null ? [] : [place.x(seconds)])
        .join("line")
        .attr("class", "playing")
        .attr("y1", MARGIN.top)
        .attr("y2", place.height - MARGIN.bottom)
        .attr("x1", (x) => x)
        .attr("x2", (x) => x);
    },
  };
}

/** Whether the context has no room for any part of a note. */
export function isCut(note) {
  return note.parts.every(({ tokens }) => tokens.length === 0);
}

function placement({ notes }, available) {
  const [low, high] = [d3.min(notes, (n) => n.pitch) - 2, d3.max(notes, (n) => n.pitch) + 2];
  const end = d3.max(notes, (note) => note.end);
  const within = (value, { least, most }) => Math.max(least, Math.min(most, value));
  const semitone = within(SEMITONE.of / (high - low + 1), SEMITONE);
  const second = within((available - MARGIN.left - MARGIN.right) / end, SECOND);
  const bottom = MARGIN.top + (high - low + 1) * semitone;
  return {
    low,
    high,
    end,
    semitone,
    second,
    width: MARGIN.left + end * second + MARGIN.right,
    height: bottom + MARGIN.bottom,
    bottom,
    x: (seconds) => MARGIN.left + seconds * second,
    y: (pitch) => MARGIN.top + (high - pitch) * semitone,
  };
}

/** Bars of notes or of their parts. */
function bars(group, items, place) {
  return group
    .selectAll("rect")
    .data(items)
    .join("rect")
    .attr("x", ({ start }) => place.x(start))
    .attr("y", ({ pitch }) => place.y(pitch) + 0.5)
    .attr("width", ({ start, end }) => Math.max(1, (end - start) * place.second))
    .attr("height", place.semitone - 1);
}

function drawAxes(group, place, { beat }) {
  const step = place.high - place.low > WIDE ? 12 : 4;
  const pitches = d3.range(place.low, place.high + 1).filter((pitch) => pitch % step === 0);
  const unit = beat ?? 1;
  const every = [1, 2, 4, 8, 16, 32, 64].find((n) => n * unit * place.second >= LABEL) ?? 128;
  const times = d3.range(0, Math.ceil(place.end / unit), every);
  const named = (time) => {
    if (time === 0) return beat === null ? "0 s" : "beat 1";
    return beat === null ? time : time + 1;
  };
  const x = (time) => place.x(time * unit);
  const y = (pitch) => place.y(pitch) + place.semitone / 2;
  group.selectAll("*").remove();
  const line = (x1, y1, x2, y2) =>
    group
      .append("line")
      .attr("class", "grid")
      .attr("x1", x1)
      .attr("y1", y1)
      .attr("x2", x2)
      .attr("y2", y2);
  const label = (left, top, anchor, text) =>
    group
      .append("text")
      .attr("class", "quiet")
      .attr("x", left)
      .attr("y", top)
      .attr("text-anchor", anchor)
      .text(text);
  for (const pitch of pitches) {
    line(MARGIN.left, y(pitch), place.x(place.end), y(pitch));
    label(MARGIN.left - 6, y(pitch) + 4, "end", pitchName(pitch));
  }
  for (const time of times) {
    line(x(time), MARGIN.top, x(time), place.bottom);
    label(x(time), place.bottom + 16, "start", named(time));
  }
}

/** The part that a key leads to from the chosen one, or null if there is none, or it is not ours. */
function stepped(key, { parts, chosen }) {
  const read = parts.filter(({ tokens }) => tokens.length > 0);
  const from = chosen ?? read[0];
  if (from === undefined) return null; // no note in the context
  const voice = read.filter((part) => part.voice === from.voice);
  const here = voice.indexOf(from);
  const together = read.filter(({ start, end }) => start < from.end && end > from.start);
  const sought = {
    ArrowLeft: () => voice[here - 1],
    ArrowRight: () => voice[here + 1],
    Home: () => voice[0],
    End: () => voice.at(-1),
    ArrowUp: () => d3.least(together.filter(({ pitch }) => pitch > from.pitch), (p) => p.pitch),
    ArrowDown: () => d3.greatest(together.filter(({ pitch }) => pitch < from.pitch), (p) => p.pitch),
  };
  if (!(key in sought)) return null;
  return (chosen === null ? from : sought[key]()) ?? null;
}
