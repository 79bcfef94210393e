// Notes as people call them and as they sound.

const LETTERS = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const LOUDEST = 0.12; // of four voices at once, without distortion
const FADE = 0.02; // seconds; a note that begins or ends at once clicks

/** 60 is "C4", middle C. */
export function pitchName(pitch) {
  return `${LETTERS[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
}

/**
 * Plays `notes` `{start, end, pitch, velocity}`, times in seconds, with an oscillator each.
 * `onTime(seconds)` follows the place in the piece, and `onEnd()` the end or a stop.
 * @returns {() => void} stops it
 */
export function play(notes, onTime, onEnd) {
  const context = new AudioContext();
  const begin = context.currentTime + 0.1;
  const end = Math.max(...notes.map((note) => note.end));
  for (const note of notes) sound(context, note, begin);
  let frame = null;
  const stop = () => {
    cancelAnimationFrame(frame);
    context.close();
    onEnd();
  };
  const follow = () => {
    const now = context.currentTime - begin;
    if (now > end) return stop();
    onTime(Math.max(0, now));
    frame = requestAnimationFrame(follow);
  };
  follow();
  return stop;
}

function sound(context, { start, end, pitch, velocity }, begin) {
  const [from, to] = [begin + start, begin + end];
  const fade = Math.min(FADE, (to - from) / 2);
  const oscillator = new OscillatorNode(context, {
    type: "triangle",
    frequency: 440 * 2 ** ((pitch - 69) / 12),
  });
  const gain = new GainNode(context, { gain: 0 });
  gain.gain.setValueAtTime(0, from);
  gain.gain.linearRampToValueAtTime((LOUDEST * velocity) / 127, from + fade);
  gain.gain.setValueAtTime((LOUDEST * velocity) / 127, to - fade);
  gain.gain.linearRampToValueAtTime(0, to);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(from);
  oscillator.stop(to);
}
