// Curves that change with controls: axes that stand still, lines told apart by pattern and by name, a cursor in words.
const DASHES = ["", "7 4", "2 4", "9 4 2 4", "14 5", "4 2"];            // with the colours --gw-a ... --gw-f
const SUPERSCRIPTS = { "-": "\u207b", 0: "\u2070", 1: "\u00b9", 2: "\u00b2", 3: "\u00b3", 4: "\u2074", 5: "\u2075", 6: "\u2076", 7: "\u2077", 8: "\u2078", 9: "\u2079" };

/** Three significant digits, ties away from 0; whole numbers below a million in full. */
const number = (v) => {
  const sign = v < 0 ? "\u2212" : "", grouped = (text) => (text.includes(".") ? text : text.replace(/\B(?=(\d{3})+$)/g, ","));
  if (Number.isInteger(v) && Math.abs(v) < 1e6) return sign + grouped(String(Math.abs(v)));
  const [digits, exponent] = Math.abs(v).toExponential(2).split("e"), e = Number(exponent);
  if (e >= -4 && e < 6) return sign + grouped(Number(`${digits}e${e}`).toFixed(Math.max(0, 2 - e)));
  return `${sign}${digits} \u00d7 10${Array.from(String(e), (c) => SUPERSCRIPTS[c]).join("")}`;
};

export default {
  render({ model, el }) {
    const [x, x_texts, lines, controls, numeric, choices, x_axis, y_axis] =
      ["x", "x_texts", "lines", "controls", "numeric", "choices", "x_axis", "y_axis"].map((k) => model.get(k));
    const X = x.length, N = lines.length, sizes = choices.map((c) => c.length), banded = model.get("banded");
    const all = new Float32Array(bytes(model.get("curves")).slice().buffer), part = all.length / (banded ? 3 : 1);
    const references = model.get("reference").map(([name, y]) => ({ name, y: y.map((v) => v ?? NaN), grey: true }));
    const { root, listen, show, close } = mount(model, el, "explore-curves");

    let waiting = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const get = () => ({ at: clamp(model.get("at"), 0, X - 1), setting: sizes.map((n, c) => clamp(model.get("setting")[c] ?? 0, 0, n - 1)) });
    const turn = (c) => (i) => save({ setting: get().setting.map((old, k) => (k === c ? i : old)) });
    const knobs = controls.map((name, c) => {
      if (!numeric[c] || sizes[c] < 3) return choice(name, choices[c], turn(c));
      const { row, set } = slider(name, { min: 0, max: sizes[c] - 1 }, turn(c));
      return { row, set: (i) => set(i, choices[c][i]) };
    });
    const cursor = slider(model.get("x_name"), { min: 0, max: X - 1 }, (at) => save({ at }));
    const pad = node("div", { class: "gw-chart" });
    const picture = node("div", { role: "img" }, pad), text = node("p", { class: "gw-text" });

    // the frame: as wide as the page allows, so that letters keep their size
    const widest = Math.max(...[...lines, ...references.map((r) => r.name)].map((name) => 7 * name.length + 26));
    const scale = ({ lo, hi, log }) => { const f = log ? Math.log : (v) => v; return (v) => (f(v) - f(lo)) / (f(hi) - f(lo)); };
    const across = scale(x_axis), up = scale(y_axis);
    let width = 640;
    const frame = () => {
      const left = 14 + 7 * Math.max(...y_axis.ticks.map(([, words]) => words.length)), labels = widest < 0.36 * width;
      const height = width < 460 ? 260 : 320, right = width - (labels ? widest : 12), top = 26, bottom = height - 40;
      return { left, right, top, bottom, height, labels, px: (v) => left + across(v) * (right - left), py: (v) => bottom - clamp(up(v), -9, 9) * (bottom - top) };
    };
    const point = (e) => {
      const { left, right } = frame(), box = pad.getBoundingClientRect();
      const share = ((e.clientX - box.left) / box.width * width - left) / (right - left);
      save({ at: x.reduce((best, v, k) => (Math.abs(across(v) - share) < Math.abs(across(x[best]) - share) ? k : best), 0) });
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); point(e); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });

    const look = (line) => (line.grey ? { class: "gw-line gw-grey" }
      : { class: "gw-line", style: `stroke: var(--gw-${"abcdef"[line.n]})`, "stroke-dasharray": DASHES[line.n] || "none" });
    const sample = (line) => svg("svg", { class: "gw-sample", viewBox: "0 0 30 10", "aria-hidden": "true" }, svg("path", { ...look(line), d: "M0 5H30" }));

    const draw = () => {
      const { at, setting } = get(), { left, right, top, bottom, height, labels, px, py } = frame();
      const first = setting.reduce((i, k, c) => i * sizes[c] + k, 0) * N;
      const row = (kind, n) => Array.from(all.subarray(kind * part + (first + n) * X, kind * part + (first + n + 1) * X));
      const shown = [...references, ...lines.map((name, n) => ({ name, n, y: row(0, n), spread: banded ? [row(1, n), row(2, n)] : null }))];
      const there = (v) => !Number.isNaN(v), inside = (v) => there(v) && up(v) >= 0 && up(v) <= 1;
      const dot = (k, v) => `${px(x[k]).toFixed(1)} ${py(v).toFixed(1)}`;
      const path = (y) => y.map((v, k) => (there(v) ? `${k && there(y[k - 1]) ? "L" : "M"}${dot(k, v)}${!there(y[k - 1]) && !there(y[k + 1]) ? "h1" : ""}` : "")).join("");
      const band = ([low, high]) => {                    // a polygon for each stretch that is there
        const runs = [];
        low.forEach((v, k) => { if (there(v) && there(high[k])) { if (!k || !there(low[k - 1]) || !there(high[k - 1])) runs.push([]); runs.at(-1).push(k); } });
        return runs.map((run) => `M${[...run.map((k) => dot(k, high[k])), ...run.reverse().map((k) => dot(k, low[k]))].join("L")}Z`).join("");
      };

      const words = (v, anchor, px_, py_) => svg("text", { x: px_, y: py_, "text-anchor": anchor }, v);
      const grid = [...y_axis.ticks.flatMap(([v, label]) => [svg("path", { class: "gw-grid", d: `M${left} ${py(v)}H${right}` }), words(label, "end", left - 6, py(v) + 4)]),
        ...x_axis.ticks.flatMap(([v, label]) => [svg("path", { class: "gw-grid", d: `M${px(v)} ${top}V${bottom}` }), words(label, "middle", px(v), bottom + 16)]),
        words(model.get("y_label"), "start", 2, 14), words(model.get("x_label"), "middle", (left + right) / 2, height - 6)];
      // a nested picture cuts off what leaves the axes; its own coordinates are the outer ones
      const inner = svg("svg", { x: left, y: top - 2, width: right - left, height: bottom - top + 4, viewBox: `${left} ${top - 2} ${right - left} ${bottom - top + 4}`, overflow: "hidden" },
        ...shown.filter((line) => line.spread).map((line) => svg("path", { class: "gw-band", style: `fill: var(--gw-${"abcdef"[line.n]})`, d: band(line.spread) })),
        ...shown.map((line) => svg("path", { ...look(line), d: path(line.y) })),
        svg("path", { class: "gw-cursor", d: `M${px(x[at])} ${top}V${bottom}` }));
      const dots = shown.filter((line) => inside(line.y[at])).map((line) => svg("circle", { cx: px(x[at]), cy: py(line.y[at]), r: line.grey ? 3 : 4.5,
        style: `fill: ${line.grey ? "var(--gw-fg)" : `var(--gw-${"abcdef"[line.n]})`}; stroke: var(--gw-bg); stroke-width: 1.5` }));

      // names at the lines' ends, pushed apart where they would touch
      const tags = !labels ? [] : shown.flatMap((line) => {
        const k = line.y.findLastIndex(inside);
        return k < 0 ? [] : [{ line, k, from: py(line.y[k]), to: py(line.y[k]) }];
      }).sort((a, b) => a.from - b.from);
      tags.forEach((tag, i) => { if (i) tag.to = Math.max(tag.to, tags[i - 1].to + 15); });
      tags.reverse().forEach((tag, i) => { tag.to = Math.min(tag.to, i ? tags[i - 1].to - 15 : bottom); });
      const names = tags.flatMap(({ line, k, from, to }) => [
        ...(k === X - 1 ? [svg("path", { ...look(line), "stroke-dasharray": "none", "stroke-width": 1, d: `M${right} ${from}L${right + 14} ${to}` })] : []),
        words(line.name, "start", k === X - 1 ? right + 18 : Math.min(px(x[k]) + 8, right + 18), to + 4)]);

      pad.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...grid, inner, ...dots, ...names));
      knobs.forEach(({ set }, c) => set(setting[c]));
      const where = `${model.get("x_name")} ${x_texts[at]} ${model.get("x_unit")}`.trim();
      const read = [...shown.slice(references.length), ...references].map((line) => {
        const [v, low, high] = [line.y[at], ...(line.spread ? line.spread.map((s) => s[at]) : [NaN, NaN])];
        return { line, said: `${line.name} ${there(v) ? number(v) : "no value"}${there(low) && there(high) ? ` (${number(low)} to ${number(high)})` : ""}` };
      });
      const here = `${x_texts[at]} ${model.get("x_unit")}`.trim();
      cursor.set(at, here);
      cursor.input.setAttribute("aria-valuetext", `${here}: ${read.map(({ said }) => said).join(", ")}`);
      const head = `At ${where}, ${model.get("y_words")}: `;
      text.replaceChildren(head, ...read.flatMap(({ line, said }, i) => [...(i ? [" "] : []), node("span", {}, sample(line), said + (i < read.length - 1 ? "," : ""))]));
      const set = controls.map((name, c) => `${name} ${choices[c][setting[c]]}`).join(", ");
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${set ? `${set}. ` : ""}${text.textContent}`);
      Object.assign(root.dataset, { value: [...setting, at].join(","), numbers: read.map(({ line }) => line.y[at]).join(",") });
    };

    const fit = new ResizeObserver(() => {
      const now = Math.round(clamp(root.clientWidth, 280, 720));
      if (root.clientWidth && now !== width) { width = now; draw(); }
    });
    root.append(...knobs.map((k) => k.row), picture, cursor.row, text, ...(model.get("note") ? [node("p", { class: "gw-text" }, model.get("note"))] : []));
    listen("change:setting change:at", draw);
    draw();
    show();
    fit.observe(root);
    return () => { fit.disconnect(); clearTimeout(waiting); close(); };
  },
};
