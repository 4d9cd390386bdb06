// What the live models of text share: twin of text.py.
const glyphs = (name) => name.replaceAll(" ", "·").replaceAll("\n", "↵");

const checkedText = (field, text) => {
  if (!text) throw new Refused(field, "the text is empty: write at least one character");
  if (/\p{Cs}/u.test(text)) throw new Refused(field, "the text holds half of a character (a lone surrogate): delete it");
  return text;
};

const likeliest = (names, p, kept, after) =>
  p.map((_, k) => k).sort((a, b) => p[b] - p[a]).slice(0, 12).map((k) => [glyphs(names[k]), p[k], kept[k], after[k]]);
const grown = (prompt, written) => [[prompt, 0], [written, 1]];
