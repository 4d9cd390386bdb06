// Ways from one picture to another: choose both, walk, and compare the ways step by step.
export default {
  async render({ model, el }) {
    const [W, H, names, ways, S, all, measure] = ["width", "height", "names", "ways", "steps", "numbers", "measure"].map((k) => model.get(k));
    const N = names.length, R = ways.length, FINE = 4;   // slider positions per step once a kernel decodes
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "explore-path");
    const paint = (pen, tile, x = 0) => pen.drawImage(sheet, (tile % S) * W, Math.floor(tile / S) * H, W, H, x, 0, W, H);
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const ends = () => ["start", "end"].map((k) => clamp(model.get(k), 0, N - 1));
    const at = () => clamp(model.get("at"), 0, 1);
    const number = (v) => v.toFixed(2).replace("-", "\u2212");

    let waiting = 0, timer = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const choose = (key) => {
      const { row, set } = choice(key, names, (i) => save({ [key]: i }));
      row.querySelectorAll("label").forEach((label, i) => {
        const thumb = screen(W, H, 48);
        thumb.canvas.setAttribute("aria-hidden", "true");
        paint(thumb.pen, i);
        label.querySelector("input").after(thumb.canvas);
      });
      row.classList.add("gw-thumbs");
      return { row, set };
    };
    const choices = [choose("start"), choose("end")];

    const longest = Math.max(...all.flatMap((numbers) => Object.values(numbers).flat()));
    const screens = ways.map(() => ({ ...screen(W, H, model.get("size")), bar: node("i", { class: "gw-bar" }) }));
    const picture = node("div", { class: R > 3 ? "gw-panels" : "gw-panels gw-film", role: "img" }, ...screens.map(({ canvas, bar }, r) =>
      node("div", {}, canvas, longest > 0 ? bar : "", node("p", { class: "gw-title" }, ways[r]))));
    const strips = ways.map((way) => {
      const strip = { ...screen(S * W, H, S * W), mark: node("i", { class: "gw-mark", style: `width:${100 / S}%` }) };
      const point = (e) => {
        const box = strip.canvas.getBoundingClientRect();
        stop();
        go(clamp(Math.floor(((e.clientX - box.left) / box.width) * S), 0, S - 1));
      };
      const pad = node("div", { class: "gw-pad", pointerdown: (e) => { pad.setPointerCapture(e.pointerId); point(e); },
        pointermove: (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); } }, strip.canvas, strip.mark);
      strip.row = node("div", { class: "gw-strip", "aria-hidden": "true" }, node("span", {}, way), pad);
      return strip;
    });
    const text = node("p", { class: "gw-text" });

    const go = (k) => save({ at: k / (S - 1) });         // k in steps, 0 ... S - 1
    const step = () => Math.round(at() * (S - 1));
    const next = () => go(step() >= S - 1 ? 0 : step() + 1);
    const button = node("button", { type: "button", click: () => {
      if (timer) return stop();
      next();
      if (still.matches) return;                         // reduced motion: one step for each press
      timer = setInterval(() => { if (step() >= S - 1) stop(); else next(); }, 300);
      caption();
    } });
    const caption = () => { button.textContent = still.matches ? "Next" : timer ? "Pause" : "Play"; };
    const stop = () => { clearInterval(timer); timer = 0; caption(); };
    const position = slider("way", { min: 0, max: FINE * (S - 1), step: FINE }, (u) => { stop(); go(u / FINE); });

    /** The stored way from start to end: its tile of way r at step k, and its number, if it has one. */
    const path = ([start, end]) => {                     // from a picture to itself: its end of a pair, at every step
      const same = start === end, i = same ? Math.max(start - 1, 0) : Math.min(start, end), j = same ? Math.max(start, 1) : Math.max(start, end);
      const pair = (i * (2 * N - i - 1)) / 2 + j - i - 1, last = S - 1;
      const place = (k) => (same ? (start === j ? last : 0) : start < end ? k : last - k);
      return { tile: (r, k) => N + (pair * R + r) * S + place(k), number: (way, k) => all[pair][way]?.[place(k)] };
    };

    let drawn = 0, shownEnds = "";                       // drawn: number of the newest drawing: a slow decode never wins
    const draw = async () => {
      const mine = ++drawn, [start, end] = ends(), same = start === end, w = at(), k = step(), exact = model.get("exact"), stored = path([start, end]);
      if (shownEnds !== `${start},${end}`) {
        strips.forEach(({ pen }, r) => { for (let q = 0; q < S; q++) paint(pen, stored.tile(r, q), q * W); });
        choices.forEach(({ set }, c) => set([start, end][c]));
        shownEnds = `${start},${end}`;
      }
      let shown = k / (S - 1), source = "tile", numbers = ways.map((way) => stored.number(way, k));
      if (exact?.data && exact.start === start && exact.end === end && exact.at === w) {
        const now = await bitmap(exact.data, exact.mime);
        if (mine !== drawn) return;
        screens.forEach(({ pen }, r) => pen.drawImage(now, r * W, 0, W, H, 0, 0, W, H));
        numbers = ways.map((way) => exact.numbers[way]);
        [shown, source, position.input.step] = [w, "exact", 1];
      } else {
        screens.forEach(({ pen }, r) => paint(pen, stored.tile(r, k)));
      }
      strips.forEach(({ mark }) => { mark.style.left = `${(100 * shown * (S - 1)) / S}%`; });
      screens.forEach(({ bar }, r) => {
        bar.style.visibility = numbers[r] >= 0 ? "visible" : "hidden";
        bar.style.setProperty("--gw-share", `${(100 * numbers[r]) / longest}%`);
      });
      const known = ways.flatMap((way, r) => (numbers[r] === undefined ? [] : [`${way} ${number(numbers[r])}`]));
      const where = same ? `${names[start]} at both ends` : `${number(shown)} of the way from ${names[start]} to ${names[end]}`;
      const words = [...(same ? ["Start and end are the same picture: every step is its reconstruction"] : []),
        ...(known.length ? [`${measure.charAt(0).toUpperCase()}${measure.slice(1)} (bars): ${known.join(", ")}`] : [])].join(". ");
      text.textContent = words;
      position.set(FINE * w * (S - 1), where);
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${where}. ${words}`);
      Object.assign(root.dataset, { value: shown, start, end, source, numbers: numbers.map((v) => v ?? "").join(",") });
    };

    root.append(...choices.map((c) => c.row), picture, text, node("div", { class: "gw-strips" }, ...strips.map((s) => s.row)), position.row, button);
    listen("change:start change:end change:at change:exact", draw);
    still.addEventListener("change", stop);
    stop();
    show();
    await draw();
    return () => { stop(); clearTimeout(waiting); still.removeEventListener("change", stop); close(); };
  },
};
