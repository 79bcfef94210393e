// Weights as export.py writes them: float16, little-endian, in base64.

/** A Map from names to Float32Arrays. `shapes` are `[name, shape]` in the order of the data. */
export function readWeights(shapes, base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const values = Float32Array.from({ length: 1 << 16 }, (_, half) => float16(half));
  const weights = new Map();
  let at = 0;
  for (const [name, shape] of shapes) {
    const array = new Float32Array(shape.reduce((size, side) => size * side, 1));
    for (let i = 0; i < array.length; i++, at += 2) array[i] = values[bytes[at] | (bytes[at + 1] << 8)];
    weights.set(name, array);
  }
  return weights;
}

/** The value of a float16, given by its 16 bits (IEEE 754). */
function float16(half) {
  const sign = half >> 15 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
