// Chapter 4 live: twin of gpt.py, of the ByteBPE tokenizer and of warp_logits.
/** {encode, decode, pieces, names} of what ByteBPE.to_dict gives, for a tokenizer without special tokens. */
const byteBPE = ({ merges }) => {
  const shown = (k) => /[!-~¡-¬®-ÿ]/.test(String.fromCharCode(k)), every = Array.from({ length: 256 }, (_, k) => k);
  let spare = 256;                                      // the bytes that are no printable character borrow one
  const chars = every.map((k) => String.fromCharCode(shown(k) ? k : spare++));
  const bytes = Object.fromEntries(chars.map((c, k) => [c, k])), rank = new Map(merges.split("\n").map((pair, i) => [pair, i]));
  const joined = [...rank.keys()].map((pair) => pair.replace(" ", ""));
  const order = [...every.filter(shown), ...every.filter((k) => !shown(k))].map((k) => chars[k]);
  const names = [...new Set([...order, ...joined])], token = new Map(names.map((name, k) => [name, k]));
  const text = (spelt, fatal = false) =>
    new TextDecoder("utf-8", { ignoreBOM: true, fatal }).decode(Uint8Array.from(spelt, (c) => bytes[c]));
  const merged = (piece) => {                           // the pair of lowest rank first, of equal ones the leftmost
    const parts = Array.from(new TextEncoder().encode(piece), (k) => chars[k]);
    for (;;) {
      let best = Infinity, at = 0;
      for (let i = 0; i + 1 < parts.length; i++) {
        const found = rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (found < best) [best, at] = [found, i];
      }
      if (best === Infinity) return parts.map((name) => token.get(name));
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
  };
  const S = "\\p{White_Space}", cut = new RegExp(
    `'(?:[stmd]|re|ve|ll)| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|${S}+(?!\\P{White_Space})|${S}+`, "gu");
  const encode = (string) => (string.match(cut) ?? []).flatMap(merged);
  const piece = (name) => {                             // a part of a character appears as \xe2
    try { return text(name, true); } catch { return Array.from(name, (c) => "\\x" + bytes[c].toString(16)).join(""); }
  };
  return {
    encode, names: names.map((name) => text(name)), decode: (tokens) => text(tokens.map((k) => names[k]).join("")),
    pieces: (string) => encode(string).map((k) => piece(names[k])),
  };
};

/** [p, p before the cuts]: twin of shares in gpt.py, in float64. */
const tokenShares = (logits, { temperature, top_k, top_p }) => {
  if (temperature === 0) {
    const best = argmax(logits), p = Array.from(logits, (_, k) => Number(k === best));
    return [p, p];
  }
  let scores = Array.from(logits, (v) => v / temperature);
  const before = softmax(scores);
  if (top_k && top_k < scores.length) {
    const least = [...scores].sort((a, b) => b - a)[top_k - 1];
    scores = scores.map((v) => (v < least ? -Infinity : v));
  }
  if (top_p < 1) {
    const p = softmax(scores), order = p.map((_, k) => k).sort((a, b) => p[b] - p[a]);
    let sum = 0;
    for (const k of order) {
      sum += p[k];
      if (sum - p[k] >= top_p) scores[k] = -Infinity;   // all that is likelier holds the share already
    }
  }
  return [softmax(scores), before];
};

const gptPrompt = (facts, prompt) => {
  const bpe = (facts.bpe ??= byteBPE(facts.tokenizer)), tokens = bpe.encode("\n" + checkedText("prompt", prompt));
  const n = tokens.length - 1, fit = facts.context - 1;
  if (n > fit) throw new Refused("prompt", `the prompt has ${n} tokens and ${fit} fit: shorten it`);
  return [bpe, tokens];
};

programs.gpt = {
  async *next(run, facts, inputs) {
    const [bpe, tokens] = gptPrompt(facts, inputs.prompt), empty = zeros(...facts.cache);
    const feeds = { tokens: whole(tokens, 1, tokens.length), past_keys: empty, past_values: empty };
    const { logits, looks } = await run("step", feeds);
    const [p, before] = tokenShares(logits.data, inputs), kept = p.map((v) => v > 0);
    const look = row(row(looks, inputs.layer), inputs.head).data;
    yield {
      next: likeliest(bpe.names, before, kept, p),
      looks: bpe.pieces("\n" + inputs.prompt).map((piece, i) => [piece, look[i]]),
    };
  },

  async *write(run, facts, inputs) {
    let [bpe, tokens] = gptPrompt(facts, inputs.prompt), found = { keys: zeros(...facts.cache), values: zeros(...facts.cache) };
    const n = tokens.length, [end] = bpe.encode("\n"), random = new SharedRandom(inputs.seed), written = [];
    const steps = Math.min(inputs.tokens, facts.context + 1 - n);
    while (written.length < steps && written.at(-1) !== end) {
      const feeds = { tokens: whole(tokens, 1, tokens.length), past_keys: found.keys, past_values: found.values };
      found = await run("step", feeds);
      const [p] = tokenShares(found.logits.data, inputs);
      written.push(inputs.temperature === 0 ? argmax(p) : random.pick(p));
      tokens = written.slice(-1);
      yield {
        text: grown(inputs.prompt, bpe.decode(written)),
        figures: [
          ["tokens written", written.length, 0, `of ${inputs.tokens}`],
          ["with the prompt", n + written.length, 0, `of ${facts.context + 1}`],
        ],
      };
    }
  },
};
