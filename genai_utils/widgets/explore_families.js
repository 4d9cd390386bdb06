// Families in two chosen measures: points with spread, the front that none of them beats, a slider that walks them.
const SHAPES = [                                         // with the colours --gw-a ... --gw-f; as in Python
  "M-5.8 0a5.8 5.8 0 1 0 11.6 0a5.8 5.8 0 1 0 -11.6 0Z", "M-5.2 -5.2H5.2V5.2H-5.2Z", "M0 -6.6L6.4 4.8H-6.4Z",
  "M0 -7.2L7.2 0L0 7.2L-7.2 0Z", "M0 6.6L6.4 -4.8H-6.4Z", "M-2.4 -6.4H2.4V-2.4H6.4V2.4H2.4V6.4H-2.4V2.4H-6.4V-2.4H-2.4Z",
];
const BETTER = { lower: "lower is better", higher: "higher is better", none: "neither end is better" };
const KINDS = { exact: ["exact", "exact values"], bound: ["a bound", "bounds"], estimate: ["an estimate", "estimates"] };
const ARROWS = { lower: "\u2190\u2193", higher: "\u2192\u2191", none: "" };
const AROUND = [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -1], [1, 1], [-1, -1], [-1, 1]], GAPS = [12, 18, 27, 38, 52, 68];

/** The points [name, [a, b]] that no other beats, from left to right; better: "lower" or "higher" for each number. */
const paretoFront = (points, better) => {
  const cost = ([, p]) => p.map((v, i) => (better[i] === "lower" ? v : -v));
  const beats = (a, b) => a.every((v, i) => v <= b[i]) && a.some((v, i) => v < b[i]);
  return points.filter((p) => !points.some((q) => beats(cost(q), cost(p))))
    .sort(([m, [a, b]], [n, [c, d]]) => a - c || b - d || (m < n ? -1 : 1));
};

/** Where labels of `sizes` stand beside `points`: boxes [left, top, right, bottom], and how many stand badly; as in Python. */
const placeLabels = (points, sizes, box, bars) => {
  const touch = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const far = ([u, v], b) => Math.hypot(u - clamp(u, b[0], b[2]), v - clamp(v, b[1], b[3]));
  const dots = points.map(([u, v]) => [u - 8, v - 8, u + 8, v + 8]), stand = points.map(() => null), bad = [];
  for (let round = 0; round < 3; round++) points.forEach((p, i) => {
    const [w, h] = sizes[i], others = [dots, stand].flatMap((both) => both.filter((b, j) => b && j !== i));
    let best = Infinity;
    for (const gap of GAPS) AROUND.forEach(([dx, dy], k) => {
      const away = dx && dy ? gap * 0.75 : gap, a = p[0] + dx * (away + w / 2) - w / 2, b = p[1] + dy * (away + h / 2) - h / 2, at = [a, b, a + w, b + h];
      const hits = (a < box[0] || b < box[1] || at[2] > box[2] || at[3] > box[3]) + others.filter((other) => touch(at, other)).length;
      const stray = points.some((q) => far(q, at) < far(p, at));
      const cost = 1000 * hits + 60 * stray + 6 * bars.filter((bar) => touch(at, bar)).length + gap / 2 + k / 4;
      if (cost < best) { best = cost; stand[i] = at; bad[i] = hits > 0 || stray; }
    });
  });
  return { boxes: stand, bad: bad.filter(Boolean).length };
};

const cellText = (cell, unit = "") => (!cell ? "not defined"
  : `${[cell.value, unit].filter(Boolean).join(" ")}${cell.kind ? `, ${KINDS[cell.kind][0]}` : ""} ${cell.spread}`);
const withUnit = (m) => (m.unit ? `${m.title} (${m.unit})` : m.title);
const joined = (words) => [words.slice(0, -1).join(", "), ...words.slice(-1)].filter(Boolean).join(" and ");

export default {
  render({ model, el }) {
    const [families, measures, groups] = ["families", "measures", "groups"].map((k) => model.get(k));
    const of = Object.fromEntries(measures.map((m) => [m.key, m])), ink = (g, what = "") => `color: var(--gw-${what}${"abcdef"[g]})`;
    const { root, listen, show, close } = mount(model, el, "explore-families");

    let waiting = 0;
    const save = (values) => {                           // the picture changes at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const get = () => {
      const x = of[model.get("x")] ?? measures[0], y = of[model.get("y")] ?? measures[1];
      const value = (f, m) => f.cells[m.key].numbers[0], drawn = families.filter((f) => f.cells[x.key] && f.cells[y.key]);
      const points = drawn.map((f) => [f.name, [value(f, x), value(f, y)]]);
      const left = [...drawn].sort((a, b) => value(a, x) - value(b, x) || value(a, y) - value(b, y));
      const endless = [x, y].filter((m) => m.better === "none").map((m) => m.title), against = [];  // why there is no front
      if (endless.length) against.push(`${joined(endless)} ${endless.length === 1 ? "has" : "have"} no better end`);
      for (const m of [x, y]) {                          // a bound and an exact value have no order
        const kinds = Object.keys(KINDS).filter((k) => drawn.some((f) => (f.cells[m.key].kind || "exact") === k));
        if (kinds.length > 1) against.push(`${m.title} mixes ${joined(kinds.map((k) => KINDS[k][1]))}`);
      }
      const front = against.length ? [] : paretoFront(points, [x.better, y.better]);
      return { x, y, against, drawn, front, order: [...left, ...families.filter((f) => !drawn.includes(f))], members: new Set(front.map(([name]) => name)),
        shown: model.get("front"), picked: families.find((f) => f.name === model.get("picked")) };
    };

    // controls: two lists, a slider over the families, a box to tick
    const pick = (label, way) => {                       // taking the other axis' measure exchanges the two
      const id = `gw-axis-${Date.now().toString(36)}-${ids++}`;
      const select = node("select", { id, change: () => {
        const { x, y } = get(), key = measures[select.selectedIndex].key, other = way === "x" ? "y" : "x", now = { x: x.key, y: y.key };
        save(key === now[other] ? { x: now.y, y: now.x } : { [way]: key });
      } }, ...measures.map((m) => node("option", {}, m.title)));
      return { parts: [node("label", { for: id }, label), select], set: (m) => { select.selectedIndex = measures.indexOf(m); } };
    };
    const acrossBy = pick("horizontal axis", "x"), upBy = pick("vertical axis", "y");
    const walk = slider("family", { min: 0, max: families.length - 1 }, (i) => save({ picked: get().order[i].name }));
    const tick = node("input", { type: "checkbox", change: () => save({ front: tick.checked }) });

    const pad = node("div", { class: "gw-chart" }), [upWords, acrossWords] = ["gw-axis", "gw-axis gw-across"].map((name) => node("p", { class: name }));
    const picture = node("div", { role: "img" }, upWords, pad, acrossWords), legend = node("p", { class: "gw-legend" });
    const texts = [0, 1, 2, 3].map((k) => node("p", { class: "gw-text", "aria-live": k === 2 && "polite" })), [readText, heldText, frontText, missingText] = texts;
    const fold = (summary) => { const table = node("table"); return { table, summary, row: node("details", {}, summary, table) }; };
    const chartTable = fold(node("summary", {}, "These numbers as a table")), ownTable = fold(node("summary"));
    const fill = (table, caption, heads, rows) => table.replaceChildren(node("caption", {}, caption),
      node("thead", {}, node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head)))),
      node("tbody", {}, ...rows.map(([head, ...cells]) => node("tr", {}, node("th", { scope: "row" }, head), ...cells.map((text) => node("td", {}, text))))));

    const pen = document.createElement("canvas").getContext("2d");
    pen.font = "700 12px system-ui, sans-serif";
    let width = 640, places = [], laid = {};
    const scale = ({ lo, hi, log }) => { const f = log ? Math.log : (v) => v; return (v) => (f(v) - f(lo)) / (f(hi) - f(lo)); };
    const layout = ({ x, y, drawn, front }) => {                // where everything is; counted anew for other axes or another width
      const key = `${x.key} ${y.key} ${width}`;
      if (laid.key === key) return laid;
      const height = width < 460 ? 300 : 380, left = 20 + 7 * Math.max(...y.axis.ticks.map(([, words]) => words.length));
      const box = [left, x.mark ? 20 : 14, width - (y.mark ? 42 : 14), height - 30], across = scale(x.axis), up = scale(y.axis); // with room for a symbol at the edge, and for "mark"
      const px = (v) => box[0] + across(v) * (box[2] - box[0]), py = (v) => box[3] - up(v) * (box[3] - box[1]);
      const dots = drawn.map((f) => [px(f.cells[x.key].numbers[0]), py(f.cells[y.key].numbers[0])]);
      const ends = drawn.map((f) => [f.cells[x.key].numbers.slice(1).map(px), f.cells[y.key].numbers.slice(1).map(py)]);
      const bars = ends.flatMap(([[a, b], [c, d]], i) => [[a, dots[i][1] - 1, b, dots[i][1] + 1], [dots[i][0] - 1, d, dots[i][0] + 1, c]]);
      const trail = front.map(([, [a, b]]) => [px(a), py(b)]); // the front: from its point best across to the last, out to both worse edges
      if (x.better === "higher") trail.reverse();
      if (trail.length) trail.splice(0, trail.length, ...[[trail[0][0], y.better === "lower" ? box[1] : box[3]], ...trail, [x.better === "lower" ? box[2] : box[0], trail.at(-1)[1]]]
        .flatMap((p, i, all) => (i && i < all.length - 1 ? [[p[0], all[i - 1][1]], p] : [p])));
      trail.slice(1).forEach(([c, d], i) => { const [a, b] = trail[i]; bars.push([Math.min(a, c) - 1, Math.min(b, d) - 1, Math.max(a, c) + 1, Math.max(b, d) + 1]); });
      if (x.mark) bars.push([px(x.mark.number) - 1, box[1], px(x.mark.number) + 1, box[3]]);
      if (y.mark) bars.push([box[0], py(y.mark.number) - 1, box[2], py(y.mark.number) + 1]);
      const place = (names) => ({ names, ...placeLabels(dots, names.map((name) => [pen.measureText(name).width + 4, 14]), box, bars) });
      let labels = place(drawn.map((f) => f.title));
      if (labels.bad) labels = { ...place(drawn.map((f) => String(families.indexOf(f) + 1))), numbered: true };
      return (laid = { key, height, box, px, py, dots, ends, labels, trail });
    };

    const draw = () => {
      const now = get(), { x, y, against, drawn, front, members, order, shown, picked } = now;
      const { height, box, px, py, dots, ends, labels, trail } = layout(now), [left, top, right, bottom] = box;
      const row = (f) => [x, y].map((m) => cellText(f.cells[m.key])), at = (v) => v.toFixed(2);

      const words = (v, anchor, u, v_, name = "gw-tick") => svg("text", { class: name, x: at(u), y: at(v_), "text-anchor": anchor }, v);
      const grid = [svg("rect", { class: "gw-frame", x: left, y: top, width: right - left, height: bottom - top }),
        ...y.axis.ticks.flatMap(([v, label]) => [svg("path", { class: "gw-grid", d: `M${left} ${py(v)}H${right}` }), words(label, "end", left - 12, py(v) + 4)]),
        ...x.axis.ticks.flatMap(([v, label]) => [svg("path", { class: "gw-grid", d: `M${px(v)} ${top}V${bottom}` }), words(label, px(v) > width - 20 ? "end" : "middle", Math.min(px(v), width - 2), bottom + 23)])];
      const held = [...(x.mark ? [svg("path", { class: "gw-held", d: `M${at(px(x.mark.number))} ${top}V${bottom}` }), words("mark", "middle", px(x.mark.number), top - 7, "gw-held-name")] : []),
        ...(y.mark ? [svg("path", { class: "gw-held", d: `M${left} ${at(py(y.mark.number))}H${right}` }), words("mark", "start", right + 13, py(y.mark.number) + 4, "gw-held-name")] : [])];
      const steps = shown && trail.length ? [svg("path", { class: "gw-front", d: `M${trail.map(([a, b]) => `${at(a)} ${at(b)}`).join("L")}` })] : [];
      const marks = drawn.map((f, i) => {
        const [u, v] = dots[i], [[a, b], [c, d]] = ends[i], [l, t, r, o] = labels.boxes[i], near = [clamp(u, l, r), clamp(v, t, o)];
        return svg("g", { class: f === picked ? "gw-point gw-here" : "gw-point", "data-name": f.name, style: ink(f.group) },
          ...(Math.hypot(near[0] - u, near[1] - v) > 20 ? [svg("path", { class: "gw-leader", d: `M${at(u)} ${at(v)}L${at(near[0])} ${at(near[1])}` })] : []),
          svg("path", { class: "gw-bar", d: `M${at(a)} ${at(v)}H${at(b)}M${at(u)} ${at(c)}V${at(d)}` }),
          svg("path", { class: !shown || against.length || members.has(f.name) ? "gw-mark gw-full" : "gw-mark", d: SHAPES[f.group], transform: `translate(${at(u)} ${at(v)})` }),
          ...(f === picked ? [svg("circle", { class: "gw-ring", cx: at(u), cy: at(v), r: 11 })] : []));
      });
      const names = drawn.map((f, i) => {                // above all marks
        const [l, t, r, o] = labels.boxes[i];
        return svg("g", { class: f === picked ? "gw-here" : "", style: ink(f.group, "name-") }, words(labels.names[i], "middle", (l + r) / 2, (t + o) / 2 + 4, "gw-name"));
      });
      places = drawn.map((f, i) => ({ f, dot: dots[i], label: labels.boxes[i] }));
      pad.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...grid, ...held, ...steps, ...marks, ...names));
      const axisWords = (m, side) => `${withUnit(m)}${ARROWS[m.better] ? ` \u00b7 better ${ARROWS[m.better][side]}` : ""}`;
      upWords.textContent = axisWords(y, 1);
      acrossWords.textContent = axisWords(x, 0);
      legend.replaceChildren(...groups.flatMap((group, g) => {
        const own = families.filter((f) => f.group === g).map((f) => `${families.indexOf(f) + 1}\u00a0${f.title}`).join(", ");
        return [node("span", {}, svg("svg", { class: "gw-sample", viewBox: "-8 -8 16 16", "aria-hidden": "true", style: ink(g) }, svg("path", { class: "gw-mark gw-full", d: SHAPES[g] })),
          labels.numbered && own ? `${group}: ${own}` : group), " "];
      }), ...(held.length ? [node("span", {}, svg("svg", { class: "gw-sample", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, svg("path", { class: "gw-held", d: "M-8 0H8" })), "mark: held-out data")] : []));

      // words and tables
      const titles = (list) => joined(list.map((f) => f.title)), missing = [x, y].map((m) => [m, families.filter((f) => !f.cells[m.key])]);
      const on = front.map(([name]) => families.find((f) => f.name === name));
      readText.textContent = picked ? `${picked.title} (${groups[picked.group]}): ${[x, y].map((m) => `${m.title} ${cellText(picked.cells[m.key], m.unit)}`).join(", ")}.` : "";
      const scored = [x, y].filter((m) => m.mark).map((m) => [m.title, m.mark.value, m.unit].filter(Boolean).join(" "));
      heldText.textContent = scored.length ? `Held-out data: ${scored.join(", ")}.` : "";
      const frontWords = !shown ? "" : against.length ? against.map((words) => `No front: ${words}.`).join(" ")
        : on.length ? `On the front (filled), where no other is as good in both and better in one: ${titles(on)}.` : "";
      if (frontText.textContent !== frontWords) frontText.textContent = frontWords;
      missingText.textContent = missing.filter(([, list]) => list.length).map(([m, list]) => `${m.title}: not defined for ${titles(list)}.`).join(" ");
      for (const p of texts) p.hidden = !p.textContent && p !== frontText;
      const axes = [["Horizontal", x], ["Vertical", y]].map(([way, m]) => `${way}: ${m.title}${m.axis.log ? " (logarithmic)" : ""}, ${BETTER[m.better]}.`).join(" ");
      picture.setAttribute("aria-label", [model.get("alt"), "Now:", axes, ...texts.map((p) => p.textContent)].filter(Boolean).join(" "));
      fill(chartTable.table, axes, ["family", withUnit(x), withUnit(y), "on the front"], [
        ...order.map((f) => [f.title, ...row(f), members.has(f.name) ? "yes" : "no"]), ...(held.length ? [["held-out", ...[x, y].map((m) => m.mark?.value ?? "\u2013"), "no"]] : [])]);
      ownTable.row.hidden = !picked;
      if (picked) {
        ownTable.summary.textContent = `All numbers of ${picked.title}`;
        fill(ownTable.table, `${picked.title}: ${groups[picked.group]}`, ["measure", "value (spread)"], measures.map((m) => [withUnit(m), cellText(picked.cells[m.key])]));
      }
      acrossBy.set(x);
      upBy.set(y);
      tick.checked = shown;
      if (picked) walk.set(order.indexOf(picked), picked.title);
      walk.input.setAttribute("aria-valuetext", readText.textContent);
      Object.assign(root.dataset, { value: [x.key, y.key, picked?.name ?? "", shown].join(","), front: [...front.map(([name]) => name)].join(",") });
    };

    // a point or its name under the mouse, or near the finger
    const under = (e, reach) => {
      const box = pad.getBoundingClientRect(), u = ((e.clientX - box.left) * width) / box.width, v = ((e.clientY - box.top) * width) / box.width;
      const far = places.map(({ f, dot, label: [l, t, r, o] }) => ({ f, d: Math.min(Math.hypot(dot[0] - u, dot[1] - v), Math.hypot(clamp(u, l, r) - u, clamp(v, t, o) - v) + 4) }));
      return far.reduce((best, p) => (p.d < best.d ? p : best), { d: reach }).f;
    };
    const take = (reach) => (e) => { const f = under(e, reach); if (f && f.name !== model.get("picked")) save({ picked: f.name }); };
    pad.addEventListener("click", take(40));
    pad.addEventListener("pointermove", (e) => { if (e.pointerType === "mouse") take(14)(e); });

    const fit = new ResizeObserver(() => {
      const now = Math.round(clamp(root.clientWidth - 8, 260, 720));
      if (root.clientWidth && now !== width) { width = now; draw(); }
    });
    root.append(node("div", { class: "gw-axes" }, ...upBy.parts, ...acrossBy.parts), node("label", { class: "gw-check" }, tick, " show the front"), picture, legend, walk.row,
      ...texts, ...(model.get("note") ? [node("p", { class: "gw-text" }, model.get("note"))] : []), chartTable.row, ownTable.row);
    listen("change:x change:y change:picked change:front", draw);
    draw();
    show();
    fit.observe(root);
    return () => { fit.disconnect(); clearTimeout(waiting); close(); };
  },
};
