// Controls of a live model. Each: { element, get() -> {name: value}, set(inputs), enable(yes), say(error) }.
// get() throws a Problem for what a program could not take; the message then stands beside the field.

class Problem extends Error {
  constructor(field, message) { super(message); this.field = field; }
}

/** The place beside a field where a problem is said. */
const complaint = (input) => {
  const id = freshId(), place = node("p", { class: "gw-problem", id, role: "alert" });
  return [place, (text) => {
    place.textContent = text ?? "";
    if (text) { input.setAttribute("aria-invalid", "true"); input.setAttribute("aria-describedby", id); }
    else { input.removeAttribute("aria-invalid"); input.removeAttribute("aria-describedby"); }
  }];
};

const CONTROLS = {
  slider({ name, label, min, max, step, digits }, changed) {
    const show = (v) => made.set(v, (+v).toFixed(digits));
    const made = slider(label, { min, max, step }, (v) => { show(v); changed(); });
    return { element: made.row, get: () => ({ [name]: +made.input.value }), set: (inputs) => show(inputs[name]),
      enable: (yes) => { made.input.disabled = !yes; }, say() {} };
  },

  choice({ name, label, options }, changed) {
    let at = 0;
    const made = choice(label, options, (i) => { at = i; changed(); });
    return { element: made.row, get: () => ({ [name]: at }), set: (inputs) => made.set((at = inputs[name])),
      enable: (yes) => { for (const e of made.row.querySelectorAll("input, select")) e.disabled = !yes; }, say() {} };
  },

  seed({ name, label }, changed) {
    const id = freshId();
    const input = node("input", { id, inputmode: "numeric", autocomplete: "off", size: 12, input: () => changed() });
    const next = node("button", { type: "button", click: () => {
      input.value = /^\d+$/.test(input.value.trim()) ? (+input.value + 1) % 2 ** 32 : 0;
      changed();
    } }, "Next seed");
    const [place, say] = complaint(input);
    return {
      element: node("div", { class: "gw-live-field" }, node("label", { for: id }, label), node("span", { class: "gw-live-seed" }, input, next), place),
      get() {
        const text = input.value.trim();
        if (/^\d+$/.test(text) && +text < 2 ** 32) return { [name]: +text };
        throw new Problem(name, `a seed is a whole number from 0 to ${2 ** 32 - 1}, got \u201c${text}\u201d`);
      },
      set: (inputs) => { input.value = inputs[name]; say(); },
      enable: (yes) => { input.disabled = next.disabled = !yes; },
      say,
    };
  },

  text({ name, label, longest, alphabet, words, at: first = 0 }, changed) {
    const id = freshId(), known = alphabet && new Set(alphabet);
    const input = node("textarea", { id, rows: 4, spellcheck: "false", autocomplete: "off", autocapitalize: "off",
      input: () => { choose(at); changed(); } });
    const [place, say] = complaint(input), row = node("div", { class: "gw-live-words", role: "group", "aria-label": `words of: ${label}` });
    let at = first, able = false;
    const choose = (i) => {                              // the words as buttons, the chosen one pressed
      const found = input.value.split(" ").filter(Boolean);
      at = Math.min(i, Math.max(0, found.length - 1));
      if (!words) return;
      row.replaceChildren(...found.map((word, k) => node("button", { type: "button", "aria-pressed": `${k === at}`, disabled: !able,
        click: () => { choose(k); row.children[k].focus(); changed(); } }, word)));
    };
    return {
      element: node("div", { class: "gw-live-field gw-live-text" }, node("label", { for: id }, label), input, place, ...(words ? [row] : [])),
      get() {
        const text = input.value, strange = known && [...new Set(text)].filter((c) => !known.has(c));
        if (!text.trim()) throw new Problem(name, "write something first: an empty text gives the model nothing to read");
        if (strange?.length) throw new Problem(name, `the model's alphabet has no ${strange.map((c) => `\u201c${c}\u201d`).join(", ")}; it knows ${[...alphabet].filter((c) => c.trim()).join("")}`);
        if (text.length > longest) throw new Problem(name, `at most ${longest} characters, got ${text.length}: shorten the text`);
        return words ? { [name]: text, [`${name}_at`]: at } : { [name]: text };
      },
      set(inputs) { input.value = inputs[name]; choose(inputs[`${name}_at`] ?? 0); say(); },
      enable(yes) { able = yes; input.readOnly = !yes; choose(at); },
      say,
    };
  },

  plane({ name, labels, reach, n }, changed, { map }) {
    const [W, H] = [map.width, map.height], fine = 100;
    const sheet = screen(n * W, n * H, Math.min(320, 2 * n * W));
    bitmap(map.data, map.mime).then((image) => sheet.pen.drawImage(image, 0, 0));
    sheet.canvas.setAttribute("aria-hidden", "true");
    const ring = svg("g", { fill: "none" }, svg("circle", { r: 8, stroke: "#000", "stroke-width": 5 }), svg("circle", { r: 8, stroke: "#fff", "stroke-width": 2 }));
    const pad = node("div", { class: "gw-pad", tabindex: 0, role: "application",
      "aria-label": `Map: drag, or use the arrow keys; ${labels[0]} across, ${labels[1]} upwards` }, sheet.canvas, svg("svg", {}, ring));
    let at = [0, 0], exact = false;
    const cell = (v) => clamp(((v / reach + 1) / 2) * (n - 1), 0, n - 1);        // in cells, 0 ... n-1
    const go = (x, y) => { place(x, y); changed(); };
    const rows = labels.map((label, i) => slider(label, { min: -reach * fine, max: reach * fine, step: 1 },
      (v) => go(...at.map((old, k) => (k === i ? v / fine : old)))));
    const place = (x, y) => {
      at = [x, y].map((v) => clamp(v, -reach, reach));
      const [w, h] = [sheet.canvas.clientWidth, sheet.canvas.clientHeight];
      ring.setAttribute("transform", `translate(${((cell(at[0]) + 0.5) / n) * w} ${((n - 0.5 - cell(at[1])) / n) * h})`);
      at.forEach((v, i) => rows[i].set(Math.round(v * fine), v.toFixed(2)));
      pad.setAttribute("aria-label", `Map, at ${at.map((v) => v.toFixed(2)).join(", ")}: drag, or use the arrow keys; ${labels[0]} across, ${labels[1]} upwards`);
    };
    const point = (e) => {                               // the centre of a tile is its node
      const box = sheet.canvas.getBoundingClientRect(), value = (u) => (2 * u / (n - 1) - 1) * reach;
      go(value(((e.clientX - box.left) / box.width) * n - 0.5), value(n - 0.5 - ((e.clientY - box.top) / box.height) * n));
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); pad.focus(); point(e); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    pad.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key], by = reach / 30;
      if (!move) return;
      e.preventDefault();
      go(at[0] + by * move[0], at[1] + by * move[1]);
    });
    new ResizeObserver(() => place(...at)).observe(sheet.canvas);
    return {
      element: node("div", { class: "gw-live-plane" }, pad, node("p", { class: "gw-title" }, `${labels[0]} across, ${labels[1]} upwards`), ...rows.map((r) => r.row)),
      get: () => ({ [name]: exact ? at : tile().point }),
      set: (inputs) => place(...inputs[name]),
      enable: (yes) => { exact = yes; },
      tile: () => tile(),
      say() {},
    };
    /** Until a model runs: the stored picture nearest to the chosen point. */
    function tile() {
      const [i, j] = at.map((v) => Math.round(cell(v)));
      return { image: sheet.canvas, box: [i * W, (n - 1 - j) * H, W, H], point: [i, j].map((k) => (2 * k / (n - 1) - 1) * reach) };
    }
  },

  drawing({ name, label, examples }, changed) {
    const all = from64(examples), n = all.length / 784;
    const { canvas, pen } = screen(28, 28, 196);
    const ink = new Float32Array(784);
    let at = [14, 14], own = false, able = false, keyed = false, last = null;
    const paint = () => {
      const image = pen.createImageData(28, 28);
      ink.forEach((v, i) => image.data.set([v, v, v, 255], 4 * i));
      if (able && keyed && document.activeElement === pad) image.data.set([230, 159, 0, 255], 4 * (28 * at[1] + at[0]));
      pen.putImageData(image, 0, 0);
    };
    const dot = (x, y) => {                              // a soft pen about two pixels wide, as in the training pictures
      for (let i = 0; i < 784; i++) {
        const d = Math.hypot((i % 28) + 0.5 - x, ((i / 28) | 0) + 0.5 - y);
        ink[i] = Math.max(ink[i], 255 * clamp(1.9 - d, 0, 1));
      }
      own = true;
    };
    const stroke = (x, y) => {
      pick.set(-1);                                     // it is no longer the test digit
      const [x0, y0] = last ?? [x, y], steps = Math.max(1, Math.ceil(3 * Math.hypot(x - x0, y - y0)));
      for (let k = 1; k <= steps; k++) dot(x0 + ((x - x0) * k) / steps, y0 + ((y - y0) * k) / steps);
      last = [x, y];
      paint();
    };
    const pad = node("div", { class: "gw-pad gw-live-pad", tabindex: 0, role: "application",
      "aria-label": `${label}: draw with mouse or finger, or move with the arrow keys and press space to ink`,
      focus: paint, blur: paint }, canvas);
    const point = (e) => { const b = canvas.getBoundingClientRect(); stroke(((e.clientX - b.left) / b.width) * 28, ((e.clientY - b.top) / b.height) * 28); };
    pad.addEventListener("pointerdown", (e) => { if (!able) return; keyed = false; pad.setPointerCapture(e.pointerId); pad.focus(); last = null; point(e); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (able && pad.hasPointerCapture(e.pointerId)) point(e); });
    pad.addEventListener("pointerup", () => { if (able && own) changed(); });
    pad.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[e.key];
      if (!move || !able) return;
      e.preventDefault();
      keyed = true;
      at = at.map((v, k) => clamp(v + move[k], 0, 27));
      paint();
      if (e.key === " ") { pick.set(-1); dot(at[0] + 0.5, at[1] + 0.5); paint(); changed(); }
    });
    const pick = choice("start from a test digit", Array.from({ length: n }, (_, i) => `${i}`), (i) => { load(all.subarray(784 * i, 784 * (i + 1))); changed(); });
    const clear = node("button", { type: "button", click: () => { ink.fill(0); own = true; pick.set(-1); paint(); changed(); } }, "Clear");
    const load = (pixels) => { ink.set(pixels); own = false; paint(); };
    /** What is drawn, moved so that its centre of mass is in the middle, as the training pictures are. */
    const centred = () => {
      const sum = ink.reduce((a, b) => a + b, 0);
      if (!own || !sum) return Array.from(ink, Math.round);
      let [x, y] = [0, 0];
      ink.forEach((v, i) => { x += (v * (i % 28)) / sum; y += (v * ((i / 28) | 0)) / sum; });
      const [dx, dy] = [Math.round(x - 13.5), Math.round(y - 13.5)];
      return Array.from(ink, (_, i) => {
        const [c, r] = [(i % 28) + dx, ((i / 28) | 0) + dy];
        return c >= 0 && c < 28 && r >= 0 && r < 28 ? Math.round(ink[28 * r + c]) : 0;
      });
    };
    return {
      element: node("div", { class: "gw-live-drawing" }, node("p", { class: "gw-title" }, label), pad, clear, pick.row),
      get: () => ({ [name]: centred() }),
      set(inputs) {
        load(inputs[name]);
        pick.set(Array.from({ length: n }, (_, k) => k).findIndex((k) => inputs[name].every((v, i) => v === all[784 * k + i])));
      },
      enable(yes) { able = yes; clear.disabled = !yes; for (const e of pick.row.querySelectorAll("input, select")) e.disabled = !yes; },
      say() {},
    };
  },

  codes({ name, label, n, columns, examples, patches, patch }, changed) {
    const [h, w] = patch ?? [0, 0], size = 4 * w;       // pixels of the screen
    /** The little pictures of all codes in one: as many canvases would each be a layer of the page. */
    const sheet = patches && (() => {
      const { canvas, pen } = screen(w, n * h, w), image = pen.createImageData(w, n * h);
      from64(patches).forEach((v, i) => image.data.set([v, v, v, 255], 4 * i));
      pen.putImageData(image, 0, 0);
      return `url(${canvas.toDataURL()})`;
    })();
    let value = [], at = 0, base = 0, able = false;
    /** A button that shows a code: what ink it stands for, and its number. */
    const button = (click) => {
      const made = node("button", { type: "button", click }), number = document.createTextNode("");
      const ink = sheet && node("span", { class: "gw-ink gw-pixels", style: `width: ${size}px; height: ${4 * h}px; background: ${sheet} 0 0 / ${size}px` });
      made.append(...(ink ? [ink] : []), number);
      const show = (code, words, pressed) => {
        if (ink) ink.style.backgroundPosition = `0 ${-4 * h * code}px`;
        number.data = code;
        made.setAttribute("aria-label", words);
        made.setAttribute("aria-pressed", `${pressed}`);
        made.tabIndex = pressed ? 0 : -1;
        made.disabled = !able;
      };
      return { made, show };
    };
    /** One stop for the Tab key; the arrows go from button to button. */
    const rove = (e) => {
      const all = [...e.currentTarget.children], across = Math.max(1, all.filter((b) => b.offsetTop === all[0].offsetTop).length);
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[e.key], to = all[all.indexOf(document.activeElement) + move];
      if (!move || !to) return;
      e.preventDefault();
      to.focus();
    };
    const cells = examples[0].map((_, i) => button(() => { at = i; draw(); }));
    const words = Array.from({ length: n }, (_, code) => button(() => { value[at] = code; draw(); changed(); }));
    const grid = node("div", { class: "gw-live-codes", role: "group", "aria-label": label, keydown: rove,
      style: `grid-template-columns: repeat(${columns}, 1fr)` }, ...cells.map((c) => c.made));
    const palette = node("div", { class: "gw-live-codes gw-live-palette", role: "group", "aria-label": "codes to choose from",
      keydown: rove }, ...words.map((w) => w.made));
    const which = node("p", { class: "gw-title" });
    const start = choice("start from", examples.map((_, i) => `${i}`), (i) => { base = i; value = [...examples[i]]; draw(); changed(); });
    const draw = () => {
      const place = (i) => `row ${Math.floor(i / columns) + 1}, column ${(i % columns) + 1}`;
      cells.forEach(({ show }, i) => show(value[i], `${place(i)}: code ${value[i]}`, i === at));
      words.forEach(({ show }, code) => show(code, `code ${code}`, code === value[at]));
      which.textContent = `Code for ${place(at)}:`;
      start.set(base);
    };
    return {
      element: node("div", {}, node("p", { class: "gw-live-title" }, label), start.row, grid, which, palette),
      get: () => ({ [name]: [...value], [`${name}_at`]: base }),
      set(inputs) { value = [...inputs[name]]; base = inputs[`${name}_at`]; draw(); },
      enable(yes) { able = yes; palette.tabIndex = yes ? -1 : 0; draw(); for (const e of start.row.querySelectorAll("input, select")) e.disabled = !yes; },
      say() {},
    };
  },
};
