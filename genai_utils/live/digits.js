// What becomes of a drawn picture before a model sees it: twin of digits.py.
const grey = (pixels) => tensor(Array.from(pixels, (v) => Math.fround(Math.fround(v / 127.5) - 1)), [1, 1, 28, 28]);
const binary = (pixels) => tensor(Array.from(pixels, (v) => (v > 127 ? 1 : -1)), [1, 1, 28, 28]);
