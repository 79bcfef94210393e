// Computes in the page what HttpBackend asks the server for, with the model that the page holds.
import { commonLength, largest, rests, row, softmax } from "./arithmetic.js";
import { GPT } from "./model.js";
import { probabilities } from "./sampling.js";
import { makeTokenizer } from "./tokenizer.js";

const VIEWS = [
  ...["next", "tree", "tokens", "attention", "heads", "head", "lens", "units", "positions"],
  "neighbours",
];

const MOST_CHARACTERS = 100_000;

/** The model inside this page; its methods and results are those of HttpBackend. */
export class LocalBackend {
  #trace = null;
  #queue = Promise.resolve();
  #surprises = { ids: [], bits: [] };

  /**
   * @param described what `model` returns  @param rules see makeTokenizer
   * @param weights Map from names in gpt.py to Float32Array
   */
  constructor(described, rules, weights) {
    this.described = { ...described, views: VIEWS };
    this.tokenizer = makeTokenizer(rules);
    this.gpt = new GPT(described.config, weights);
  }

  async model() {
    return this.described;
  }

  async next({ text, n = 10, temperature = 1, top_k = null, top_p = null }) {
    const { trace, n_cut } = await this.#read(text);
    const logits = this.#lastLogits(trace);
    const all = probabilities(logits, { temperature, top_k, top_p });
    const tokens = largest(logits, n).map((id, index) => ({
      ...this.#likely(id, all),
      rank: index + 1,
    }));
    return { tokens, n_tokens: trace.ids.length, n_cut };
  }

  /** Where the context is full, the first tokens of the text are left out below the first level. */
  async tree({ text, width = 3, depth = 3 }) {
    const grow = async (logits, trace, joint, levels) => {
      const all = softmax(logits);
      const children = [];
      for (const id of largest(all, width)) {
        const child = { ...this.#likely(id, all), joint: joint * all[id], children: [] };
        if (levels > 1) {
          const longer = await this.gpt.run([...trace.ids, id], trace);
          child.children = await grow(this.#lastLogits(longer), longer, child.joint, levels - 1);
        }
        children.push(child);
      }
      return children;
    };
    const { trace } = await this.#read(text);
    const room = this.gpt.config.block_size - (depth - 1);
    const shorter = await this.gpt.run(trace.ids.slice(-room), trace);
    return { children: await grow(this.#lastLogits(trace), shorter, 1, depth) };
  }

  async tokens({ text }) {
    const { trace, n_cut } = await this.#read(text);
    const surprises = await this.#bits(trace);
    const tokens = Array.from(trace.ids, (id, index) => ({
      ...this.tokenizer.token(id),
      surprise: index === 0 ? null : surprises[index],
    }));
    const bits = tokens.reduce((total, token) => total + (token.surprise ?? 0), 0);
    const bytes = tokens.slice(1).reduce((total, token) => total + token.bytes.length, 0);
    return { tokens, bits, bytes, bits_per_byte: bytes === 0 ? null : bits / bytes, n_cut };
  }

  async attention({ text, layer, head }) {
    const { trace } = await this.#read(text);
    const { n_layer, n_head } = this.gpt.config;
    check("layer", layer, n_layer);
    if (head !== null) check("head", head, n_head);
    const heads = head === null ? Array.from({ length: n_head }, (_, index) => index) : [head];
    const size = trace.ids.length;
    const weights = new Float32Array((size * (size + 1)) / 2);
    for (let position = 0, start = 0; position < size; start += ++position) {
      for (const one of heads) {
        const attended = this.gpt.attention(trace, layer, one, position).weights;
        attended.forEach((weight, i) => (weights[start + i] += weight / heads.length));
      }
    }
    return { size, weights };
  }

  async heads({ text, position }) {
    const trace = await this.#readAt(text, position);
    const { n_layer, n_head } = this.gpt.config;
    const weights = new Float32Array(n_layer * n_head * (position + 1));
    for (let index = 0; index < n_layer * n_head; index++) {
      const layer = Math.floor(index / n_head);
      const attended = this.gpt.attention(trace, layer, index % n_head, position).weights;
      row(weights, index, position + 1).set(attended);
    }
    return weights;
  }

  async head({ text, layer, head, position, n = 6 }) {
    const trace = await this.#readAt(text, position);
    const { n_layer, n_head, n_embd } = this.gpt.config;
    check("layer", layer, n_layer);
    check("head", head, n_head);
    const part = (arrays, at) => {
      const all = row(arrays[layer], at, n_embd);
      return Array.from(row(all, head, this.gpt.headWidth));
    };
    const { scores, weights } = this.gpt.attention(trace, layer, head, position);
    return {
      query: part(trace.queries, position),
      scale: 1 / Math.sqrt(this.gpt.headWidth),
      scores: Array.from(scores),
      weights: Array.from(weights),
      output: Array.from(this.gpt.headOutput(trace, layer, head, weights)),
      top: largest(weights, n).map((seen) => ({
        position: seen,
        score: scores[seen],
        weight: weights[seen],
        key: part(trace.keys, seen),
        value: part(trace.values, seen),
      })),
    };
  }

  async lens({ text, position, n = 5 }) {
    const trace = await this.#readAt(text, position);
    const next = trace.ids[position + 1] ?? null;
    const layers = trace.streams.map((stream, index) => {
      const x = row(stream, position, this.gpt.config.n_embd);
      const all = softmax(this.gpt.logits(x));
      return {
        name: index === 0 ? "embedding" : `block ${index}`,
        norm: Math.hypot(...x),
        tokens: largest(all, n).map((id) => this.#likely(id, all)),
        next_probability: next === null ? null : all[next],
      };
    });
    return { layers, next: next === null ? null : this.tokenizer.token(next) };
  }

  async units({ text, position, n = 8 }) {
    const trace = await this.#readAt(text, position);
    const width = 4 * this.gpt.config.n_embd;
    const layers = trace.units.map((all, layer) => {
      const activations = row(all, position, width);
      const units = largest(activations, n).map((unit) => ({
        unit,
        activation: activations[unit],
        promotes: largest(this.gpt.promoted(layer, unit), 3).map((id) => this.tokenizer.token(id)),
      }));
      return { units };
    });
    return { layers };
  }

  async positions() {
    const { positions: kind, block_size: rows } = this.gpt.config;
    const values = this.gpt.encodings;
    return { rows, columns: values.length / rows, kind, values };
  }

  async neighbours({ id, n = 12 }) {
    const { vocab_size, n_embd } = this.gpt.config;
    check("id", id, vocab_size);
    const similarities = this.gpt.similarities(id);
    const neighbours = largest(similarities, n + 1).filter((other) => other !== id).slice(0, n);
    const token = (other) => this.tokenizer.token(other);
    return {
      token: token(id),
      neighbours: neighbours.map((other) => ({ ...token(other), similarity: similarities[other] })),
    };
  }

  /** The trace of the end of a text that fits the context, and how many tokens were left out. */
  async #read(text) {
    if (text.length > MOST_CHARACTERS) {
      throw new Error(`the text has more than ${MOST_CHARACTERS} characters; shorten it`);
    }
    const ids = this.tokenizer.encode(text);
    if (ids.length === 0) ids.push(this.tokenizer.end_of_text); // a new document begins
    const n_cut = Math.max(0, ids.length - this.gpt.config.block_size);
    // One after another: the views ask at the same time, and the first computes for all.
    this.#queue = this.#queue.catch(() => {}).then(async () => {
      this.#trace = await this.gpt.run(ids.slice(n_cut), this.#trace);
      return this.#trace;
    });
    return { trace: await this.#queue, n_cut };
  }

  async #readAt(text, position) {
    const { trace } = await this.#read(text);
    check("position", position, trace.ids.length);
    return trace;
  }

  /** Surprise of each token of a trace by those before it, in bits; the first has none. */
  async #bits(trace) {
    const known = commonLength(this.#surprises.ids, trace.ids);
    const bits = this.#surprises.bits.slice(0, known);
    const rest = rests();
    for (let index = bits.length; index < trace.ids.length; index++) {
      if (index === 0) bits.push(null);
      else bits.push(-Math.log2(softmax(this.#logitsAfter(trace, index - 1))[trace.ids[index]]));
      await rest();
    }
    this.#surprises = { ids: trace.ids, bits };
    return bits;
  }

  #logitsAfter(trace, position) {
    return this.gpt.logits(row(trace.streams.at(-1), position, this.gpt.config.n_embd));
  }

  #lastLogits(trace) {
    return this.#logitsAfter(trace, trace.ids.length - 1);
  }

  #likely(id, all) {
    return { ...this.tokenizer.token(id), probability: all[id] };
  }
}

function check(name, value, count) {
  if (Number.isInteger(value) && value >= 0 && value < count) return;
  throw new Error(`${name} is ${value}, but must be a whole number from 0 to ${count - 1}`);
}
