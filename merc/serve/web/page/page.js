// The flow: choose clips or an example, wait, look at the answer.
import { ask, post, ServersError, upload } from "/talk.js";
import { clearResult, colours, drawResult, element, likeliest } from "/draw.js";
import { canRecord, record } from "/record.js";
import { language, partName, speak, t, translate } from "/texts.js";
import { explain, giveUp } from "/why.js";

const id = (name) => document.getElementById(name);
const sections = ["choose", "work", "result"];
const state = { about: null, clips: [], job: null, files: [], shown: null, first: null, open: null, stop: null };

// ---- choosing

async function begin() {
  state.about = await ask("/api/about");
  Object.assign(colours, state.about.model.colours);
  id("record").hidden = !canRecord();
  drawAbout();
}

function drawAbout() {
  const { model, examples, hint } = state.about;
  id("about").textContent = t("looksAt", model.modalities.map(partName), model.writes_down);
  id("examples-hint").textContent = examples.length ? t("drawn") : hint;
  if (!examples.length) id("examples-hint").lang = "en";
  id("examples").replaceChildren(...examples.map((one) => {
    const button = element("button", { type: "button" }, element("span", {}, one.title),
      element("small", {}, t("numClips", one.clips)));
    button.addEventListener("click", () => read(() => post("/api/jobs", { example: one.name }), []));
    return element("li", {}, button);
  }));
}

async function add(files) {
  problem("");
  const { limits } = state.about;
  const subtitles = [...files].filter((file) => WORDS.test(file.name));
  for (const file of files) {
    if (WORDS.test(file.name)) continue;
    const size = state.clips.reduce((sum, clip) => sum + clip.file.size, file.size);
    const reason =
      state.clips.length >= limits.clips ? t("tooMany", limits.clips) :
      file.size > limits.clip_bytes ? t("tooLarge", megabytes(file.size), megabytes(limits.clip_bytes)) :
      size > limits.job_bytes ? t("tooLargeAll", megabytes(limits.job_bytes)) :
      file.size === 0 ? t("empty") : "";
    if (reason) problem(`${file.name}: ${reason}.`);
    else state.clips.push({ file, text: "", speaker: "" });
  }
  for (const file of subtitles) await attach(file);
  drawClips();
  status(t("chosen", state.clips.length));
}

const WORDS = /\.(srt|vtt|txt)$/i;
const stem = (name) => name.replace(/\.[^.]*$/, "");

// A file of words belongs to the clip of its name, or to the only clip that there is.
async function attach(file) {
  const clip = state.clips.find((one) => stem(one.file.name) === stem(file.name)) || (state.clips.length === 1 && state.clips[0]);
  if (!clip) return problem(t("lonely", file.name));
  if (file.size > state.about.limits.text) return problem(t("tooLong", file.name, state.about.limits.text));
  clip.text = await file.text();
}

function drawClips(focus) {
  id("send").hidden = state.clips.length === 0;
  id("clips").replaceChildren(...state.clips.map((clip, place) => {
    const move = (name, label, to) => {
      const button = element("button", { type: "button", "aria-label": t(label, clip.file.name) }, name);
      button.disabled = to < 0 || to >= state.clips.length;
      button.addEventListener("click", () => {
        state.clips.splice(place, 1);
        if (name !== "✕") state.clips.splice(to, 0, clip);
        drawClips([Math.min(to, state.clips.length - 1), name]);
      });
      return button;
    };
    const text = element("textarea", { id: `text-${place}`, rows: 1, maxlength: state.about.limits.text });
    text.value = clip.text;
    text.addEventListener("input", () => { clip.text = text.value; });
    const speaker = element("input", { id: `speaker-${place}`, maxlength: 100, autocomplete: "off" });
    speaker.value = clip.speaker;
    speaker.addEventListener("input", () => { clip.speaker = speaker.value; });
    return element("li", {},
      element("div", { class: "head" }, element("b", {}, `${place + 1}. ${clip.file.name}`),
        move("↑", "up", place - 1), move("↓", "down", place + 1), move("✕", "remove", place)),
      element("div", { class: "said-by" },
        element("label", { for: `text-${place}` }, t("words"), text),
        element("label", { for: `speaker-${place}` }, t("speaker"), speaker)));
  }));
  if (!focus) return;
  const row = id("clips").children[focus[0]];
  const button = row && [...row.querySelectorAll("button")].find((one) => one.textContent === focus[1] && !one.disabled);
  (button || id("files")).focus();
}

function submit(event) {
  event.preventDefault();
  const clips = state.clips;
  read(async (signal) => {
    const offered = clips.map(({ file, text, speaker }) => ({ name: file.name, size: file.size, text, speaker }));
    const job = await post("/api/jobs", { clips: offered, cut: id("cut").value });
    state.job = job.job;
    const total = clips.reduce((sum, clip) => sum + clip.file.size, 0);
    let sent = 0;
    for (const [place, { file }] of clips.entries()) {
      const told = (loaded) => step(t("sending", file.name), (sent + loaded) / total);
      await upload(`/api/jobs/${job.job}/clips/${place}`, file, told, signal);
      sent += file.size;
    }
    await post(`/api/jobs/${job.job}/start`);
    return job;
  }, clips.map((clip) => clip.file));
}

// ---- waiting

async function read(open, files) {
  const stop = new AbortController();
  state.stop = stop;
  problem("");
  show("work");
  step(t("beginning"), 0);
  try {
    const { job } = await open(stop.signal);
    state.job = job;
    await wait(job, stop.signal);
    state.files = files;
    await showResult();
  } catch (error) {
    await leave();
    show("choose");
    if (error.name === "AbortError") status(t("cancelled"));
    else problem(error.message, error.language);
  }
}

async function wait(job, signal) {
  for (let query = ""; ; query = "?wait") {
    if (signal.aborted) throw new DOMException("cancelled", "AbortError");
    const told = await ask(`/api/jobs/${job}${query}`, { signal });
    if (told.state === "ready") return;
    if (told.state === "failed") throw new ServersError(told.error);
    if (told.ahead) step(t("queue", told.ahead), 0);
    else step(t("step", told.step || "Reading"), told.share);
  }
}

function step(words, share) {
  const whole = Math.round(100 * Math.min(share, 1));
  if (id("work-step").textContent !== words) status(words);
  id("work-step").textContent = words;
  id("work-share").textContent = `${whole}\u00a0%`;
  id("work-bar").setAttribute("aria-valuenow", whole);
  id("work-bar").firstElementChild.style.width = `${whole}%`;
}

// Whatever is still asked of the job is dropped first: the answer would be that the job is gone.
async function leave() {
  const job = state.job;
  state.job = null;
  state.stop?.abort();
  close();
  clearResult();
  if (job) await ask(`/api/jobs/${job}`, { method: "DELETE" }).catch(() => null);
}

// ---- the answer

async function showResult() {
  state.first = null;
  id("modalities").querySelectorAll("input").forEach((box) => { box.checked = true; });
  drawModalities();
  await update();
  close();
  show("result");
  status(t("done", state.shown.rows.length));
}

function hidden() {
  return [...id("modalities").querySelectorAll("input:not(:checked)")].map((box) => box.value);
}

function drawModalities() {
  const names = state.about.model.modalities;
  const off = hidden();
  const boxes = names.map((name) => {
    const box = element("input", { type: "checkbox", value: name });
    box.checked = !off.includes(name);
    box.addEventListener("change", () => guarded(async () => {
      await update();
      status(`${t(box.checked ? "withPart" : "withoutPart", partName(name))}: ${summary()}`);
    }));
    return element("label", {}, box, element("span", { class: "name" }, partName(name)));
  });
  id("modalities").replaceChildren(id("modalities").firstElementChild, ...boxes);
}

const likeliestLabel = (row) => likeliest(row)[0];

function summary() {
  const changed = state.shown.rows.filter((row, place) => likeliestLabel(row) !== likeliestLabel(state.first[place])).length;
  return changed ? t("someChange", changed, state.shown.rows.length) : t("noChange");
}

async function update() {
  const query = hidden().length ? `?hide=${hidden().join(",")}` : "";
  const mine = (state.asked = (state.asked || 0) + 1);
  const told = await ask(`/api/jobs/${state.job}/dialogue${query}`, { signal: state.stop.signal });
  if (mine !== state.asked) return; // a later switch was answered first
  state.shown = told;
  state.first = state.first || told.rows;
  const own = `/api/jobs/${state.job}`;
  id("json").href = `${own}/emotions.json${query}`;
  id("srt").href = `${own}/emotions.srt${query}`;
  drawResult({ ...state, own, query, choose });
  if (state.open !== null) choose(state.open, false);
}

function choose(place, focus = true) {
  if (focus && state.open === place) return close();
  state.open = place;
  const query = hidden().length ? `?hide=${hidden().join(",")}` : "";
  mark();
  const detail = explain({ ...state, own: `/api/jobs/${state.job}`, query, place, close });
  if (focus) detail.querySelector("h3").focus({ preventScroll: wide.matches });
  return detail;
}

function mark() {
  for (const [list, name] of [["utterances", "aria-expanded"], ["timeline", "aria-current"]]) {
    id(list).querySelectorAll("[data-place]").forEach((button) => {
      button.setAttribute(name, String(Number(button.dataset.place) === state.open));
    });
  }
}

function close() {
  const place = state.open;
  state.open = null;
  giveUp();
  document.querySelector(".detail")?.remove();
  id("side-hint").hidden = false;
  mark();
  if (place !== null) id("utterances").querySelector(`[data-place="${place}"]`)?.focus();
}

const wide = matchMedia("(min-width: 60.01rem)");

// ---- the frame

function show(name) {
  for (const other of sections) id(other).hidden = other !== name;
  if (name !== "choose") id(`${name}-title`).focus({ preventScroll: true });
  scrollTo(0, 0);
}

function problem(words, itsLanguage = language) {
  id("problem").lang = itsLanguage;
  id("problem").textContent = words;
  id("problem").hidden = !words;
}

function status(words) {
  id("status").textContent = words;
}

async function guarded(action) {
  try { problem(""); await action(); } catch (error) { if (error.name !== "AbortError") problem(error.message, error.language); }
}

const megabytes = (size) => `${Math.ceil(size / 1e6).toLocaleString(language)} MB`;

id("files").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
id("upload").addEventListener("submit", submit);
id("cancel").addEventListener("click", () => state.stop?.abort());
id("again").addEventListener("click", async () => { await leave(); state.clips = []; drawClips(); show("choose"); status(""); id("files").focus(); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  id("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    id("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") add(event.dataTransfer.files);
  });
}
id("utterances").addEventListener("keydown", (event) => {
  const button = event.target.closest("[data-place]");
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!button || !by) return;
  event.preventDefault();
  id("utterances").querySelector(`[data-place="${Number(button.dataset.place) + by}"]`)?.focus();
});
addEventListener("keydown", (event) => { if (event.key === "Escape" && state.open !== null) close(); });
// A tab that is closed needs its conversation no more; `keepalive` lets the request outlive it.
addEventListener("pagehide", (event) => {
  if (state.job && !event.persisted) fetch(`/api/jobs/${state.job}`, { method: "DELETE", keepalive: true });
});

// ---- recording, languages

const tape = {
  taken: (file) => add([file]),
  failed: problem,
  said: status,
};
for (const [name, withCamera] of [["record-both", true], ["record-sound", false]]) {
  id(name).addEventListener("click", () => { problem(""); record(withCamera, tape); });
}

function drawLanguages() {
  id("languages").querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", String(button.value === language)));
}

id("languages").addEventListener("click", (event) => guarded(async () => {
  if (!event.target.value || event.target.value === language) return;
  speak(event.target.value);
  drawLanguages();
  if (state.about) drawAbout();
  drawClips();
  if (!state.job || !state.shown) return;
  drawModalities();
  await update();
}));

translate();
drawLanguages();
guarded(begin);
