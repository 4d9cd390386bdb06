// A live model: stored answers; after the reader's click the page answers, or the kernel where there is one.
export default {
  async render({ model, el }) {
    const [alt, name, files, about] = ["alt", "name", "files", "about"].map((k) => model.get(k));
    const { root, show, close } = mount(model, el, "run-live");
    const content = document.documentElement.dataset.content_root;               // Sphinx sets it on every page
    const inBook = content !== undefined && Object.keys(files).length > 0;
    const backend = inBook ? pageBackend(new URL(`${content}_static/live/`, location.href).href, name, files)
      : content === undefined ? kernelBackend(model) : null;                     // a page without the files: stored only
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const status = node("p", { class: "gw-text", role: "status" });
    let live = false, busy = null, again = false, gone = false, loading = null, telling = 0;

    // ---- one panel for each act
    const acts = model.get("acts").map((act, a) => {
      const kept = model.get("answers")[a], planes = [...kept.maps], made = { ...act, note: "", frames: [] };
      made.controls = act.controls.map((c) => CONTROLS[c.kind](c, () => changed(), { map: c.kind === "plane" ? planes.shift() : null }));
      made.outputs = Object.fromEntries(act.outputs.map((o) => [o.name, OUTPUTS[o.kind](o)]));
      const own = Object.assign({}, ...act.controls.map((c) => ({ [c.name]: c.value, ...(c.at === undefined ? {} : { [`${c.name}_at`]: c.at }) })));
      const id = freshId(), presets = node("select", { id, change: () => made.preset(presets.selectedIndex) },
        ...act.presets.map((p) => node("option", {}, p.label)));
      const examples = node("div", { class: "gw-live-field", hidden: act.presets.length < 2 }, node("label", { for: id }, "example"), presets);
      made.start = node("button", { type: "button", hidden: true, click: () => ask() }, act.go ?? "");
      made.stop = node("button", { type: "button", hidden: true, click: () => busy?.abort("stop") }, "Stop");
      const film = slider("step to look at", { min: 0, max: 0 }, (k) => made.look(k));
      film.row.hidden = true;
      const shown = node("div", { class: "gw-live-outputs" }, ...Object.values(made.outputs).map((o) => o.element), film.row);
      made.panel = node("div", { class: "gw-live-act", hidden: a > 0 },
        node("div", { class: "gw-live-controls" }, examples, ...made.controls.map((c) => c.element),
          node("div", { class: "gw-live-go" }, made.start, made.stop)), shown);
      made.inputs = () => Object.assign({}, ...made.controls.map((c) => c.get()));
      /** Say a problem beside its field, or that there is none; false when no field has this name. */
      made.say = (problem) => {
        let told = false;
        act.controls.forEach((c, i) => { const mine = problem?.field === c.name; told ||= mine; made.controls[i].say(mine ? problem.message : null); });
        return told;
      };
      /** What is shown no longer belongs to what the controls say. */
      made.stale = (yes) => shown.classList.toggle("gw-stale", yes);
      made.look = (k) => { made.frames[k]?.(); film.set(k, `${k + 1} of ${made.frames.length}`); };
      /** A further step; without film the last one is all. `quiet` keeps it without showing it. */
      made.add = (draw, quiet = false) => {
        if (!act.film) made.frames.length = 0;
        made.frames.push(draw);
        film.input.max = made.frames.length - 1;
        film.row.hidden = made.frames.length < 2;
        if (!quiet) made.look(made.frames.length - 1);
      };
      /** Show a stored example, or have it answered anew. */
      made.preset = async (i) => {
        presets.selectedIndex = i;
        for (const c of made.controls) c.set({ ...own, ...act.presets[i].inputs });
        made.say(null);
        if (live && !act.go) return ask();
        await drop();
        const names = Object.keys(made.outputs), draws = await Promise.all(names.map((key) => made.outputs[key].stored(kept.presets[i][key])));
        made.frames.length = 0;
        draws[0].forEach((_, k) => made.add(() => draws.forEach((of) => of[k]()), k < draws[0].length - 1));
        made.stale(false);
        made.note = live ? "Stored example." : "";
        Object.assign(root.dataset, { preset: i, source: "stored" });
        root.answer = null;
        tell();
      };
      made.mine = () => { presets.selectedIndex = -1; };  // what the controls say is no longer an example
      made.enable = (yes) => {
        for (const c of made.controls) c.enable(yes);
        made.start.hidden = !yes || !act.go;
      };
      return made;
    });
    let now = acts[0];

    /** The line below: how things stand, and what to do next. */
    const tell = (text = null) => {
      clearTimeout(telling);
      const there = { page: `Now in this page: ${about}.`, kernel: "The chapter's own model answers from the kernel." }[backend?.place];
      const next = now.go ? `Set it up, then press \u201c${now.go}\u201d.` : "Change anything.";
      status.textContent = text ?? (live ? now.note || `${there} ${next}`
        : backend ? "What you see is stored in the page; the model is not loaded yet." : "What you see is stored in the page.");
    };
    const turn = async (act) => {
      again = false;
      await drop();
      now = act;
      for (const a of acts) a.panel.hidden = a !== now;
      root.dataset.act = now.key;
      label();
      if (!live) return tell();
      root.dataset.state = backend.place;
      run.hidden = backend.ready(now.key);
      if (!backend.ready(now.key)) return load();        // its graphs come when it is first used
      tell();
      if (!now.go) ask();
    };

    /** A control was moved. */
    const changed = () => {
      now.mine();
      if (live && !now.go) return ask();
      if (live) {
        if (wanted() && !busy) { now.stale(true); now.note = ""; tell(); }
        return;
      }
      const tile = now.controls.map((c) => c.tile?.()).find(Boolean);
      if (!tile) return;
      Object.values(now.outputs)[0].tile(tile);
      Object.assign(root.dataset, { value: tile.point.join(","), source: "tile" });
    };

    /** What the controls say; undefined when one of them complains, which then stands beside it. */
    const wanted = () => {
      try {
        const inputs = now.inputs();
        now.say(null);
        return inputs;
      } catch (problem) {
        if (!now.say(problem)) throw problem;
        now.stale(true);
      }
    };

    let ending = Promise.resolve();                      // settles when the answer under way has ended
    const drop = () => { busy?.abort("drop"); return ending; };

    /** Ask for an answer to what the controls say; of several wishes the newest counts. */
    const ask = () => {
      if (!live || gone) return;
      if (busy) { again = true; if (now.go) busy.abort("drop"); return; }
      if (!backend.ready(now.key)) return load();
      const inputs = wanted();
      if (!inputs) return;
      ending = answer(now, inputs, (busy = new AbortController()).signal).finally(() => {
        busy = null;
        if (again) { again = false; ask(); }
      });
    };
    const answer = async (act, inputs, signal) => {
      const began = performance.now(), quiet = calm.matches && act.go !== null;
      let last = null, steps = 0, ms = 0;
      act.stop.hidden = !act.go;
      root.dataset.busy = "true";
      if (act.go) tell("Running\u2026");
      try {
        for await (const step of backend.start(act.key, inputs)) {
          if (signal.aborted) break;
          const { value } = step, draw = () => { for (const [key, v] of Object.entries(value)) act.outputs[key].show(v); };
          if (!steps) { act.frames.length = 0; act.stale(false); }
          [last, steps, ms] = [value, steps + 1, Math.max(ms, step.ms ?? 0)];
          act.add(draw, quiet);
          root.answer = value;                           // for tests, and for the curious at the console
          root.dataset.steps = steps;
        }
        if (!last || signal.reason === "drop") return;
        act.look(act.frames.length - 1);
        for (const [key, v] of Object.entries(last)) act.outputs[key].finish?.(v);
        const seconds = ((performance.now() - began) / 1000).toFixed(1);
        if (act.go) act.note = signal.aborted ? "Stopped." : `Done in ${seconds} seconds.`;
        else summarise(act, last);
        Object.assign(root.dataset, { source: backend.place, done: +(root.dataset.done ?? 0) + 1, ms: ms.toFixed(1) });
        if (act === now && act.go) tell();
      } catch (error) {
        act.stale(true);
        if (!act.say(error)) { act.note = `The model could not answer: ${error.message}`; tell(); }
      } finally {
        if (document.activeElement === act.stop) act.start.focus();
        act.stop.hidden = true;
        root.dataset.busy = "false";
      }
    };
    /** Once the reader has paused: the answer in a few words, for those who listen. */
    const summarise = (act, value) => {
      clearTimeout(telling);
      telling = setTimeout(() => {
        const said = Object.entries(value).map(([key, v]) => act.outputs[key].say?.(v)).filter(Boolean)[0];
        if (said && act === now) tell(`Now: ${said}.`);
      }, 1200);
    };

    // ---- the click
    const run = node("button", { type: "button", class: "gw-live-run", click: () => load(), pointerenter: () => label(), focus: () => label() });
    const cancel = node("button", { type: "button", hidden: true, click: () => loading?.abort() }, "Cancel");
    const bar = node("progress", { max: 1, value: 0, hidden: true, "aria-label": "loading the model" });
    const label = () => {
      const mb = backend?.megabytes(now.key) ?? 0, size = mb ? ` (${mb.toFixed(1)} MB)` : "";
      run.textContent = `${backend?.place === "kernel" ? "Run the model in the kernel" : live ? "Load this part" : "Run the model here"}${size}`;
    };
    const load = async () => {
      if (loading) return;
      const signal = (loading = new AbortController()).signal, began = performance.now();
      const held = [run, cancel].includes(document.activeElement);
      let failed = null;
      bar.value = 0;
      bar.hidden = cancel.hidden = false;
      run.hidden = true;
      if (held) cancel.focus();
      root.dataset.state = "loading";
      tell("Loading the model\u2026");
      try {
        do await backend.load(now.key, signal, (share) => { bar.value = share; });
        while (!backend.ready(now.key));                 // the reader may have turned to another act meanwhile
        live = true;
        root.dataset.load = (performance.now() - began).toFixed(0);
      } catch (error) {
        failed = signal.aborted ? "Cancelled; what you see is stored in the page."
          : `This cannot run here (${error.message}). What you see is stored in the page; press the button to try again.`;
      }
      const focused = document.activeElement === cancel;
      loading = null;
      bar.hidden = cancel.hidden = true;
      run.hidden = failed === null;
      root.dataset.state = failed && !signal.aborted ? "failed" : live ? backend.place : "stored";
      if (gone) return backend.close();
      label();
      if (failed) {
        if (focused) run.focus();
        return tell(failed);
      }
      for (const a of acts) a.enable(true);
      now.note = "";
      tell();
      if (focused) (now.go ? now.start : now.panel.querySelector("input:not([type=hidden]):enabled, textarea, [tabindex='0']"))?.focus();
      if (!now.go) ask();
    };

    const chooser = choice("what to do", acts.map((a) => a.title), (i) => turn(acts[i]));
    const foot = node("div", { class: "gw-live-foot" }, ...(backend ? [run, cancel, bar] : []), status);
    root.append(...(acts.length > 1 ? [chooser.row] : []), ...acts.map((a) => a.panel), foot);
    chooser.set(0);
    for (const a of acts) { a.enable(false); await a.preset(0); }
    Object.assign(root.dataset, { state: "stored", act: now.key });
    label();
    tell();

    /** The widget left the page: its model, and with the last one the worker, are freed. */
    const leave = () => {
      if (gone) return;
      gone = true;
      clearTimeout(telling);
      loading?.abort();
      busy?.abort("drop");
      if (!loading) backend?.close();
      for (const a of acts) for (const o of Object.values(a.outputs)) o.close?.();
      close();
    };
    show();
    const watch = new MutationObserver(() => { if (!root.isConnected) { watch.disconnect(); leave(); } });
    if (inBook) watch.observe(document.body, { childList: true, subtree: true });
    return () => { watch.disconnect(); leave(); };
  },
};
