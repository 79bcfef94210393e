// What changes or plays the piece: the model composes, a MIDI file is opened, oscillators sound.
import { element } from "../dom.js";
import { play } from "../music.js";
import { counted } from "../numbers.js";
import { slider } from "./slider.js";

const MOST_BYTES = 700_000; // of a MIDI file, as the server accepts it

const SLIDERS = [
  {
    id: "compose-words",
    name: "n_words",
    title: "Words to add",
    min: 16,
    max: 512,
    step: 8,
    start: 136,
    read: (input) => Number(input.value),
    say: String,
    hint: "a beat of a chorale has 17",
  },
  {
    id: "compose-temperature",
    name: "temperature",
    title: "Temperature",
    min: 0,
    max: 2,
    step: 0.05,
    start: 1,
    read: (input) => Number(input.value),
    say: (value) => (value === 0 ? "0 (likeliest)" : String(value)),
    hint: "below 1 plainer, above 1 bolder",
  },
];

/**
 * Fills `root`; what it composes becomes the session's text. `playing(seconds)` follows the sound,
 * with null at its end.
 * @returns {{take: (notes: object[]) => void}} take gives it the notes of the piece
 */
export function composer(root, { backend, session }, playing) {
  const button = (text, onclick) => element("button", { type: "button", text, onclick });
  const status = element("p", { class: "small", role: "status" });
  const error = element("p", { class: "failure", role: "alert" });
  const undone = []; // texts before each change that was made here
  let notes = [];
  let stop = null;

  /** Runs one request at a time, whose answer `{text}` becomes the piece. */
  async function change(doing, ask, said) {
    for (const each of busy) each.disabled = true;
    status.textContent = doing;
    error.textContent = "";
    try {
      const answer = await ask();
      undone.push(session.text);
      session.set({ text: answer.text });
      status.textContent = said(answer);
    } catch (failure) {
      status.textContent = "";
      error.textContent = failure.message;
    }
    for (const each of busy) each.disabled = false;
    undo.disabled = undone.length === 0;
  }
  const compose = (text) => {
    const settings = Object.fromEntries(sliders.map((each) => [each.name, each.read()]));
    const seed = Math.floor(Math.random() * 2 ** 32);
    const { checkpoint } = session;
    return change(
      "The model composes…",
      () => backend.compose({ text, checkpoint, seed, ...settings }),
      ({ is_ended }) => (is_ended ? "The model has ended the piece." : "Composed."),
    );
  };
  const open = async ([file]) => {
    if (!file) return;
    if (file.size > MOST_BYTES) {
      const [size, most] = [file.size, MOST_BYTES].map((bytes) => counted(bytes, "byte"));
      error.textContent = `${file.name} has ${size}; the page opens files of up to ${most}.`;
      return;
    }
    const { checkpoint } = session;
    await change(
      `Opening ${file.name}…`,
      async () => backend.midi({ checkpoint, name: file.name, data: await base64(file) }),
      ({ n_cut }) =>
        n_cut === 0
          ? `${file.name} is opened.`
          : `The beginning of ${file.name} is opened: the context has no room for ` +
            `${counted(n_cut, "word")} at its end.`,
    );
  };
  const end = () => {
    stop = null;
    sound.textContent = "Play";
    playing(null);
  };
  const sound = button("Play", () => {
    if (stop !== null) return stop();
    sound.textContent = "Stop";
    stop = play(notes, playing, end);
  });
  const undo = button("Undo", () => {
    session.set({ text: undone.pop() });
    undo.disabled = undone.length === 0;
    status.textContent = "";
  });
  const file = element("input", {
    type: "file",
    id: "midi",
    accept: ".mid,.midi",
    onchange: async () => {
      await open([...file.files]);
      file.value = ""; // so that the same file can be opened again
    },
  });
  const busy = [
    button("Continue the piece", () => compose(session.text)),
    button("New piece", () => compose("")),
    undo,
    file,
  ];
  undo.disabled = true;
  const sliderBox = element("div", { class: "columns even" });
  const sliders = SLIDERS.map((settings) => slider(sliderBox, settings, () => {}));
  root.append(
    sliderBox,
    element("div", { class: "row" }, ...busy.slice(0, 3), sound),
    status,
    error,
    element("div", { class: "row" }, element("label", { for: "midi", text: "Open a MIDI file" }), file),
  );
  return {
    take(all) {
      if (all !== notes && stop !== null) stop(); // what sounds is no longer what is shown
      notes = all;
      sound.disabled = notes.length === 0;
    },
  };
}

/** A file's bytes as the server reads them. */
function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read: ${reader.error.message}`));
    reader.readAsDataURL(file);
  });
}
