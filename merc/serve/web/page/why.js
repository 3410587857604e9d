// One utterance: its clip, how sure the answer is, and what made it so.
import { chancesOf, clock, dot, element, hue, percent, ranked, tasks } from "/draw.js";
import { ask } from "/talk.js";
import { labelName, language, partName, t, translate } from "/texts.js";

const wide = matchMedia("(min-width: 60.01rem)");
const held = new Map(); // File -> address of the browser's own copy
let asking = null; // the request for reasons that is under way

// Reasons that nobody waits for any more are not worked out.
export function giveUp() {
  asking?.abort();
  asking = null;
}

export function explain(state) {
  const { place, shown } = state;
  const row = shown.rows[place], view = shown.view[place];
  const old = document.querySelector(".detail");
  const playing = old && Number(old.dataset.place) === place ? old.querySelector(".clip") : null;
  const detail = document.getElementById("detail-template").content.firstElementChild.cloneNode(true);
  translate(detail);
  detail.dataset.place = place;
  const title = detail.querySelector("h3");
  title.textContent = row.text ? `“${row.text}”` : t("utterance", place + 1);
  title.id = "detail-title";
  detail.querySelector(".close").addEventListener("click", state.close);
  if (playing) detail.querySelector(".clip").replaceWith(playing);
  else clip(detail, state, view);
  chances(detail, row, view);
  old?.remove();
  document.getElementById("side-hint").hidden = true;
  settle(detail);
  reasons(detail.querySelector(".why"), state, row, view);
  return detail;
}

// Beside the list where there is room for it, else below its utterance.
function settle(detail) {
  const below = () => document.querySelector(`#utterances [data-place="${detail.dataset.place}"]`).parentElement;
  (wide.matches ? document.getElementById("side") : below()).append(detail);
}

wide.addEventListener("change", () => document.querySelectorAll(".detail").forEach(settle));

function clip(detail, state, view) {
  const video = detail.querySelector(".clip"), problem = detail.querySelector(".clip-problem");
  const file = state.files[view.clip];
  if (file && !held.has(file)) held.set(file, URL.createObjectURL(file));
  video.src = `${file ? held.get(file) : `${state.own}/clips/${view.clip}`}#t=${view.begin},${view.end}`;
  video.setAttribute("aria-label", t("clip", clock(view.begin), clock(view.end)));
  // A recording of the browser's own tells no length until its end has been looked for.
  video.addEventListener("loadedmetadata", () => {
    if (video.duration !== Infinity) return;
    video.addEventListener("durationchange", () => { video.currentTime = view.begin; }, { once: true });
    video.currentTime = 1e7;
  });
  video.addEventListener("error", () => {
    video.hidden = true;
    problem.hidden = false;
    problem.textContent = t("unplayable");
  });
}

function chances(detail, row, view) {
  detail.querySelector(".chances").replaceChildren(...ranked(chancesOf(row)).map(([label, chance]) => {
    const bar = element("span");
    bar.style.width = `${100 * chance}%`;
    bar.style.setProperty("--hue", hue(label));
    return element("li", {}, element("span", {}, dot(label), labelName(label)), element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("span", { class: "value" }, percent(chance)));
  }));
  detail.querySelector(".set").textContent =
    certainty(row);
  const lacking = Object.entries(view.missing).map(([name, reason]) => t("lacks", partName(name), reason));
  const typical = Object.entries(row.typicality).filter(([, value]) => value !== null)
    .map(([name, value]) => `${name === "whole" ? t("whole") : partName(name)} ${number(value)}`);
  const told = typical.length ? [t("typicality", typical.join(", "))] : [];
  detail.querySelector(".notes").textContent = [...lacking, ...view.notes, ...told].join("; ");
}

function unsure(row) {
  const isBlind = row.missing.length === Object.keys(row.typicality).length - 1; // less one: of the whole
  return t(isBlind ? "nothing" : "tooManyLabels");
}

function certainty(row) {
  const task = tasks(row)[0], kind = (row.kinds || {})[task], { low, high } = row[task];
  const names = row.prediction_set.map(labelName).join(", ");
  if (kind === "regression") return t("between", number(low), number(high));
  if (kind === "multilabel") return row.prediction_set.length ? t("hold", names) : t("noneHold");
  return `${t("oneOf", names)}${row.abstains ? ` ${unsure(row)}` : ""}`;
}

async function reasons(home, state, row, view) {
  home.textContent = t("working");
  giveUp();
  const mine = (asking = new AbortController());
  try {
    const told = await ask(`${state.own}/explanations/${state.place}${state.query}`, { signal: mine.signal });
    if (!home.isConnected) return;
    const parts = [modalities(told), words(told), sound(told), picture(told, state, view, mine.signal), influence(told, state)];
    const panels = parts.flat();
    home.replaceChildren(element("p", { class: "summary" }, inWords(told, state)), ...(panels.length ? [about(told)] : []), ...panels);
  } catch (error) {
    home.lang = error.language || language;
    home.textContent = error.message;
  }
  home.setAttribute("aria-busy", "false");
}

// The panels below in a few sentences, for whoever reads no bars.
function inWords(told, state) {
  const name = labelName(told.label), said = [];
  const parts = strongestFirst(told.modalities), [most, ...others] = parts;
  if (most) said.push(t("most", partName(most.name), most.value > 0, name));
  const hardly = others.filter((one) => Math.abs(one.value) < HARDLY), others_ = others.filter((one) => !hardly.includes(one));
  const groups = { spokeFor: others_.filter((one) => one.value > 0), spokeAgainst: others_.filter((one) => one.value < 0), hardly };
  for (const [key, group] of Object.entries(groups)) if (group.length) said.push(t(key, group.map((one) => partName(one.name))));
  const [word] = strongestFirst(told.words);
  if (word) said.push(t("mostWord", word.name, word.value > 0));
  const [turn] = otherTurns(told, state);
  if (turn) said.push(t("mostTurn", turn.place + 1, turn.value > 0));
  return said.length ? [...said, t("unit", name)].join(" ") : t("nothing");
}

const HARDLY = 0.05; // of log-odds: a twentieth more or less
const strongestFirst = (items) => [...items].sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
const number = (value) => value.toLocaleString(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

function about(told) {
  return element("p", { class: "small key" }, element("span", { class: "plus" }, t("forLabel", labelName(told.label))),
    element("span", { class: "minus" }, t("againstLabel", labelName(told.label))));
}

function bars(items) {
  const most = Math.max(...items.map((item) => Math.abs(item.value)), 1e-9);
  return element("ul", { class: "bars" }, ...items.map(({ name, value }) => {
    const bar = element("span", value < 0 ? { class: "minus" } : {});
    bar.style.left = `${value < 0 ? 50 * (1 + value / most) : 50}%`;
    bar.style.width = `${50 * Math.abs(value) / most}%`;
    return element("li", {}, element("span", {}, name), element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("span", { class: "value" }, `${value > 0 ? "+" : ""}${number(value)}`));
  }));
}

function modalities(told) {
  if (!told.modalities.length) return [];
  return [element("h4", {}, t("partsTitle")), bars(told.modalities.map((one) => ({ ...one, name: partName(one.name) })))];
}

function words(told) {
  if (!told.words.length) return [];
  const most = Math.max(...told.words.map((one) => Math.abs(one.value)), 1e-9);
  const marks = told.words.flatMap(({ name: word, value }) => {
    const mark = element("mark", { class: value < 0 ? "minus" : "plus", title: value.toFixed(3) }, word);
    mark.style.setProperty("--much", `${Math.round(100 * Math.abs(value) / most)}%`);
    return [mark, " "];
  });
  const [strongest] = strongestFirst(told.words);
  return [element("h4", {}, t("wordsTitle")), element("p", { class: "words" }, ...marks),
    element("p", { class: "small" }, t("strongestWord", strongest.name, strongest.value > 0, labelName(told.label)))];
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function sound(told) {
  if (!told.sound) return [];
  const { envelope, parts, seconds } = told.sound;
  const most = Math.max(...parts.map((one) => Math.abs(one.value)), 1e-9);
  const [strongest] = strongestFirst(parts);
  const canvas = element("canvas", { width: 800, height: 160, role: "img",
    "aria-label": strongest ? t("loudnessOf", seconds.toFixed(1), clock(strongest.begin), clock(strongest.end)) : t("loudness") });
  const pen = canvas.getContext("2d"), width = 800 / Math.max(envelope.length, 1);
  envelope.forEach((loud, place) => {
    const time = (place + 0.5) / envelope.length * seconds;
    const part = parts.find((one) => time >= one.begin && time < one.end);
    const value = part ? part.value / most : 0;
    pen.globalAlpha = 0.25;
    pen.fillStyle = ink("--soft");
    pen.fillRect(place * width, 80 - 75 * loud, Math.max(width - 1, 1), 150 * loud + 2);
    pen.globalAlpha = Math.abs(value);
    pen.fillStyle = ink(value < 0 ? "--against" : "--for");
    pen.fillRect(place * width, 80 - 75 * loud, Math.max(width - 1, 1), 150 * loud + 2);
  });
  const most_ = strongest ? t("strongestSound", clock(strongest.begin), clock(strongest.end), strongest.value > 0, labelName(told.label)) : "";
  return [element("h4", {}, t("soundTitle")), canvas, element("p", { class: "small" }, most_)];
}

function picture(told, state, view, signal) {
  if (!told.picture || !view.picture) return [];
  const canvas = element("canvas", { class: "seen", width: 288, height: 288, role: "img",
    "aria-label": t("faceMap", labelName(told.label), told.picture.signed) });
  const rows = told.picture.map, overlay = element("canvas", { width: rows[0].length, height: rows.length });
  const brush = overlay.getContext("2d");
  rows.forEach((row, top) => row.forEach((value, left) => {
    brush.globalAlpha = 0.8 * Math.abs(value);
    brush.fillStyle = ink(value < 0 ? "--against" : "--for");
    brush.fillRect(left, top, 1, 1);
  }));
  const image = new Image();
  image.onload = () => {
    canvas.height = Math.round(canvas.width * image.height / image.width);
    const pen = canvas.getContext("2d");
    pen.filter = "grayscale(1)"; // so that no skin looks like an answer
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    pen.filter = "none";
    pen.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  };
  image.src = `${state.own}/pictures/${state.place}`;
  signal.addEventListener("abort", () => image.removeAttribute("src"));
  return [element("h4", {}, t("pictureTitle")), canvas, element("p", { class: "small" }, t("coloured", told.picture.method))];
}

const otherTurns = (told, state) =>
  strongestFirst(told.influence.filter((one) => one.place !== state.place && Math.abs(one.value) > 0.005));

function influence(told, state) {
  const others = otherTurns(told, state).slice(0, 4);
  if (!others.length) return [];
  return [element("h4", {}, t("othersTitle")), bars(others.map((one) => ({ name: t("utterance", one.place + 1), value: one.value })))];
}
