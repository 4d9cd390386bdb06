// Chapter 5 live: twin of bert.py and of the WordPiece tokenizer.
/** {names, unk, cls, sep, mask, special, encode} of what WordPiece.to_dict gives, for small letters without accents. */
const wordPiece = (fields) => {
  const names = fields.names.split("\n"), token = new Map(names.map((name, k) => [name, k])), { specials } = fields;
  const [unk, cls, sep, mask] = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map((name) => token.get(name));
  const marks = new RegExp(`(${specials.map((name) => name.replace(/[[\]]/g, "\\$&")).join("|")})`);
  const ideograph = /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u;
  const clean = (c) => {                                // spaces around all that is a word of its own
    if (/[\t\n\r\p{Z}]/u.test(c)) return " ";
    if (/[\p{Cc}\p{Cf}\p{Co}\ufffd]/u.test(c)) return "";
    const bare = (ideograph.test(c) ? ` ${c} ` : c).normalize("NFD").replace(/\p{Mn}/gu, "");
    return Array.from(bare, (x) => x.toLowerCase()).join("").replace(/[\p{P}$+<=>^`|~]/gu, " $& ");
  };
  const pieces = (word) => {                            // always the longest name that fits; where none does, [UNK]
    const letters = [...word], tokens = [];
    for (let at = 0, end; at < letters.length; at = end) {
      for (end = letters.length; end > at; end--) {
        const k = token.get((at ? "##" : "") + letters.slice(at, end).join(""));
        if (k !== undefined) { tokens.push(k); break; }
      }
      if (end === at || letters.length > 100) return [unk];
    }
    return tokens;
  };
  const encode = (text) => text.split(marks).flatMap((part) => (specials.includes(part) ? [token.get(part)]
    : Array.from(part, clean).join("").split(" ").filter(Boolean).flatMap(pieces)));
  return { names, unk, cls, sep, mask, special: (part) => specials.includes(part), encode };
};

const withoutSigns = (tokenizer, part) => {
  const [, left, word, right] = part.match(/^([\p{P}$+<=>^`|~]*)(.*?)([\p{P}$+<=>^`|~]*)$/su);
  return !word || tokenizer.special(part) ? ["", part, ""] : [left, word, right];
};

const spaced = (name, n) => {
  if (n > 0 && name.startsWith("##")) return name.slice(2);
  return n === 0 || [".", ",", "!", "?"].includes(name) ? name : ` ${name}`;
};

programs.bert = {
  async *hide(run, facts, { sentence, sentence_at: at }) {
    const tokenizer = (facts.wordPiece ??= wordPiece(facts.tokenizer)), { names, encode } = tokenizer;
    const parts = checkedText("sentence", sentence).split(" ").filter(Boolean);
    if (!(at >= 0 && at < parts.length)) {
      throw new Refused("sentence", `there is no word ${at + 1} among ${parts.length}: choose one of the sentence`);
    }
    const [left, word, right] = withoutSigns(tokenizer, parts[at]);
    const before = encode([...parts.slice(0, at), left].join(" ")), after = encode([right, ...parts.slice(at + 1)].join(" "));
    const tokens = [tokenizer.cls, ...before, tokenizer.mask, ...after, tokenizer.sep], n = tokens.length;
    if (n > facts.length) {
      throw new Refused("sentence", `the sentence has ${n - 2} tokens and ${facts.length - 2} fit: shorten it`);
    }
    const { logits, looks } = await run("fill", { tokens: whole(tokens, 1, n), place: whole([before.length + 1]) });
    const p = softmax(logits.data), hidden = encode(word), [first] = hidden;
    const unknown = parts.filter((part) => encode(part).includes(tokenizer.unk));
    let figures = [], note = [];
    if (hidden.length === 1 && first !== tokenizer.unk) {
      const rank = p.filter((v) => v > p[first]).length + 1;
      figures = [[`share of “${word}”`, 100 * p[first], 2, "%"], ["its rank", rank, 0, `of ${names.length}`]];
    } else if (hidden.length) {
      note = [[`“${word}” is ${hidden.map((k) => names[k]).join(" ")} to it, so it cannot guess it. `, 0]];
    }
    if (unknown.length) note = [...note, ["Read as [UNK], wholly or in part:", 0], ...unknown.map((part) => [` ${part}`, 1])];
    yield {
      guesses: likeliest(names, p, p.map((v) => v > 0), p),
      looks: tokens.map((k, i) => [spaced(names[k], i), looks.data[i]]),
      figures, note,
    };
  },
};
