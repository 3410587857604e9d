// The conversation: a timeline and a list of utterances.
import { labelName, partName, t, taskName } from "/texts.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

// The label space may give a label a colour; the sample's have some in page.css; any other gets a steady one from its letters.
export const colours = {};
export function hue(label) {
  if (colours[label]) return colours[label];
  if (getComputedStyle(document.documentElement).getPropertyValue(`--${label}`)) return `var(--${label})`;
  const number = [...label].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  return `hsl(${number} 55% 55%)`;
}

// A row's tasks, the first of which is shown largest; a number (its task is named in `kinds`) counts as its own label.
export const tasks = (row) => Object.keys(row).filter((name) => !["gates", "kinds", "missing", "prediction_set", "typicality"].includes(name)
  && row[name] !== null && typeof row[name] === "object" && Object.keys(row[name]).length);
const isNumber = (row, task) => (row.kinds || {})[task] === "regression";
export const likeliest = (row, task = tasks(row)[0]) =>
  isNumber(row, task) ? [`${task} ${row[task].value.toFixed(2)}`, 1] : ranked(row[task])[0];
export const chancesOf = (row, task = tasks(row)[0]) => (isNumber(row, task) ? {} : row[task]);

export const ranked = (chances) => Object.entries(chances).sort((one, other) => other[1] - one[1]);

export function dot(label) {
  const made = element("span", { class: "dot", "aria-hidden": "true" });
  made.style.setProperty("--hue", hue(label));
  return made;
}

export function drawResult(state) {
  const list = document.getElementById("utterances");
  const kept = document.activeElement?.closest?.("#utterances, #timeline")?.id;
  const place = document.activeElement?.dataset?.place;
  document.querySelector("#utterances .detail")?.remove();
  list.replaceChildren(...state.shown.rows.map((row, number) => element("li", {}, utterance(state, row, number))));
  timeline(state);
  legend(state.shown.rows);
  if (kept && place !== undefined) document.querySelector(`#${kept} [data-place="${place}"]`)?.focus();
}

export function clearResult() {
  document.querySelectorAll("img.face").forEach((image) => image.removeAttribute("src")); // stops those that are on their way
  for (const name of ["utterances", "timeline"]) document.getElementById(name).replaceChildren();
}

function utterance(state, row, number) {
  const [label, chance] = likeliest(row);
  const button = element("button", { type: "button", class: "utterance", "data-place": number, "aria-expanded": "false" },
    face(state, number),
    element("span", { class: "said" },
      element("span", { class: "who" }, [row.speaker, when(row), row.utterance].filter(Boolean).join(" · ")),
      element("span", {}, row.text || t("noWords")),
      ...(row.text_source === "recognised" ? [element("span", { class: "who" }, t("recognised"))] : []),
      ...(row.missing.length ? [element("span", { class: "who" }, t("without", row.missing.map(partName)))] : [])),
    element("span", { class: "feeling" },
      element("span", { class: "emotion" }, dot(label), element("span", {}, labelName(label)), element("span", { class: "unsure" }, isNumber(row, tasks(row)[0]) ? "" : `\u00a0${percent(chance)}`)),
      ...(row.abstains ? [element("span", { class: "change" }, t("unsure"))] : []),
      ...changed(state, row, number),
      ...others(row),
      gates(row)));
  button.style.setProperty("--hue", hue(label));
  button.addEventListener("click", () => state.choose(number));
  return button;
}

// A clip that is one utterance needs no clock.
const when = (row) => (row.start ? `${clock(row.start)}–${clock(row.end)}` : `${row.end.toFixed(1)} s`);

function face(state, number) {
  if (!state.shown.view[number].picture) return element("span", { class: "face" }, t("noPicture"));
  return element("img", { class: "face", src: `${state.own}/pictures/${number}`, alt: "", width: 72, height: 72 });
}

function changed(state, row, number) {
  const [before, chance] = likeliest(state.first[number]);
  const [now, share] = likeliest(row);
  if (row === state.first[number] || (before === now && Math.abs(share - chance) < 0.005)) return [];
  return [element("span", { class: "change" }, t("was", isNumber(row, tasks(row)[0]) ? before : `${labelName(before)} ${percent(chance)}`))];
}

function others(row) {
  return tasks(row).slice(1).map((task) => {
    const [label, chance] = likeliest(row, task);
    return element("span", {}, dot(label), isNumber(row, task) ? label : `${taskName(task)} ${labelName(label)} ${percent(chance)}`);
  });
}

function gates(row) {
  const shares = Object.entries(row.gates);
  if (!shares.length) return "";
  const stack = element("span", { class: "stack", "aria-hidden": "true" }, ...shares.map(([, share]) => {
    const part = element("span");
    part.style.flex = `${share} 0 0`;
    return part;
  }));
  const told = shares.map(([name, share]) => `${partName(name)}\u00a0${percent(share)}`).join(", ");
  return element("span", { class: "gates", title: t("relies") }, stack, told);
}

function timeline(state) {
  const buttons = state.shown.rows.map((row, number) => {
    const [label, chance] = likeliest(row);
    const button = element("button", { type: "button", "data-place": number, "aria-current": "false",
      "aria-label": `${t("utterance", number + 1)}, ${labelName(label)} ${percent(chance)}`, title: `${labelName(label)} ${percent(chance)}` },
      element("i"), face(state, number), element("b", { "aria-hidden": "true" }, labelName(label)));
    button.style.flexGrow = Math.max(row.end - row.start, 0.3);
    button.style.setProperty("--hue", hue(label));
    button.firstElementChild.style.height = `${8 + 27 * chance}%`;
    button.addEventListener("click", () => state.choose(number));
    return button;
  });
  document.getElementById("timeline").replaceChildren(...buttons);
  stand();
}

// Labels that are wider than their places stand upright, all of them.
function stand() {
  const line = document.getElementById("timeline");
  line.classList.remove("upright");
  line.classList.toggle("upright", [...line.querySelectorAll("b")].some((label) => label.scrollWidth > label.clientWidth));
}
new ResizeObserver(() => requestAnimationFrame(stand)).observe(document.getElementById("timeline"));

function legend(rows) {
  const counts = new Map();
  for (const row of rows) {
    const [label] = likeliest(row);
    counts.set(label, (counts.get(label) || 0) + 1);
  }
  const items = [...counts].sort((one, other) => other[1] - one[1]).map(([label, count]) =>
    element("li", {}, dot(label), `${labelName(label)} ${count}`));
  document.getElementById("legend").replaceChildren(...items);
}
