// The tokenizers of webtext_gpt/tokenizer/: GPT-2's byte-level BPE, and characters.

const UTF8 = new TextEncoder();
// A token may begin with a byte order mark, which is text.
const FROM_UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Make a tokenizer from what export.py wrote about it. */
export function makeTokenizer(rules) {
  return rules.kind === "bytes" ? new ByteTokenizer(rules) : new CharacterTokenizer(rules);
}

/** What both kinds share. `special` are tokens that stand for no part of a text. */
class Tokenizer {
  constructor({ tokens, special, end_of_text }) {
    this.tokens = tokens;
    this.special = new Set(special);
    this.end_of_text = end_of_text;
    this.ids = new Map(tokens.map((token, id) => [token, id]).filter(([, id]) => !this.special.has(id)));
  }

  /** A token: `{id, text, bytes}`; in the text, U+FFFD where bytes are not UTF-8. */
  token(id) {
    if (this.special.has(id)) return { id, text: this.tokens[id], bytes: [] };
    const bytes = this.bytesOf(this.tokens[id] ?? "");
    return { id, text: FROM_UTF8.decode(Uint8Array.from(bytes)), bytes };
  }
}

/** GPT-2's byte-level BPE (Radford et al. 2019, section 2.2). */
class ByteTokenizer extends Tokenizer {
  /**
   * @param rules `tokens`, the text of each id in GPT-2's alphabet of bytes; `special`, ids;
   *   `merges`, triples of ids in order of rank: left, right, merged; `letters`, `numbers` and
   *   `spaces`, pairs of the first and last code point of each range; `end_of_text`.
   */
  constructor(rules) {
    super(rules);
    this.bytes = bytesByCharacter();
    this.byteIds = [];
    for (const [character, byte] of this.bytes) this.byteIds[byte] = this.ids.get(character);
    // A pair of ids as one number, which a Map finds faster than text.
    this.pair = (left, right) => left * this.tokens.length + right;
    this.merges = new Map(
      rules.merges.map(([left, right, id], rank) => [this.pair(left, right), { rank, id }]),
    );
    this.pattern = gpt2Pattern(rules);
  }

  /** The token ids of a text. Throws where it holds half of a surrogate pair. */
  encode(text) {
    refuseHalves(text);
    return (text.match(this.pattern) ?? []).flatMap((piece) => this.#merged(UTF8.encode(piece)));
  }

  bytesOf(token) {
    return Array.from(token, (character) => this.bytes.get(character));
  }

  /** Merge the neighbours of the lowest rank, the leftmost first, until none is left. */
  #merged(bytes) {
    const ids = Array.from(bytes, (byte) => this.byteIds[byte]);
    const mergeAt = (i) => this.merges.get(this.pair(ids[i], ids[i + 1]));
    const ranks = ids.slice(1).map((_, i) => mergeAt(i)?.rank ?? Infinity); // of ids i and i + 1
    for (;;) {
      let best = 0;
      for (let i = 1; i < ranks.length; i++) if (ranks[i] < ranks[best]) best = i;
      if (!(ranks[best] < Infinity)) return ids;
      ids.splice(best, 2, mergeAt(best).id);
      ranks.splice(best, 1);
      for (const i of [best - 1, best]) {
        if (i >= 0 && i < ranks.length) ranks[i] = mergeAt(i)?.rank ?? Infinity;
      }
    }
  }
}

/** One id for each character of a vocabulary. */
class CharacterTokenizer extends Tokenizer {
  /** The token ids of a text. Throws where a character is not in the vocabulary. */
  encode(text) {
    refuseHalves(text);
    return Array.from(text, (character, position) => {
      const id = this.ids.get(character);
      if (id !== undefined) return id;
      throw new Error(
        `character ${position}, '${character}', is not one of the ${this.ids.size} characters ` +
          "of this vocabulary",
      );
    });
  }

  bytesOf(token) {
    return Array.from(UTF8.encode(token));
  }
}

/**
 * GPT-2's pattern, from the ranges of code points that the tokenizer was trained with: browsers
 * know other versions of Unicode, and their \s has U+FEFF and lacks U+0085.
 */
function gpt2Pattern({ letters, numbers, spaces }) {
  const written = (ranges) =>
    ranges.map((range) => range.map((c) => `\\u{${c.toString(16)}}`).join("-")).join("");
  const [L, N, S] = [letters, numbers, spaces].map(written);
  const pieces = `[${L}]+| ?[${N}]+| ?[^${S}${L}${N}]+|[${S}]+(?![^${S}])|[${S}]+`;
  return new RegExp(`'s|'t|'re|'ve|'m|'ll|'d| ?${pieces}`, "gu");
}

/** GPT-2's alphabet: a Map from a printable character to the byte that it stands for. */
function bytesByCharacter() {
  const isPrintable = (byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  const character = (byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++);
  return new Map(Array.from({ length: 256 }, (_, byte) => [character(byte), byte]));
}

function refuseHalves(text) {
  const position = text.search(/\p{Surrogate}/u);
  if (position < 0) return;
  const characters = Array.from(text.slice(0, position)).length;
  throw new Error(`character ${characters} is half of a surrogate pair and has no UTF-8 bytes`);
}
