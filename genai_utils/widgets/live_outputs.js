// Outputs of a live model. Each: { element, show(value), stored(kept) -> [draw, ...], say(value) }: a value is a tensor or
// JSON (genai_utils/live/entry.py), `kept` what Python stored, for each step; say() is what a screen reader is told.

const each = (show) => ({ values }) => values.map((value) => () => show(value));

const level = (v) => Math.round((clamp(v, -1, 1) + 1) * 127.5);

/** Paint picture i of a tensor (n, C, H, W) in [-1, 1]. */
const paintTensor = (pen, { data, dims: [, C, H, W] }, i) => {
  const image = pen.createImageData(W, H), from = i * C * H * W;
  for (let k = 0; k < H * W; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = level(data[from + (C === 3 ? c : 0) * H * W + k]);
    image.data[4 * k + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
};

const OUTPUTS = {
  pictures({ titles, size, columns, name }) {
    const row = node("div", { class: "gw-panels gw-live-pictures" });
    if (columns) row.style.cssText = `display: grid; gap: .3rem; grid-template-columns: repeat(${columns}, minmax(0, ${size}px));`;
    let screens = [];
    const fit = (n, W, H) => {
      if (screens.length === n && screens[0].canvas.width === W && screens[0].canvas.height === H) return;
      screens = Array.from({ length: n }, (_, i) => {
        const made = screen(W, H, size), title = titles[titles.length === 1 ? 0 : i] ?? "";
        made.canvas.classList.add("gw-pixels");
        made.canvas.setAttribute("role", "img");
        made.canvas.setAttribute("aria-label", `${title || name}${n > 1 && !title ? `, picture ${i + 1} of ${n}` : ""}`);
        return made;
      });
      row.replaceChildren(...screens.map(({ canvas }, i) =>
        node("div", { style: `max-width: ${size}px` }, canvas, ...(titles.length === n && titles[i] ? [node("p", { class: "gw-title" }, titles[i])] : []))));
    };
    return {
      element: row,
      show(value) {
        const [n, , H, W] = value.dims;
        fit(n, W, H);
        screens.forEach(({ pen }, i) => paintTensor(pen, value, i));
      },
      async stored({ data, mime, n, columns: across, steps, height: H, width: W }) {
        const sheet = await bitmap(data, mime), each = n / steps;
        return Array.from({ length: steps }, (_, s) => () => {
          fit(each, W, H);
          screens.forEach(({ pen }, i) => {
            const k = s * each + i;
            pen.drawImage(sheet, (k % across) * W, Math.floor(k / across) * H, W, H, 0, 0, W, H);
          });
        });
      },
      tile({ image, box }) {
        fit(1, box[2], box[3]);
        screens[0].pen.drawImage(image, ...box, 0, 0, box[2], box[3]);
      },
    };
  },

  bars({ title, rest }) {
    const list = node("div", { class: "gw-live-bars", role: "list", "aria-label": title });
    const percent = (share) => `${share < 5e-4 ? "under 0.1" : (100 * share).toFixed(1)} %`;
    const show = (rows) => list.replaceChildren(...rows.map(([label, share, kept = true, after = share]) =>
      node("div", { class: kept ? (rest ? "" : "gw-own") : (rest ? "gw-cut" : ""), role: "listitem" }, node("span", {}, visible(label)),
        node("span", { class: "gw-live-bar", style: `--share:${share}`, "aria-hidden": "true" }),
        node("span", {}, kept || !rest ? percent(after) : rest))));
    return { element: node("div", {}, node("p", { class: "gw-live-title" }, title), list), show, stored: each(show),
      say(rows) {
        const [label, share, , after = share] = rows.reduce((a, b) => (b[1] > a[1] ? b : a));
        return `${visible(label)}, ${percent(after)}`;
      } };
  },

  words({ title }) {
    const place = node("p", { class: "gw-live-tinted", tabindex: 0, role: "group", "aria-label": title || "a note" });
    const element = node("div", {}, ...(title ? [node("p", { class: "gw-live-title" }, title)] : []), place);
    const show = (parts) => {                            // tinted by weight, the largest at full strength
      const most = Math.max(1e-9, ...parts.map(([, weight]) => weight));
      element.hidden = !parts.length;
      place.replaceChildren(...parts.map(([text, weight]) => node("span", { style: `--weight:${weight / most}`,
        title: weight > 0.005 && weight < 1 ? `${(100 * weight).toFixed(0)} %` : null }, text === "\n" ? "\u21b5\n" : text)));
      place.scrollTop = place.scrollHeight;
    };
    return { element, show, stored: each(show) };
  },

  numbers() {
    const list = node("dl", { class: "gw-live-numbers" });
    const figure = ([, value, digits, unit]) => `${(+value).toFixed(digits).replace("-", "\u2212")} ${unit}`.trim();
    const show = (rows) => list.replaceChildren(...rows.map((row) => node("div", {}, node("dt", {}, row[0]), node("dd", {}, figure(row)))));
    return { element: list, show, stored: each(show), say: (rows) => rows.slice(0, 2).map((row) => `${row[0]} ${figure(row)}`).join(", ") };
  },

  cloud({ labels, reach }) {
    const at = (v) => 100 + (100 * clamp(v, -reach, reach)) / reach;
    const dots = svg("g", { fill: "var(--gw-b)", "fill-opacity": 0.7 });
    const picture = svg("svg", { viewBox: "-1 -1 202 202", class: "gw-live-cloud", role: "img", "aria-label": "draws of the latents" },
      svg("rect", { width: 200, height: 200, fill: "none", stroke: "var(--gw-line)" }),
      svg("path", { d: "M100 0V200M0 100H200", stroke: "var(--gw-line)" }),
      ...[1, 2].map((k) => svg("circle", { cx: 100, cy: 100, r: (100 * k) / reach, fill: "none", stroke: "var(--gw-line)", "stroke-dasharray": "3 3" })), dots);
    const close = svg("g", { fill: "var(--gw-b)", "fill-opacity": 0.7 }), words = node("p", { class: "gw-title" });
    const inset = svg("svg", { viewBox: "-1 -1 202 202", class: "gw-live-cloud", role: "img", "aria-label": "the same draws, magnified" },
      svg("rect", { width: 200, height: 200, fill: "none", stroke: "var(--gw-line)" }), close);
    const show = (points) => {
      const mean = [0, 1].map((k) => points.reduce((sum, p) => sum + p[k] / points.length, 0));
      const wide = 1.15 * Math.max(1e-6, ...points.flatMap((p) => p.map((v, k) => Math.abs(v - mean[k]))));
      dots.replaceChildren(...points.map(([x, y]) => svg("circle", { cx: at(x), cy: 200 - at(y), r: 3 })));
      close.replaceChildren(...points.map((p) => svg("circle", { cx: 100 + (100 * (p[0] - mean[0])) / wide, cy: 100 - (100 * (p[1] - mean[1])) / wide, r: 4 })));
      words.textContent = `the draws, magnified ${(reach / wide).toFixed(0)} times`;
    };
    const pairs = ({ data, dims: [n] }) => Array.from({ length: n }, (_, i) => [data[2 * i], data[2 * i + 1]]);
    return { element: node("div", { class: "gw-panels" }, node("div", {}, picture, node("p", { class: "gw-title" }, `${labels[0]} across, ${labels[1]} upwards`),
      node("p", { class: "gw-title" }, "rings: 1 and 2 deviations of the prior")), node("div", {}, inset, words)),
      show: (value) => show(pairs(value)), stored: each(show) };
  },

  sound({ title, rate }) {
    const line = svg("polyline", { fill: "none", stroke: "var(--gw-a)", "vector-effect": "non-scaling-stroke" }), audio = node("audio", { controls: true, "aria-label": title });
    const wave = svg("svg", { viewBox: "0 -40 480 80", preserveAspectRatio: "none", role: "img", "aria-label": `${title}, as a wave` }, line);
    let address = null;
    const drawWave = (x) => line.setAttribute("points",
      Array.from(x, (v, i) => `${((480 * i) / x.length).toFixed(1)},${(-38 * v).toFixed(1)}`).join(" "));
    const play = (x) => {
      const file = new DataView(new ArrayBuffer(44 + 2 * x.length)), put = (at, s) => [...s].forEach((c, i) => file.setUint8(at + i, c.charCodeAt(0)));
      put(0, "RIFF"); put(8, "WAVEfmt "); put(36, "data");
      for (const [at, v] of [[4, 36 + 2 * x.length], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * x.length]]) file.setUint32(at, v, true);
      for (const [at, v] of [[20, 1], [22, 1], [32, 2], [34, 16]]) file.setUint16(at, v, true);
      x.forEach((v, i) => file.setInt16(44 + 2 * i, Math.round(clamp(v, -1, 1) * 32767), true));
      if (address) URL.revokeObjectURL(address);
      audio.src = address = URL.createObjectURL(new Blob([file.buffer], { type: "audio/wav" }));
    };
    return {
      element: node("div", { class: "gw-live-sound" }, node("p", { class: "gw-live-title" }, title), wave, audio),
      show: ({ data }) => drawWave(data),
      finish: ({ data }) => play(Array.from(data)),
      stored({ data }) {
        const b = bytes(data), x = Array.from(new Int16Array(b.slice().buffer), (v) => v / 32767);
        return [() => { drawWave(x); play(x); }];
      },
      close: () => { if (address) URL.revokeObjectURL(address); },
    };
  },
};

/** A token as a reader can see it: blanks and ends of line have signs. */
function visible(text) {
  return text.replace(/ /g, "\u2423").replace(/\n/g, "\u21b5") || "\u2205";
}
