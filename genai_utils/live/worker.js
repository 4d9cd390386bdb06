// The worker of a page: ONNX Runtime Web, the graphs of the models that are in use, and the programs that run them.
// tools/live.py puts tensors.js, random.js and the families' programs before this text. Nothing is fetched here.
class Refused extends Error {
  constructor(field, message) { super(message); this.field = field; }
}

const unpack = async (parts) => {                       // base64 of gzip, in parts
  const bytes = Uint8Array.from(atob(parts.join("")), (c) => c.charCodeAt(0));
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
};

let ort = null;
const models = new Map(), runs = new Map();

const operations = {
  async runtime({ script, wasm }) {
    const address = URL.createObjectURL(new Blob([await unpack(script)], { type: "text/javascript" }));
    ort = await import(address);
    URL.revokeObjectURL(address);
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: (await unpack(wasm)).buffer });
  },

  async model({ name, facts, graphs }) {                // a further act of a model brings further graphs
    if (!models.has(name)) {
      const sessions = {}, run = async (key, inputs) => {
        const feeds = Object.fromEntries(Object.entries(inputs).map(([k, t]) => [k, new ort.Tensor(t.type, t.data, t.dims)]));
        const found = await sessions[key].run(feeds);
        return Object.fromEntries(Object.entries(found).map(([k, t]) => [k, { data: t.data, dims: [...t.dims], type: t.type }]));
      };
      models.set(name, { run, sessions, facts: JSON.parse(new TextDecoder().decode(await unpack(facts))) });
    }
    const { sessions } = models.get(name);
    for (const [key, parts] of Object.entries(graphs)) {
      sessions[key] ??= await ort.InferenceSession.create(await unpack(parts), { executionProviders: ["wasm"] });
    }
  },

  start({ name, act, inputs, run }) {
    const model = models.get(name);
    runs.set(run, programs[name][act](model.run, model.facts, inputs));
  },

  async next({ run }) {
    const before = performance.now(), step = await runs.get(run).next();
    if (step.done) runs.delete(run);
    return { done: step.done, value: step.value, ms: performance.now() - before };
  },

  stop({ run }) { runs.delete(run); },

  async free({ name }) {
    for (const session of Object.values(models.get(name)?.sessions ?? {})) await session.release();
    models.delete(name);
  },
};

let turn = Promise.resolve();                           // one at a time: the runtime has one thread
onmessage = ({ data: { id, operation, ...rest } }) => {
  turn = turn.then(async () => {
    try {
      postMessage({ id, answer: await operations[operation](rest) });
    } catch (error) {
      postMessage({ id, error: error.message, field: error.field });
    }
  });
};
