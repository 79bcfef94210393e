// Tokens as people see, hear and append them.
import { element } from "./dom.js";
import { hexadecimal } from "./numbers.js";

/** Text of the token that ends a document. As text it would be read as ordinary characters. */
export const END_OF_TEXT = "<|endoftext|>";

const SIGNS = new Map([
  [" ", ["·", "space"]],
  ["\n", ["↵", "newline"]],
  ["\t", ["⇥", "tab"]],
  ["\r", ["␍", "carriage return"]],
  ["\u00a0", ["⍽", "no-break space"]],
]);

/** Characters that one cannot see: separators, controls, formats. */
const UNSEEN = /[\p{Z}\p{C}]/u;

/** Text of tokens' bytes one after another, or null if they end or begin within a character. */
export function decoded(tokens) {
  const bytes = new Uint8Array(tokens.flatMap((token) => token.bytes));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/**
 * Pieces `{shown, said}` of a token; `said` is null for characters that stand for themselves. A
 * space is ·, a newline ↵, another unseen character its code, part of a character its bytes, and a
 * special token its name.
 */
export function pieces(token) {
  const name = specialName(token);
  if (name !== null) return [{ shown: `⟨${name}⟩`, said: name }];
  const text = decoded([token]);
  const found = (text === null ? charactersAndBytes(token.bytes) : [...text]).map(piece);
  return found.length > 0 ? found : [{ shown: "∅", said: "nothing" }];
}

/** Name of a token that stands for no part of a text, as "<|extract|>" does; null of others. */
function specialName(token) {
  if (token.text === END_OF_TEXT) return "end of text";
  return token.bytes.length === 0 ? (/^<\|(.+)\|>$/.exec(token.text)?.[1] ?? null) : null;
}

/** ASCII characters, and runs of other bytes as lists. */
function charactersAndBytes(bytes) {
  const parts = [];
  for (const byte of bytes) {
    if (byte < 128) parts.push(String.fromCharCode(byte));
    else if (Array.isArray(parts.at(-1))) parts.at(-1).push(byte);
    else parts.push([byte]);
  }
  return parts;
}

function piece(part) {
  if (Array.isArray(part)) {
    const name = hexadecimal(part);
    return { shown: `⟨${name}⟩`, said: `${part.length === 1 ? "byte" : "bytes"} ${name}` };
  }
  const sign = SIGNS.get(part);
  if (sign) return { shown: sign[0], said: sign[1] };
  if (!UNSEEN.test(part)) return { shown: part, said: null };
  const code = `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return { shown: `⟨${code}⟩`, said: code };
}

/** A token in one line of text, every character visible. */
export function visible(token) {
  return pieces(token)
    .map((part) => part.shown)
    .join("");
}

/** A token for screen readers: "space cat", "newline", "bytes E2 80". */
export function spoken(token) {
  const words = pieces(token).map((part) => (part.said === null ? part.shown : ` ${part.said} `));
  return words.join("").replaceAll(/ +/g, " ").trim();
}

/** A span in which signs are fainter than other characters, and read aloud as what they stand for. */
export function tokenNode(token) {
  const parts = pieces(token).map(({ shown, said }) =>
    said === null
      ? shown
      : element("span", { class: "sign", role: "img", "aria-label": said, text: shown }),
  );
  return element("span", { class: "token" }, ...parts);
}

/**
 * The text with tokens appended, each after `separator`; null if they end within a character, which
 * no text can hold.
 */
export function appended(text, tokens, separator = "") {
  const ends = tokens.findLastIndex((token) => token.text === END_OF_TEXT);
  const added = tokens.slice(ends + 1);
  const before = ends < 0 ? text : "";
  if (separator === "") {
    const characters = decoded(added);
    return characters === null ? null : before + characters;
  }
  return [before, ...added.map(({ text: word }) => word)].filter(Boolean).join(separator);
}
