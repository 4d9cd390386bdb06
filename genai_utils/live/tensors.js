// Arrays with a shape, and the few operations that the programs need. Graphs take and give such arrays.
const size = (dims) => dims.reduce((a, b) => a * b, 1);
const tensor = (data, dims = [data.length], type = "float32") => {
  if (data.length !== size(dims)) throw new Error(`${data.length} numbers do not fit ${dims}`);
  return { data: type === "int64" ? BigInt64Array.from(data, (v) => BigInt(v)) : Float32Array.from(data), dims, type };
};
const zeros = (...dims) => ({ data: new Float32Array(size(dims)), dims, type: "float32" });
const whole = (data, ...dims) => tensor(data, dims.length ? dims : [data.length], "int64");
/** A tensor made number by number from others of the same shape. */
const map = (f, first, ...more) =>
  ({ data: Float32Array.from(first.data, (v, i) => f(v, ...more.map((t) => t.data[i]))), dims: first.dims, type: "float32" });
const clip = (v, lo = -1, hi = 1) => Math.min(hi, Math.max(lo, v));
/** Tensors (1, ...) or (n, ...) joined along the first axis. */
const stack = (...parts) => {
  const data = new Float32Array(parts.reduce((n, t) => n + t.data.length, 0));
  let at = 0;
  for (const part of parts) { data.set(part.data, at); at += part.data.length; }
  return { data, dims: [parts.reduce((n, t) => n + t.dims[0], 0), ...parts[0].dims.slice(1)], type: "float32" };
};
/** The i-th entry along the first axis. */
const row = (t, i) => {
  const n = size(t.dims.slice(1));
  return { data: t.data.slice(i * n, (i + 1) * n), dims: t.dims.slice(1), type: t.type };
};
const softmax = (logits, temperature = 1) => {
  const top = Math.max(...logits), e = Array.from(logits, (v) => Math.exp((v - top) / temperature));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
};
const argmax = (values) => values.reduce((best, v, i) => (v > values[best] ? i : best), 0);
/** Entries from ... to - 1 along the first axis. */
const rows = (t, from, to) => {
  const n = size(t.dims.slice(1));
  return { data: t.data.slice(from * n, to * n), dims: [to - from, ...t.dims.slice(1)], type: t.type };
};
/** Points (weights.length, Z) on the arc from a to b around the origin: a at weight 0, b at weight 1. */
const sphericalPath = (a, b, weights) => {
  const norm = (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0)), [p, q] = [a, b].map((t) => Array.from(t.data));
  const [u, v] = [p, q].map((x) => { const n = norm(x); return x.map((y) => y / n); });
  const angle = 2 * Math.atan2(norm(u.map((x, i) => x - v[i])), norm(u.map((x, i) => x + v[i])));
  const share = (w) => (angle < 1e-6 ? w : Math.sin(w * angle) / Math.sin(angle));
  return tensor(weights.flatMap((w) => p.map((x, i) => share(1 - w) * x + share(w) * q[i])), [weights.length, p.length]);
};
/** Refuses a number beyond [low, high], or, with n, a list of other than n numbers within; whole ones if asked. */
const checkInput = (field, value, low, high, { whole = false, n = null } = {}) => {
  if (n !== null && value.length !== n) {
    throw new Refused(field, `${field} must be ${n} numbers, got ${value.length}: give one for each place`);
  }
  for (const v of n === null ? [value] : value) {
    if (typeof v === "number" && v >= low && v <= high && !(whole && v % 1)) continue;
    throw new Refused(field, `${field} must be a ${whole ? "whole " : ""}number from ${low} to ${high}, got ${v}: choose one of these`);
  }
};
const checkSeed = (field, value) => checkInput(field, value, 0, 2 ** 32 - 1, { whole: true });
