// Shared by the widgets of the book. Python puts this text before the widget's own file: no imports, no network.

/** An HTML element: attributes, listeners (functions), children. */
const node = (tag, attributes = {}, ...children) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (typeof v === "function") e.addEventListener(k, v);
    else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children);
  return e;
};

/** An SVG element. */
const svg = (tag, attributes = {}, ...children) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
};

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const clamp = (v, lo, hi) => Math.min(hi, Math.max(lo, v));

/** Decode picture bytes with every grey level as it was stored. */
const bitmap = (view, mime) =>
  createImageBitmap(new Blob([bytes(view)], { type: mime }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });

/** A canvas of `width` x `height` picture pixels, shown `size` CSS pixels wide. */
const screen = (width, height, size) => {
  const canvas = node("canvas", { width, height, style: `width:${size}px` });
  if (width <= 128) canvas.classList.add("gw-pixels");
  return { canvas, pen: canvas.getContext("2d", { willReadFrequently: true }) };
};

let ids = 0;

/** A labelled native range input. set(value, text) moves it and says the text; oninput(value) hears the reader. */
const slider = (label, { min, max, step = 1 }, oninput) => {
  const id = `gw-in-${Date.now().toString(36)}-${ids++}`;
  const input = node("input", { type: "range", id, min, max, step, input: () => oninput(+input.value) });
  const output = node("output", { for: id });
  const row = node("div", { class: "gw-row" }, node("label", { for: id }, label), input, output);
  const set = (value, text) => {
    input.value = value;
    input.setAttribute("aria-valuetext", text);
    output.textContent = text;
  };
  return { row, input, set };
};

/** Native radio buttons, or a select when there are many. set(i) chooses; onchange(i) hears the reader. */
const choice = (legend, names, onchange) => {
  const id = `gw-ch-${Date.now().toString(36)}-${ids++}`;
  if (names.length > 6) {
    const select = node("select", { id, change: () => onchange(select.selectedIndex) },
      ...names.map((name) => node("option", {}, name)));
    return { row: node("div", { class: "gw-row" }, node("label", { for: id }, legend), select), set: (i) => { select.selectedIndex = i; } };
  }
  const inputs = names.map((name, i) => node("input", { type: "radio", name: id, value: name, change: () => onchange(i) }));
  const labels = names.map((name, i) => node("label", {}, inputs[i], " ", name));
  return { row: node("fieldset", {}, node("legend", {}, legend), ...labels), set: (i) => { inputs[i].checked = true; } };
};

/**
 * Put the widget's root into the page; returns { root, listen, close }.
 * Keys stay inside it: JupyterLab and the book's theme use the arrow keys themselves.
 */
const mount = (model, el, name) => {
  const root = node("div", { class: `gw gw-view gw-${name}`, role: "group", "aria-label": model.get("alt"), "data-lm-suppress-shortcuts": "true",
    keydown: (e) => { if (!e.ctrlKey && !e.metaKey && !e.altKey) e.stopPropagation(); } });
  const heard = [];
  const listen = (events, f) => { for (const e of events.split(" ")) { model.on(e, f); heard.push([e, f]); } };
  const stills = () => document.querySelectorAll(`[data-gw-still="${model.get("uid")}"]`);
  const show = () => {                                   // last: a widget that fails to draw leaves its static figure
    el.replaceChildren(root);
    for (const still of stills()) still.style.display = "none";
    root.dataset.ready = "true";
  };
  const close = () => { for (const [e, f] of heard) model.off(e, f); };
  return { root, listen, show, close };
};
