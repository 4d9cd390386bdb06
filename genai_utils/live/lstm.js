// Chapter 2 live: twin of lstm.py.
const readCharacters = async (run, { alphabet, state }, characters, found) => {
  found ??= { hidden: zeros(...state), cell: zeros(...state) };
  for (const c of characters) {
    found = await run("read", { token: whole([alphabet.indexOf(c)], 1, 1), h: found.hidden, c: found.cell });
  }
  return found;
};

const lstmPrompt = async (run, facts, prompt) => {
  const lines = checkedText("prompt", prompt).replaceAll("/", "\n");
  const unknown = [...new Set(lines)].filter((c) => !facts.alphabet.includes(c)), known = facts.alphabet.replace("\n", "/");
  if (unknown.length) throw new Refused("prompt", `it never read ${unknown.join(" ")}: its characters are ${known}`);
  return [lines, await readCharacters(run, facts, "\n\n" + lines)];
};

const characterShares = (logits, temperature) => {
  const best = argmax(logits);
  return temperature === 0 ? Array.from(logits, (_, k) => Number(k === best)) : softmax(logits, temperature);
};

programs.lstm = {
  async *next(run, facts, { prompt, temperature }) {
    const [, { logits }] = await lstmPrompt(run, facts, prompt), p = characterShares(logits.data, temperature);
    yield { next: likeliest([...facts.alphabet], p, p.map((v) => v > 0), p) };
  },

  async *write(run, facts, { prompt, temperature, characters: n, seed }) {
    const random = new SharedRandom(seed);
    let [lines, found] = await lstmPrompt(run, facts, prompt), written = "";
    while (written.length < n) {
      const p = characterShares(found.logits.data, temperature);
      written += facts.alphabet[temperature === 0 ? argmax(p) : random.pick(p)];
      if (written.length % 4 === 0 || written.length === n) {
        yield { text: grown(lines, written), figures: [["characters written", written.length, 0, `of ${n}`]] };
      }
      found = await readCharacters(run, facts, written.at(-1), found);
    }
  },
};
