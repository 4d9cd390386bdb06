// The form of the decision guide: adds up the rules as genai_utils.compare.guide does, and shows what it proposes.
// The reasons, with their links, are copied from the page, where they can be read without this script.
(() => {
  "use strict";
  const form = document.querySelector("form.guide-form");
  const said = document.querySelector(".guide-said");
  const result = document.querySelector(".guide-result");
  const source = document.getElementById("guide-data");
  if (!form || !said || !result || !source) return;
  const data = JSON.parse(source.textContent);
  const questions = Object.keys(data.questions);

  const el = (tag, attributes, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };

  // ---- answers: in the form, and in the address after the #

  const given = () => {
    const answers = {};
    for (const key of questions) {
      const chosen = form.querySelector(`input[name="${key}"]:checked`);
      if (chosen) answers[key] = chosen.value;
    }
    return answers;
  };

  const fromAddress = () => {
    const found = new URLSearchParams(location.hash.slice(1));
    const answers = {};
    for (const key of questions) {
      if (data.questions[key].includes(found.get(key))) answers[key] = found.get(key);
    }
    return answers;
  };

  const toAddress = (answers) => {
    const hash = new URLSearchParams(answers).toString();
    const address = location.href.split("#")[0] + (hash ? `#${hash}` : "");
    history.replaceState(history.state, "", address);
  };

  const fill = (answers) => {
    for (const input of form.querySelectorAll("input")) input.checked = answers[input.name] === input.value;
  };

  // ---- the sum: what fits first, then the total of the points; equals by the aim's part, then in the families' order

  const aim = (rule) => rule.when.some(([key]) => key === "aim");
  const sum = (rules) => rules.reduce((total, rule) => total + rule.points, 0);

  const rank = (answers) => {
    const held = data.rules
      .map((rule, place) => ({ ...rule, place }))
      .filter((rule) => rule.when.every(([key, wanted]) => wanted.includes(answers[key])));
    const choices = [];
    for (const name of Object.keys(data.families)) {
      const mine = held.filter((rule) => rule.families.includes(name));
      if (mine.some((rule) => rule.points === null)) continue;
      mine.sort((a, b) => b.points - a.points || aim(b) - aim(a));
      const part = sum(mine.filter(aim));
      choices.push({ name, total: sum(mine), part, fits: part > 0, reasons: mine });
    }
    choices.sort((a, b) => b.fits - a.fits || b.total - a.total || b.part - a.part);
    return { choices, out: held.filter((rule) => rule.points === null) };
  };

  const proposed = (choices) => {
    const fitting = choices.filter((choice) => choice.fits);
    const twin = (choice) => data.oneNetwork.includes(choice.name);
    const kept = [];
    for (const choice of fitting.length ? fitting : choices) {
      if (!twin(choice) || !kept.some(twin)) kept.push(choice);
    }
    return kept.slice(0, 3);
  };

  // ---- what is shown

  const copy = (id, selector) => {
    const found = document.getElementById(id).querySelector(selector).cloneNode(true);
    for (const node of [found, ...found.querySelectorAll("[id]")]) node.removeAttribute("id");
    return [...found.childNodes];
  };

  const list = (title, rules) => {
    if (!rules.length) return [];
    const items = rules.map((rule) => el("li", {}, ...copy(`guide-r-${rule.place}`, ".guide-why")));
    return [el("p", { className: "guide-kind" }, title), el("ul", {}, ...items)];
  };

  const card = ({ name, total, reasons }, place) => {
    const known = reasons.filter((rule) => rule.points > 0);
    const against = reasons.filter((rule) => rule.points < 0).reverse();
    const mind = reasons.filter((rule) => rule.points === 0).sort((a, b) => a.when.length - b.when.length);
    const points = `${total > 0 ? "+" : ""}${total} ${Math.abs(total) === 1 ? "point" : "points"}`.replace("-", "\u2212");
    const box = el(
      "section",
      { className: "guide-card" },
      el("h3", {}, `${place + 1}. `, ...copy(`guide-f-${name}`, "p")),
      el("p", { className: "guide-total" }, points),
      ...list("For it", known.slice(0, data.shown.for)),
      ...list("Against it", against.slice(0, data.shown.against)),
      ...list("Mind", mind.slice(0, data.shown.mind)),
    );
    box.dataset.family = name;
    return box;
  };

  const ruledOut = (out) => {
    const names = new Set(out.flatMap((rule) => rule.families));
    if (!names.size) return [];
    const items = out.map((rule) => {
      const who = rule.families.map((name) => data.families[name]).join(", ");
      return el("li", {}, el("strong", {}, `${who}: `), ...copy(`guide-r-${rule.place}`, ".guide-why"));
    });
    const title = `Ruled out: ${names.size} of ${Object.keys(data.families).length} families`;
    return [el("details", {}, el("summary", {}, title), el("ul", {}, ...items))];
  };

  const summary = (best) => {
    const [first, ...rest] = best.map((choice) => data.families[choice.name]);
    if (!best[0].fits) {
      const words = form.querySelector('input[name="aim"]:checked').closest("label").textContent.trim();
      const names = [first, ...rest].join("; ");
      return `No family here has evidence for “${words}”. The best by your other answers: ${names}.`;
    }
    if (!rest.length) return `Only one fits these answers: ${first}. The reasons follow.`;
    const few = rest.length === 1 ? "Only two fit these answers. " : "";
    return `${few}First: ${first}. Then: ${rest.join("; ")}. The reasons follow.`;
  };

  const show = () => {
    const answers = given();
    const open = questions.length - Object.keys(answers).length;
    if (open) {
      said.textContent = open === questions.length ? "Answer all four, and the families that fit appear here."
        : `${open} ${open === 1 ? "question" : "questions"} to go.`;
      result.replaceChildren();
      return;
    }
    const { choices, out } = rank(answers);
    const best = proposed(choices);
    said.textContent = summary(best);
    result.replaceChildren(el("div", { className: "guide-cards" }, ...best.map(card)), ...ruledOut(out));
  };

  form.addEventListener("change", () => {
    toAddress(given());
    show();
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    fill({});
    toAddress({});
    show();
    form.querySelector("input").focus();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => {
    fill(fromAddress());
    show();
  });
  fill(fromAddress());
  form.hidden = false;
  show();
})();
