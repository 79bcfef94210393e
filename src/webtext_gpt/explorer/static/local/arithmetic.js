// Vectors and matrices (row after row) as Float32Arrays.

const EPSILON = 1e-5; // of the normalizations, as NORM_EPSILON in gpt.py

/** A function to await in long loops: lets the page react to its reader 20 times a second. */
export function rests() {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < 50) return;
    await new Promise((resolve) => setTimeout(resolve));
    since = performance.now();
  };
}

/** exp(z) / sum of exp(z), in 64 bits. */
export function softmax(logits) {
  const greatest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, (z) => Math.exp(z - greatest));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/** Row `index` of a matrix with `width` columns, as a view. */
export function row(matrix, index, width) {
  return matrix.subarray(index * width, (index + 1) * width);
}

/** (rows, width) sines and cosines in turn (Vaswani et al. 2017, section 3.5). */
export function sinusoids(rows, width) {
  return Float32Array.from({ length: rows * width }, (_, index) => {
    const column = index % width;
    const angle = ((index - column) / width) * 10000 ** (-(column - (column % 2)) / width);
    return column % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}

/** Rotate values i and i + d/2 by the angle whose sine and cosine are 2i and 2i+1, in place. */
export function rotate(x, angles) {
  const half = x.length / 2;
  for (let i = 0; i < half; i++) {
    const [sin, cos] = [angles[2 * i], angles[2 * i + 1]];
    const [a, b] = [x[i], x[i + half]];
    x[i] = a * cos - b * sin;
    x[i + half] = a * sin + b * cos;
  }
}

/** Matrix (rows, x.length) times vector; four rows at a time, which is twice as fast as one. */
export function product(matrix, x) {
  const width = x.length;
  const y = new Float32Array(matrix.length / width);
  let r = 0;
  for (; r + 4 <= y.length; r += 4) {
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    for (let i = 0, at = r * width; i < width; i++, at++) {
      sum0 += matrix[at] * x[i];
      sum1 += matrix[at + width] * x[i];
      sum2 += matrix[at + 2 * width] * x[i];
      sum3 += matrix[at + 3 * width] * x[i];
    }
    y[r] = sum0;
    y[r + 1] = sum1;
    y[r + 2] = sum2;
    y[r + 3] = sum3;
  }
  for (; r < y.length; r++) {
    for (let i = 0; i < width; i++) y[r] += matrix[r * width + i] * x[i];
  }
  return y;
}

/** The sum of two arrays of the same length. */
export const sum = (a, b) => a.map((value, i) => value + b[i]);

/** The mean of an array. */
export const mean = (x) => x.reduce((a, b) => a + b, 0) / x.length;

/** (x - center), divided by the root of the mean of its squares. */
export function rescaled(x, center) {
  const squares = x.reduce((total, value) => total + (value - center) ** 2, 0);
  const scale = 1 / Math.sqrt(squares / x.length + EPSILON);
  return x.map((value) => (value - center) * scale);
}

/** erf(x) to 64 bits: exp(-x^2) 2/sqrt(pi) sum of 2^n x^(2n+1) / (1 3 5 ... (2n+1)). */
export function errorFunction(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

/** Number of first items that two arrays share. */
export function commonLength(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return length;
}

/** Indices of the n largest values, the largest first; of equal ones the lower index first. */
export function largest(values, n) {
  const order = Uint32Array.from(values, (_, index) => index);
  return Array.from(order.sort((a, b) => values[b] - values[a] || a - b).subarray(0, n));
}
