// Numbers as text, each with its unit.

const SPACE = "\u00a0";

/** 0.1234 is "12.3 %"; small shares keep a digit that is not 0, down to 0.001 %. */
export function percent(share) {
  const value = 100 * share;
  if (value === 0) return `0${SPACE}%`;
  if (value < 0.001) return `<0.001${SPACE}%`;
  return `${value.toFixed(value >= 1 ? 1 : value >= 0.1 ? 2 : 3)}${SPACE}%`;
}

/** 3.21 is "3.21 bits". */
export function bits(value) {
  return `${value.toFixed(2)}${SPACE}bits`;
}

/** 124439808 is "124,439,808". */
export function count(value) {
  return value.toLocaleString("en");
}

/** "1 token", "1,024 tokens". */
export function counted(value, noun) {
  return `${count(value)}${SPACE}${noun}${value === 1 ? "" : "s"}`;
}

/** [226, 128] is "E2 80". */
export function hexadecimal(bytes) {
  return bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
}
