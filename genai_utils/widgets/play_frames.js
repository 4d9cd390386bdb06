// Film player: one lossless sheet of frames, native slider and button, a choice between films.
export default {
  async render({ model, el }) {
    const [columns, height, width, panels, reels] = ["columns", "height", "width", "panels", "reels"].map((k) => model.get(k));
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "play-frames");
    const screens = panels.map(() => screen(width, height, model.get("size")));
    const picture = node("div", { class: panels.length > 3 ? "gw-panels" : "gw-panels gw-film", role: "img" },
      ...screens.map((s, p) => node("div", {}, s.canvas, panels[p] ? node("p", { class: "gw-title" }, panels[p]) : "")));
    const still = matchMedia("(prefers-reduced-motion: reduce)");

    let share = 0;                                       // position the reader chose, in [0, 1]: kept from film to film
    let timer = 0;
    const reel = () => reels[clamp(model.get("film"), 0, reels.length - 1)];
    const index = () => clamp(model.get("index"), 0, reel().n - 1);
    const save = (values) => { for (const k in values) model.set(k, values[k]); model.save_changes(); };
    const go = (i) => { share = reel().n > 1 ? i / (reel().n - 1) : 0; save({ index: i }); };
    const next = () => go(index() >= reel().n - 1 ? 0 : index() + 1);

    const button = node("button", { type: "button", click: () => {
      if (timer) return stop();
      next();
      if (still.matches) return;                         // reduced motion: one frame for each press
      timer = setInterval(() => { if (index() >= reel().n - 1) stop(); else next(); }, model.get("interval"));
      caption();
    } });
    const caption = () => { button.textContent = still.matches ? "Next" : timer ? "Pause" : "Play"; };
    const stop = () => { clearInterval(timer); timer = 0; caption(); };
    const position = slider(model.get("label"), { min: 0, max: reel().n - 1 }, (i) => { stop(); go(i); });
    const films = choice(model.get("choice"), reels.map((r) => r.name), (film) =>
      save({ film, index: Math.round(share * (reels[film].n - 1)) }));
    if (reels.length > 1) root.append(films.row);
    root.append(picture, position.row, button);

    const draw = () => {
      const r = reel(), i = index(), tile = r.start + i, text = r.captions[i];
      const left = (tile % columns) * width * panels.length, top = Math.floor(tile / columns) * height;
      screens.forEach(({ pen }, p) => pen.drawImage(sheet, left + p * width, top, width, height, 0, 0, width, height));
      position.input.max = r.n - 1;
      position.set(i, text);
      films.set(reels.indexOf(r));
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${r.name ? r.name + ", " : ""}${text}`);
      Object.assign(root.dataset, { value: i, film: r.name, text });
    };
    listen("change:index change:film", draw);
    still.addEventListener("change", stop);
    go(index());
    stop();
    draw();
    show();
    return () => { stop(); still.removeEventListener("change", stop); close(); };
  },
};
