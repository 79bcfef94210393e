// The forward pass of webtext_gpt/model/gpt.py in plain JavaScript, with every option of GPTConfig.
//
// A decoder is causal: what a position computes never depends on later ones. So positions are
// computed one after another, and those that a new text shares with the one before are kept.
// Values are stored in 32 bits, as in PyTorch; sums are accumulated in JavaScript's 64 bits.

import { commonLength, errorFunction, mean, product, rescaled } from "./arithmetic.js";
import { rests, rotate, row, sinusoids, softmax, sum } from "./arithmetic.js";

const ACTIVATIONS = {
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu: (x) => 0.5 * x * (1 + errorFunction(x / Math.SQRT2)),
  relu: (x) => Math.max(x, 0),
  relu_squared: (x) => Math.max(x, 0) ** 2,
};

/**
 * A language model.
 *
 * `run` returns a trace, the state of every position: `ids`; `streams`, the residual stream after
 * the embedding and after each block, n_layer + 1 arrays (T, n_embd); `queries`, `keys` and
 * `values` as attention uses them, n_layer arrays (T, n_embd) each; `units`, the MLP's hidden
 * layer after its activation function, n_layer arrays (T, 4 n_embd).
 */
export class GPT {
  /** @param config fields of GPTConfig  @param weights Map from names in gpt.py to Float32Array */
  constructor(config, weights) {
    this.config = config;
    this.weights = weights;
    this.headWidth = config.n_embd / config.n_head;
    this.encodings = this.#positionTable();
  }

  /** The trace of token ids; positions that agree with an earlier trace are copied from it. */
  async run(ids, before = null) {
    const { n_layer, n_embd } = this.config;
    const kept = before === null ? 0 : commonLength(before.ids, ids);
    if (kept === ids.length && kept === before?.ids.length) return before;
    const arrays = (name, count, width) =>
      Array.from({ length: count }, (_, layer) => {
        const values = new Float32Array(ids.length * width);
        if (kept > 0) values.set(before[name][layer].subarray(0, kept * width));
        return values;
      });
    const trace = {
      ids,
      streams: arrays("streams", n_layer + 1, n_embd),
      queries: arrays("queries", n_layer, n_embd),
      keys: arrays("keys", n_layer, n_embd),
      values: arrays("values", n_layer, n_embd),
      units: arrays("units", n_layer, 4 * n_embd),
    };
    const rest = rests();
    for (let position = kept; position < ids.length; position++) {
      this.#compute(trace, position);
      await rest();
    }
    return trace;
  }

  /** Logits of the next token after one position's residual stream (n_embd): (vocab_size). */
  logits(stream) {
    const { norm, logits_soft_cap: cap } = this.config;
    const hidden = norm === "pre" ? this.#normalized(stream, "ln_f") : stream;
    const logits = product(this.#output, hidden);
    return cap === null ? logits : logits.map((z) => cap * Math.tanh(z / cap));
  }

  /** What one head gives each position up to `position`: scores and weights (position + 1). */
  attention(trace, layer, head, position) {
    const { n_embd } = this.config;
    const width = this.headWidth;
    const first = head * width;
    const query = trace.queries[layer].subarray(position * n_embd + first);
    const keys = trace.keys[layer];
    const scores = new Float32Array(position + 1);
    for (let seen = 0; seen <= position; seen++) {
      const start = seen * n_embd + first;
      let sum = 0;
      for (let i = 0; i < width; i++) sum += query[i] * keys[start + i];
      scores[seen] = sum / Math.sqrt(width);
    }
    return { scores, weights: softmax(scores) };
  }

  /** The sum of a head's values by its weights: (head width). */
  headOutput(trace, layer, head, weights) {
    const { n_embd } = this.config;
    const width = this.headWidth;
    const values = trace.values[layer];
    const output = new Float64Array(width);
    for (let seen = 0; seen < weights.length; seen++) {
      const start = seen * n_embd + head * width;
      for (let i = 0; i < width; i++) output[i] += weights[seen] * values[start + i];
    }
    return output;
  }

  /**
   * Logits (vocab_size) that a unit of a block's MLP adds if it goes straight to the output. The
   * last normalization is taken as linear, without its division by the stream's size.
   */
  promoted(layer, unit) {
    const { n_layer, n_embd, norm, norm_type } = this.config;
    const columns = this.weights.get(`blocks.${layer}.mlp.c_proj.weight`);
    const column = Float32Array.from({ length: n_embd }, (_, i) => columns[4 * n_embd * i + unit]);
    const center = norm_type === "layer" ? mean(column) : 0;
    const gain = this.weights.get(norm === "pre" ? "ln_f.weight" : `blocks.${n_layer - 1}.ln_2.weight`);
    return product(this.#output, column.map((value, i) => (value - center) * (gain?.[i] ?? 1)));
  }

  /** Cosine of each token's input embedding and that of `id`: (vocab_size). */
  similarities(id) {
    const { n_embd } = this.config;
    const embeddings = this.weights.get("wte.weight");
    const length = (other) => Math.max(Math.hypot(...row(embeddings, other, n_embd)), 1e-12);
    const own = length(id);
    const products = product(embeddings, row(embeddings, id, n_embd));
    return products.map((value, other) => value / (own * length(other)));
  }

  #compute(trace, position) {
    const { n_layer, norm, residual_scalars } = this.config;
    const embedded = this.#embedded(trace.ids[position], position);
    const keep = (array, values) => array.set(values, position * values.length);
    keep(trace.streams[0], embedded);
    let x = embedded;
    for (let layer = 0; layer < n_layer; layer++) {
      const block = `blocks.${layer}`;
      if (residual_scalars) {
        const [a, b] = this.weights.get("residual_scalars").subarray(2 * layer);
        x = x.map((value, i) => a * value + b * embedded[i]);
      }
      const attention = (input) => this.#attended(trace, layer, position, input);
      const mlp = (input) => {
        const units = this.#linear(input, `${block}.mlp.c_fc`).map(this.#activation);
        keep(trace.units[layer], units);
        return this.#linear(units, `${block}.mlp.c_proj`);
      };
      if (norm === "pre") {
        x = sum(x, attention(this.#normalized(x, `${block}.ln_1`)));
        x = sum(x, mlp(this.#normalized(x, `${block}.ln_2`)));
      } else {
        x = this.#normalized(sum(x, attention(x)), `${block}.ln_1`);
        x = this.#normalized(sum(x, mlp(x)), `${block}.ln_2`);
      }
      keep(trace.streams[layer + 1], x);
    }
  }

  #embedded(id, position) {
    const { n_embd, scale_embeddings, positions } = this.config;
    let x = row(this.weights.get("wte.weight"), id, n_embd);
    if (scale_embeddings) x = x.map((value) => value * Math.sqrt(n_embd));
    return positions === "rotary" ? x.slice() : sum(x, row(this.encodings, position, n_embd));
  }

  #attended(trace, layer, position, input) {
    const { n_embd, n_head, qk_norm, positions } = this.config;
    const name = `blocks.${layer}.attn`;
    const projected = this.#linear(input, `${name}.c_attn`);
    let [query, key, value] = [0, 1, 2].map((part) => row(projected, part, n_embd));
    const added = this.weights.get(`value_embeddings.${layer}.weight`);
    if (added) value = sum(value, row(added, trace.ids[position], n_embd));
    for (let head = 0; head < n_head; head++) {
      for (const part of [query, key].map((all) => row(all, head, this.headWidth))) {
        if (qk_norm) part.set(rescaled(part, 0));
        if (positions === "rotary") rotate(part, row(this.encodings, position, part.length));
      }
    }
    trace.queries[layer].set(query, position * n_embd);
    trace.keys[layer].set(key, position * n_embd);
    trace.values[layer].set(value, position * n_embd);
    const output = new Float32Array(n_embd);
    for (let head = 0; head < n_head; head++) {
      const { weights } = this.attention(trace, layer, head, position);
      output.set(this.headOutput(trace, layer, head, weights), head * this.headWidth);
    }
    return this.#linear(output, `${name}.c_proj`);
  }

  /** (vocab_size, n_embd); tied to the embedding if the model has no other. */
  get #output() {
    return this.weights.get("lm_head.weight") ?? this.weights.get("wte.weight");
  }

  get #activation() {
    return ACTIVATIONS[this.config.activation];
  }

  #linear(x, name) {
    const bias = this.weights.get(`${name}.bias`);
    const y = product(this.weights.get(`${name}.weight`), x);
    return bias ? sum(y, bias) : y;
  }

  #normalized(x, name) {
    const gain = this.weights.get(`${name}.weight`);
    const bias = this.weights.get(`${name}.bias`);
    const y = rescaled(x, this.config.norm_type === "layer" ? mean(x) : 0);
    if (gain) y.forEach((value, i) => (y[i] = value * gain[i]));
    return bias ? sum(y, bias) : y;
  }

  #positionTable() {
    const { positions, block_size, n_embd } = this.config;
    if (positions === "learned") return this.weights.get("wpe.weight");
    return sinusoids(block_size, positions === "rotary" ? this.headWidth : n_embd);
  }
}
