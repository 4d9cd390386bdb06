// Running a model: in the page (a worker with ONNX Runtime Web, loaded at the reader's click) or in the kernel.
// Both answer the same calls: start(act, inputs) -> steps, each of which is asked for when the one before was shown.

const MARK = Math.random().toString(36).slice(2, 8);    // several widgets of a page have this text, each its own ids
const freshId = () => `gw-live-${MARK}-${ids++}`;

/** The parts of one file, as strings: scripts, since a page that was opened from a folder may not fetch. */
const loadPart = (base, file) => new Promise((ok, no) => {
  const tag = node("script", { src: base + file, load: () => {
    tag.remove();
    const text = globalThis.genaiLive?.[file];
    if (text === undefined) return no(new Error(`${file} came without its content`));
    delete globalThis.genaiLive[file];
    ok(text);
  }, error: () => { tag.remove(); no(new Error(`${file} cannot be loaded`)); } });
  document.head.append(tag);
});

/** A worker that answers calls by number. One for the page; its models are counted by the widgets that use them. */
class PageWorker {
  constructor(source) {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(address);
    URL.revokeObjectURL(address);
    [this.waiting, this.users, this.loaded, this.id] = [new Map(), new Map(), new Set(), 0];
    this.worker.onmessage = ({ data }) => this.settle(data.id, data);
    this.worker.onerror = (e) => {
      for (const id of [...this.waiting.keys()]) this.settle(id, { error: e.message || "the worker could not start" });
    };
  }

  settle(id, { answer, error, field }) {
    const { ok, no } = this.waiting.get(id) ?? {};
    this.waiting.delete(id);
    if (error === undefined) ok?.(answer);
    else no?.(Object.assign(new Error(error), { field }));
  }

  call(operation, rest = {}) {
    return new Promise((ok, no) => {
      this.waiting.set(++this.id, { ok, no });
      this.worker.postMessage({ id: this.id, operation, ...rest });
    });
  }
}

const from64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const gunzip64 = (parts) =>
  new Response(new Blob([from64(parts.join(""))]).stream().pipeThrough(new DecompressionStream("gzip"))).text();

/** Files still to load, one after the other; says how many bytes of all have come, and stops when asked to. */
const loader = (base, wanted, signal, progress) => {
  const total = wanted.reduce((n, pack) => n + pack.bytes, 0);
  let come = 0;
  return async (pack) => {
    const parts = [];
    for (const file of pack.files) {
      parts.push(await loadPart(base, file));
      signal.throwIfAborted();
      progress((come += pack.bytes / pack.files.length) / total);
    }
    return parts;
  };
};

/** The worker of the page, made when there is none; whoever gets it counts as its user until release(). */
const pageWorker = async (read, { worker: source, script, wasm }) => {
  if (!globalThis.genaiWorker) {
    const made = new PageWorker(await gunzip64(await read(source)));
    try {
      await made.call("runtime", { script: await read(script), wasm: await read(wasm) });
    } catch (error) {
      made.worker.terminate();
      throw error;
    }
    if (globalThis.genaiWorker) made.worker.terminate(); // two widgets loaded at the same time: the first one stays
    else globalThis.genaiWorker = made;
  }
  return globalThis.genaiWorker;
};
const take = (mine, name) => mine.users.set(name, (mine.users.get(name) ?? 0) + 1);
/** The last user of a model frees it, the last model the worker. */
const release = (mine, name) => {
  const left = mine.users.get(name) - 1;
  mine.users.set(name, left);
  if (left) return;
  mine.users.delete(name);
  for (const key of [...mine.loaded]) if (key.startsWith(`${name}/`)) mine.loaded.delete(key);
  if (mine.users.size) return mine.call("free", { name });
  mine.worker.terminate();
  if (globalThis.genaiWorker === mine) globalThis.genaiWorker = undefined;
};

/** The page answers: `files` is the manifest's entry of this model and of the runtime. */
const pageBackend = (base, name, files) => {
  let worker = null;
  const need = (act) => {
    const there = globalThis.genaiWorker, known = there?.users.has(name);
    const graphs = files.acts[act].filter((key) => !there?.loaded.has(`${name}/${key}`));
    const packs = [...(there ? [] : Object.values(files.runtime)), ...(known ? [] : [files.facts]), ...graphs.map((key) => files.graphs[key])];
    return { graphs, packs };
  };
  return {
    place: "page",
    megabytes: (act) => need(act).packs.reduce((n, pack) => n + pack.bytes, 0) / 1e6,
    ready: (act) => worker !== null && need(act).graphs.length === 0,

    async load(act, signal, progress) {
      if (typeof WebAssembly === "undefined") throw new Error("this browser has no WebAssembly");
      if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old to unpack the files");
      const { graphs, packs } = need(act), read = loader(base, packs, signal, progress);
      const mine = await pageWorker(read, files.runtime), parts = {};
      if (worker !== mine) take(mine, name);
      try {
        const facts = await read(files.facts);
        for (const key of graphs) parts[key] = await read(files.graphs[key]);
        await mine.call("model", { name, facts, graphs: parts });
        for (const key of graphs) mine.loaded.add(`${name}/${key}`);
        signal.throwIfAborted();
      } catch (error) {
        if (worker !== mine) release(mine, name);
        throw error;
      }
      worker = mine;
    },

    async *start(act, inputs) {
      const mine = worker, run = `${name}-${act}-${mine.id}`;
      await mine.call("start", { name, act, inputs, run });
      try {
        for (;;) {
          const step = await mine.call("next", { run });
          if (step.done) return;
          yield step;
        }
      } finally {
        mine.call("stop", { run });
      }
    },

    close() {
      if (worker) release(worker, name);
      worker = null;
    },
  };
};

/** The kernel answers the same calls; Python's side is run_live.py. */
const kernelBackend = (model) => {
  const waiting = new Map();
  let id = 0, alive = false;
  const hear = (message, buffers) => {
    const value = Object.fromEntries(Object.entries(message.value ?? {}).map(([key, v]) => [key,
      v?.buffer === undefined ? v : { dims: v.dims, data: new Float32Array(bytes(buffers[v.buffer]).slice().buffer) }]));
    const { ok, no } = waiting.get(message.id) ?? {};
    waiting.delete(message.id);
    if (message.error === undefined) ok?.({ ...message, value });
    else no?.(Object.assign(new Error(message.error), { field: message.field }));
  };
  model.on("msg:custom", hear);
  const call = (operation, rest, seconds) => new Promise((ok, no) => {
    const mine = ++id, silent = () => { if (waiting.delete(mine)) no(new Error("no kernel answers")); };
    waiting.set(mine, { ok, no });
    try { model.send({ id: mine, operation, ...rest }); } catch { return silent(); }    // it has been shut down
    setTimeout(silent, 1000 * seconds);
  });
  return {
    place: "kernel",
    megabytes: () => 0,
    ready: () => alive,
    async load() { await call("ping", {}, 5); alive = true; },
    async *start(act, inputs) {
      const run = `${id}`;
      await call("start", { act, inputs, run }, 60);
      try {
        for (;;) {
          const step = await call("next", { run }, 600);
          if (step.done) return;
          yield step;
        }
      } finally {
        call("stop", { run }, 60).catch(() => {});
      }
    },
    close() { model.off("msg:custom", hear); },
  };
};
