// Chapter 3 live: twin of wavenet.py, and of the mu-law of genai_utils.data.
const muLawDecode = (codes, levels) => {
  const mu = levels - 1;
  return tensor(codes.map((k) => {
    const y = k * (2 / mu) - 1;
    return clip((Math.sign(y) * Math.expm1(Math.abs(y) * Math.log1p(mu))) / mu);
  }));
};

programs.wavenet = {
  async *play(run, { dilations, width: W, levels: V, rate }, { label, temperature, seconds, seed }) {
    const EVERY = 400, LONGEST = 1;
    if (!(temperature > 0)) {
      throw new Refused("temperature", `temperature must be above 0, got ${temperature}: 1 draws from the model`);
    }
    if (!(0 < seconds && seconds <= LONGEST)) {
      throw new Refused("seconds", `seconds must be in (0, ${LONGEST}], got ${seconds}: a note is a quarter of one`);
    }
    const random = new SharedRandom(seed), asked = whole([label]), past = zeros(dilations.length, W);
    const queues = dilations.map((d) => new Float32Array(d * W)), at = (i, l) => (i % dilations[l]) * W;
    const codes = [V], n = Math.ceil(seconds * rate - 1e-6);
    let bits = 0;
    for (let i = 0; i < n; i++) {
      queues.forEach((queue, l) => past.data.set(queue.subarray(at(i, l), at(i, l) + W), l * W));
      const { logits, read } = await run("sample", { code: whole([codes[i]]), label: asked, past });
      queues.forEach((queue, l) => queue.set(read.data.subarray(l * W, l * W + W), at(i, l)));
      codes.push(random.pick(softmax(logits.data, temperature)));
      bits -= Math.log2(softmax(logits.data)[codes[i + 1]]);
      if ((i + 1) % EVERY === 0 || i + 1 === n) {
        yield {
          sound: muLawDecode(codes.slice(1), V),
          figures: [["samples", i + 1, 0, `of ${n}`], ["bits a sample", bits / (i + 1), 2, ""]],
        };
      }
    }
  },
};
