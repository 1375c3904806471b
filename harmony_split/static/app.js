// The page: files in, songs with their progress, and the mixer of one of them.

import {
  FINISHED, cancelJob, deleteJob, getModels, getOverview, stemAddress, upload, watch,
} from "/static/api.js";
import { Mixer } from "/static/mixer.js";
import { forget, lengthen, remember, storedSongs } from "/static/songs.js";
import { Strip, element } from "/static/stems.js";
import { wavOf } from "/static/wav.js";

const SKIP_SECONDS = 5;
const MEASURE_MILLISECONDS = 4000;
const get = (id) => document.getElementById(id);

let server = null; // models, formats and limits
let songs = []; // {id, name, size, seconds, job, card, ...}; newest first
let open = null; // {song, part, mixer, strips}
let unwatch = () => {};
let loopStart = null;

// --- Words ---------------------------------------------------------------------------

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

const size = (bytes) =>
  bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`;

const left = (seconds) =>
  seconds >= 90 ? `${Math.round(seconds / 60)} minutes` : `${Math.ceil(seconds)} seconds`;

function say(text, bad = false) {
  get("news").textContent = text;
  get("news").classList.toggle("bad", bad);
}

// --- Server ----------------------------------------------------------------------------

async function askServer() {
  try {
    server = await getModels();
  } catch (error) {
    get("limits").textContent = error.message;
    setTimeout(askServer, 3000);
    return;
  }
  const { bytes, seconds, keep_hours: hours } = server.limits;
  get("limits").textContent =
    `Up to ${size(bytes)} and ${Number((seconds / 60).toFixed(1))} minutes each; ` +
    `kept for ${hours} hours.`;
  const select = get("model");
  select.replaceChildren(
    choices("On this server", server.models.filter((model) => model.ready)),
    choices("Not downloaded", server.models.filter((model) => !model.ready)),
  );
  select.disabled = false;
  select.addEventListener("change", aboutModel);
  aboutModel();
  get("format").replaceChildren(
    ...server.formats.map((name) => element("option", { value: name, textContent: name })),
  );
}

function choices(label, models) {
  const options = models.map((model) =>
    element("option", {
      value: model.name,
      textContent: model.name + (model.bundled ? " (comes with the package)" : ""),
      disabled: !model.ready,
    }),
  );
  return element("optgroup", { label, hidden: !options.length }, ...options);
}

function aboutModel() {
  const model = server.models.find(({ name }) => name === get("model").value);
  if (!model) return;
  get("about-model").textContent = `Licence: ${model.licence}. Score: ${model.score}.`;
}

// --- Files in ------------------------------------------------------------------------

async function take(files) {
  for (const file of files) await takeOne(file);
}

async function takeOne(file) {
  const song = { name: file.name, size: file.size, type: typeOf(file), file };
  song.seconds = file.size ? await measure(file) : null;
  songs.unshift(song);
  addCard(song);
  const refusal = refuse(song);
  if (refusal) show(song, refusal, true);
  else if (get("ask").checked) askFirst(song);
  else send(song);
}

function typeOf(file) {
  const ending = file.name.includes(".") ? file.name.split(".").pop() : "";
  return file.type.replace(/^(audio|video)\/(x-)?/, "") || ending || "unknown format";
}

// The length that the browser reads, or null where it does not know the format.
function measure(file) {
  return new Promise((resolve) => {
    const audio = new Audio();
    const address = URL.createObjectURL(file);
    const end = (seconds) => {
      URL.revokeObjectURL(address);
      resolve(Number.isFinite(seconds) ? seconds : null);
    };
    audio.preload = "metadata";
    audio.onloadedmetadata = () => end(audio.duration);
    audio.onerror = () => end(null);
    setTimeout(() => end(null), MEASURE_MILLISECONDS);
    audio.src = address;
  });
}

function refuse({ size: bytes, seconds }) {
  if (!bytes) return "The file is empty (0 bytes); choose another file.";
  if (!server) return "";
  const { bytes: most, seconds: longest } = server.limits;
  if (bytes > most) {
    return `The file has ${size(bytes)}; this server accepts up to ${size(most)}. ` +
      "Save it as mp3, m4a or ogg, or shorten it.";
  }
  if (seconds > longest) {
    return `The song lasts ${clock(seconds)}; this server accepts up to ` +
      `${clock(longest)}. Shorten it and try again.`;
  }
  return "";
}

function askFirst(song) {
  show(song, "Ready to be uploaded.");
  const start = element("button", { type: "button", textContent: "Split this song" });
  start.addEventListener("click", () => {
    start.remove();
    send(song);
  });
  song.card.row.prepend(start);
  start.focus();
}

async function send(song) {
  const sending = upload(song.file, get("model").value, (share) => {
    song.card.bar.value = share;
    show(song, `Uploading: ${Math.round(100 * share)} %`);
  });
  song.abort = sending.abort;
  song.card.bar.hidden = false;
  song.card.cancel.hidden = false;
  show(song, "Uploading");
  try {
    const job = await sending.job;
    song.id = job.id;
    song.file = song.abort = null;
    remember(song);
    update(song, job);
    watchAll();
    openLater(song);
  } catch (error) {
    song.card.bar.hidden = song.card.cancel.hidden = true;
    show(song, error.message, true);
  }
}

// --- Songs ---------------------------------------------------------------------------

function addCard(song) {
  const card = {
    title: element("h3", { textContent: song.name }),
    about: element("p", { className: "quiet", textContent: about(song) }),
    status: element("p"),
    bar: element("progress", { max: 1, value: 0, hidden: true }),
    row: element("div", { className: "row" }),
  };
  card.bar.setAttribute("aria-label", `Progress of ${song.name}`);
  const button = (text, action, hidden) => {
    const made = element("button", { type: "button", textContent: text, hidden });
    made.setAttribute("aria-label", `${text}: ${song.name}`);
    made.addEventListener("click", () => action(song));
    card.row.append(made);
    return made;
  };
  card.open = button("Open in the mixer", openSong, true);
  card.cancel = button("Cancel", cancel, true);
  card.copy = button("Copy private link", copyLink, true);
  card.remove = button("Delete now", removeSong, false);
  card.item = element("li", {}, card.title, card.about, card.status, card.bar, card.row);
  song.card = card;
  get("songs").prepend(card.item);
  get("no-songs").hidden = true;
}

function about({ seconds, size: bytes, type }) {
  const length = seconds ? clock(seconds) : "length not known yet";
  if (bytes) return `${length}, ${type}, ${size(bytes)}`;
  return seconds ? length : `${type ?? ""}`;
}

function show(song, text, bad = false) {
  song.card.status.textContent = text;
  song.card.status.classList.toggle("bad", bad);
}

function update(song, job) {
  const { card } = song;
  const before = song.job?.state;
  song.job = job;
  const over = FINISHED.includes(job.state);
  card.bar.hidden = over;
  card.bar.removeAttribute("value");
  if (job.state === "separating" && job.progress) card.bar.value = job.progress;
  card.cancel.hidden = over;
  card.copy.hidden = job.state === "gone";
  card.open.hidden = !(job.stems || job.preview) || !["done", "separating"].includes(job.state);
  const bad = ["failed", "gone"].includes(job.state);
  show(song, words(job), bad);
  if (before && before !== job.state && over) say(`${song.name}: ${words(job)}`, bad);
  if (bad || job.state === "cancelled") closeMixer(song);
  else if (open?.song === song || song.opening) openSong(song);
}

function words(job) {
  const note = job.note ? `${job.note} ` : "";
  const separating = () => {
    const share = `${Math.round(100 * job.progress)} %`;
    const time = job.remaining ? `, about ${left(job.remaining)} left` : "";
    const ready = job.preview ? " The loudest part is ready to play." : "";
    return `Separating: ${share}${time}.${ready}`;
  };
  switch (job.state) {
    case "queued":
      return note + (job.position
        ? `In the queue: ${job.position} before this one.`
        : "In the queue: next.");
    case "decoding": return `${note}Reading the file.`;
    case "separating": return note + separating();
    case "done": return `Done. Kept until ${new Date(1000 * job.expires).toLocaleString()}.`;
    case "cancelled": return "Cancelled; the files have been removed.";
    default: return job.error?.message ?? "The separation failed; try again.";
  }
}

async function cancel(song) {
  if (song.abort) return song.abort();
  try {
    await cancelJob(song.id);
  } catch (error) {
    show(song, error.message, true);
  }
}

async function removeSong(song) {
  try {
    song.abort?.();
    if (song.id && song.job?.state !== "gone") await deleteJob(song.id);
  } catch (error) {
    show(song, error.message, true);
    return;
  }
  closeMixer(song);
  songs = songs.filter((other) => other !== song);
  song.card.item.remove();
  get("no-songs").hidden = songs.length > 0;
  forget(song);
  watchAll();
  say(`${song.name} has been deleted.`);
  get("files").focus();
}

async function copyLink(song) {
  const words_ = new URLSearchParams({ job: song.id, name: song.name });
  const link = `${location.origin}/#${words_}`;
  try {
    await navigator.clipboard.writeText(link);
    say("The private link is copied; anyone who has it can listen to and delete the song.");
  } catch {
    say(`The private link: ${link}`);
  }
}

function recall() {
  const linked = new URLSearchParams(location.hash.slice(1));
  const id = linked.get("job");
  if (id && !storedSongs().some((song) => song.id === id)) {
    remember({ id, name: linked.get("name") ?? "A song" });
  }
  const kept = storedSongs();
  for (const song of kept.reverse()) {
    songs.unshift(song);
    addCard(song);
    if (song.id === id || kept.length === 1) song.opening = true;
  }
  if (id) history.replaceState(null, "", "/");
  watchAll();
}

function watchAll() {
  unwatch();
  const watched = songs.filter(({ id, job }) => id && !FINISHED.includes(job?.state));
  unwatch = watch(watched.map(({ id }) => id), (job) => {
    const song = songs.find(({ id }) => id === job.id);
    if (song && !FINISHED.includes(song.job?.state)) update(song, job);
  });
}

// --- Mixer ---------------------------------------------------------------------------

function openLater(song) {
  if (!open) song.opening = true;
}

async function openSong(song) {
  const { job } = song;
  const name = job.stems ? "stems" : "preview";
  const part = job.stems ?? job.preview;
  if (!part || (open?.song === song && open.name === name) || song.loading === name) return;
  song.loading = name;
  song.opening = false;
  try {
    const { stems } = await getOverview(song.id, name);
    showMixer(song, name, part, stems);
  } catch (error) {
    say(error.message, true);
  } finally {
    song.loading = null;
  }
}

function showMixer(song, name, part, overviews) {
  const before = open?.song === song ? open : null;
  const touched = before && (!before.mixer.paused || before.mixer.position > 0);
  const was = touched && {
    time: before.part.start + before.mixer.currentTime - part.start,
    playing: !before.mixer.paused,
  };
  const settings = before?.mixer.tracks ?? [];
  closeMixer();
  const tracks = part.stems.map((stem) =>
    ({ name: stem, address: stemAddress(song.id, name, stem) }));
  const mixer = new Mixer(tracks, part);
  const strips = mixer.tracks.map((track) =>
    new Strip(mixer, track, overviews[track.name], stemAddress(song.id, name, track.name)));
  open = { song, name, part, mixer, strips };
  for (const other of songs) other.card.item.removeAttribute("aria-current");
  song.card.item.setAttribute("aria-current", "true");
  if (name === "stems") {
    song.seconds = mixer.duration; // Browsers and decoders differ about the padding of a format.
    lengthen(song);
    song.card.about.textContent = about(song);
  }
  get("mixer-song").textContent = name === "stems"
    ? song.name
    : `${song.name}: the loudest ${Math.round(mixer.duration)} seconds, from ` +
      `${clock(part.start)} on. All of it comes when it is separated.`;
  get("stems").replaceChildren(...strips.map((strip) => strip.item));
  get("mixer").hidden = false;
  get("save").hidden = name !== "stems";
  for (const strip of strips) strip.draw();
  follow(mixer);
  for (const track of settings) {
    const { volume, pan, mute, solo } = track;
    mixer.set(track.name, { volume, pan, mute, solo });
  }
  if (was) mixer.seek(was.time);
  if (was?.playing) mixer.play();
  setLoop(null);
  links();
  showView();
}

function closeMixer(song = open?.song) {
  if (!open || open.song !== song) return;
  open.mixer.close();
  for (const strip of open.strips) strip.remove();
  open = null;
  get("mixer").hidden = true;
}

function follow(mixer) {
  const paint = () => {
    if (open?.mixer !== mixer) return;
    const time = mixer.currentTime;
    get("time").value = `${clock(time)} / ${clock(mixer.duration)}`;
    if (document.activeElement !== get("position") || mixer.paused || !get("position").matches(":active")) {
      get("position").value = time;
    }
    get("position").setAttribute("aria-valuetext", clock(time));
    for (const strip of open.strips) strip.showPosition(time / mixer.duration);
  };
  const run = () => {
    paint();
    if (!mixer.paused && open?.mixer === mixer) requestAnimationFrame(run);
  };
  get("position").max = mixer.duration;
  get("play").textContent = "Play";
  mixer.addEventListener("play", () => {
    get("play").textContent = "Pause";
    run();
  });
  mixer.addEventListener("pause", () => { get("play").textContent = "Play"; });
  mixer.addEventListener("timeupdate", paint);
  mixer.addEventListener("mix", () => open?.strips.forEach((strip) => strip.update()));
  mixer.addEventListener("failure", (event) => say(event.detail, true));
  paint();
}

const toggle = () => (open.mixer.paused ? open.mixer.play() : open.mixer.pause());

function loopFrom() {
  loopStart = Math.round(open.mixer.currentSample());
  get("loop").textContent = `Loop from ${clock(loopStart / open.mixer.rate)} to …`;
  get("loop-off").disabled = false;
}

function loopTo() {
  const end = Math.round(open.mixer.currentSample());
  const start = loopStart ?? 0;
  if (end - start < open.mixer.rate / 10) {
    say("The loop is shorter than a tenth of a second; go to its end first.", true);
    return;
  }
  setLoop([start, end]);
  open.mixer.seek(start / open.mixer.rate);
}

function setLoop(loop) {
  open.mixer.setLoop(loop);
  loopStart = loop?.[0] ?? null;
  const { rate } = open.mixer;
  get("loop").textContent = loop
    ? `Loop from ${clock(loop[0] / rate)} to ${clock(loop[1] / rate)}`
    : "";
  get("loop-off").disabled = !loop;
  for (const strip of open.strips) strip.showLoop(loop);
}

function showView() {
  const shown = get("view").getAttribute("aria-pressed") === "true";
  for (const strip of open.strips) strip.showSpectrogram(shown);
}

function links() {
  const format = get("format").value || "wav";
  const ending = format.replace(/\d+$/, "");
  const base = open.song.name.replace(/\.[^.]*$/, "");
  for (const strip of open.strips) {
    strip.link.href = strip.address.replace(/wav$/, `${ending}?format=${format}`);
    strip.link.download = `${base} - ${strip.name}.${ending}`;
  }
  get("zip").href = `/api/jobs/${open.song.id}/${open.name}.zip?format=${format}`;
  get("zip").download = `${base} - stems.zip`;
}

async function saveMix() {
  get("save-mix").disabled = true;
  say("Mixing …");
  try {
    const sound = await wavOf(open.mixer);
    const address = URL.createObjectURL(sound);
    const base = open.song.name.replace(/\.[^.]*$/, "");
    element("a", { href: address, download: `${base} - mix.wav` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    say("The mix is ready.");
  } catch (error) {
    say(error.message, true);
  } finally {
    get("save-mix").disabled = false;
  }
}

// --- Events ----------------------------------------------------------------------------

function key(event) {
  const typing = event.target.matches("select, input:not([type=checkbox], [type=range])");
  const pressing = event.target.matches("button, a, summary, input[type=checkbox]");
  if (!open || !get("keys").checked || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
  const track = digit && open.mixer.tracks[digit - 1];
  const skip = (by) => open.mixer.seek(open.mixer.currentTime + by);
  const actions = {
    " ": pressing ? null : toggle,
    k: toggle,
    j: () => skip(-SKIP_SECONDS),
    l: () => skip(SKIP_SECONDS),
    Home: event.target.matches("input") ? null : () => open.mixer.seek(0),
    "[": loopFrom,
    "]": loopTo,
    "\\": () => setLoop(null),
  };
  const name = event.shiftKey ? "mute" : "solo";
  const action = track
    ? () => open.mixer.set(track.name, { [name]: !track[name] })
    : actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function drops() {
  const body = document.body;
  let depth = 0;
  const over = (by) => {
    depth = Math.max(0, depth + by);
    body.classList.toggle("dragging", depth > 0);
  };
  body.addEventListener("dragenter", () => over(1));
  body.addEventListener("dragleave", () => over(-1));
  body.addEventListener("dragover", (event) => event.preventDefault());
  body.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    take([...event.dataTransfer.files]);
  });
}

get("files").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = "";
});
get("play").addEventListener("click", toggle);
get("position").addEventListener("input", (event) => open.mixer.seek(Number(event.target.value)));
get("loop-start").addEventListener("click", loopFrom);
get("loop-end").addEventListener("click", loopTo);
get("loop-off").addEventListener("click", () => setLoop(null));
get("view").addEventListener("click", (event) => {
  const shown = event.target.getAttribute("aria-pressed") !== "true";
  event.target.setAttribute("aria-pressed", shown);
  showView();
});
get("format").addEventListener("change", links);
get("save-mix").addEventListener("click", saveMix);
document.addEventListener("keydown", key);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  open?.strips.forEach((strip) => strip.recolour()));
drops();
recall();
askServer();

// For the tests, which listen to what is mixed.
window.harmonySplit = { get open() { return open; } };
