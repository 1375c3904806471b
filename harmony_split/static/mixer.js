// Stems through one clock: short chunks of all of them are placed on the time line of
// one audio context, sample after sample, so they never drift and loops have no gap.

import { getBytes } from "./api.js";

const CHUNK_SECONDS = 4;
const AHEAD_SECONDS = 10;
const START_SECONDS = 0.08;
const TICK_MILLISECONDS = 200;
const MOST_CHUNKS = 24;
const HEADER_BYTES = 4096;
const FLOAT_BYTES = 4;

// Reads a float wav by ranges.
class Wav {
  constructor(address, part) {
    this.address = address;
    this.part = part;
    this.chunks = new Map();
  }

  async dataStart() {
    this.start ??= getBytes(this.address, 0, HEADER_BYTES - 1).then(findData);
    this.start.catch(() => (this.start = null)); // so that another attempt may succeed
    return this.start;
  }

  // An AudioBuffer of the chunk of an index; the latest ones are kept.
  chunk(index) {
    let chunk = this.chunks.get(index);
    this.chunks.delete(index);
    chunk ??= this.fetch(index);
    chunk.catch(() => this.chunks.delete(index));
    this.chunks.set(index, chunk);
    if (this.chunks.size > MOST_CHUNKS) {
      this.chunks.delete(this.chunks.keys().next().value);
    }
    return chunk;
  }

  async fetch(index) {
    const { samples, channels, sample_rate: rate } = this.part;
    const first = index * CHUNK_SECONDS * rate;
    const count = Math.min(CHUNK_SECONDS * rate, samples - first);
    const begin = (await this.dataStart()) + first * channels * FLOAT_BYTES;
    const length = count * channels * FLOAT_BYTES;
    const bytes = await getBytes(this.address, begin, begin + length - 1);
    const values = new Float32Array(bytes);
    const buffer = new AudioBuffer({
      length: count, numberOfChannels: channels, sampleRate: rate,
    });
    for (let channel = 0; channel < channels; channel++) {
      const to = buffer.getChannelData(channel);
      for (let i = 0, from = channel; i < count; i++, from += channels) {
        to[i] = values[from];
      }
    }
    return buffer;
  }
}

function findData(bytes) {
  const view = new DataView(bytes);
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    if (view.getUint32(at) === 0x64617461) return at + 8; // "data"
    at += 8 + view.getUint32(at + 4, true);
  }
  throw new Error("A stem is not a wav file; reload the page.");
}

// Looks like a media element, so that the waveforms follow it.
export class Mixer extends EventTarget {
  // `tracks` are [{name, address}], `part` is what the server tells of the stems.
  constructor(tracks, part) {
    super();
    this.part = part;
    this.rate = part.sample_rate;
    this.samples = part.samples;
    this.tracks = tracks.map(({ name, address }) => ({
      name, wav: new Wav(address, part), volume: 1, pan: 0, mute: false, solo: false,
    }));
    this.position = 0; // in samples, where playing begins
    this.paused = true;
    this.loop = null; // [first, last) in samples
    this.generation = 0;
    Object.assign(this, {
      readyState: 4, volume: 1, muted: false, playbackRate: 1, seeking: false,
      src: "", currentSrc: "",
    });
  }

  get duration() { return this.samples / this.rate; }
  get ended() { return this.paused && this.position >= this.samples; }
  get currentTime() { return this.currentSample() / this.rate; }
  set currentTime(seconds) { this.seek(seconds); }
  canPlayType() { return ""; }
  removeAttribute() {}
  load() {}
  remove() {}

  currentSample() {
    if (this.paused || !this.segments?.length) return this.position;
    const now = this.context.currentTime;
    let current = this.segments[0];
    for (const segment of this.segments) if (segment.when <= now) current = segment;
    const passed = Math.max(0, (now - current.when) * this.rate);
    return Math.min(current.first + passed, current.last);
  }

  async play() {
    if (!this.paused) return;
    this.context ??= new AudioContext({ sampleRate: this.rate });
    this.graph ??= this.connect(this.context);
    this.paused = false;
    if (this.position >= this.samples) this.position = 0;
    this.dispatchEvent(new Event("play"));
    await this.context.resume();
    if (this.paused) return; // meanwhile
    this.begin();
  }

  pause() {
    if (this.paused) return;
    this.position = this.currentSample();
    this.stop();
    this.paused = true;
    this.dispatchEvent(new Event("pause"));
    this.dispatchEvent(new Event("timeupdate"));
  }

  seek(seconds) {
    const sample = Math.round(seconds * this.rate);
    this.dispatchEvent(new Event("seeking"));
    if (!this.paused) this.stop();
    this.position = Math.max(0, Math.min(sample, this.samples));
    if (!this.paused) this.begin();
    this.dispatchEvent(new Event("seeked"));
    this.dispatchEvent(new Event("timeupdate"));
  }

  setLoop(loop) {
    const now = this.currentSample();
    this.loop = loop;
    if (this.paused) return;
    this.stop();
    this.position = now;
    this.begin();
  }

  set(name, values) {
    Object.assign(this.tracks.find((track) => track.name === name), values);
    if (this.graph) this.applySettings(this.graph, this.context);
    this.dispatchEvent(new Event("mix"));
  }

  isHeard(track) {
    const solo = this.tracks.some((other) => other.solo);
    return solo ? track.solo : !track.mute;
  }

  close() {
    this.pause();
    this.context?.close();
  }

  // One gain and one panner for each track, in any audio context.
  connect(context) {
    const graph = this.tracks.map(() => {
      const gain = new GainNode(context, { channelCount: 2, channelCountMode: "explicit" });
      const panner = new StereoPannerNode(context);
      gain.connect(panner).connect(context.destination);
      return { gain, panner };
    });
    this.applySettings(graph, context, 0);
    return graph;
  }

  // Within some milliseconds, so that a change is no click.
  applySettings(graph, context, seconds = 0.01) {
    this.tracks.forEach((track, i) => {
      const volume = this.isHeard(track) ? track.volume : 0;
      const set = (parameter, value) =>
        seconds
          ? parameter.setTargetAtTime(value, context.currentTime, seconds)
          : (parameter.value = value);
      set(graph[i].gain.gain, volume);
      set(graph[i].panner.pan, track.pan);
    });
  }

  begin() {
    this.stop(); // A change of the loop may have begun before.
    this.last = null;
    this.next = Math.round(this.position);
    this.fill(this.generation);
    this.timer = setInterval(() => this.fill(this.generation), TICK_MILLISECONDS);
  }

  stop() {
    this.generation += 1;
    clearInterval(this.timer);
    for (const { nodes } of this.segments ?? []) for (const node of nodes) node.stop();
    this.segments = [];
  }

  // Place chunks until the time line is full; one call at a time for each generation.
  async fill(generation) {
    if (this.filling === generation) return;
    this.filling = generation;
    try {
      while (await this.placeNext(generation));
    } catch (error) {
      if (generation === this.generation) this.fail(error);
    } finally {
      if (this.filling === generation) this.filling = null;
    }
  }

  fail(error) {
    this.pause();
    this.dispatchEvent(new CustomEvent("failure", { detail: error.message }));
  }

  async placeNext(generation) {
    const { context } = this;
    const last = this.last;
    if (last && last.end - context.currentTime > AHEAD_SECONDS) return false;
    if (this.next >= this.samples && !(this.loop && last && this.next === this.loop[1])) {
      if (last && context.currentTime >= last.end) this.finish();
      return false;
    }
    if (this.loop && this.next === this.loop[1]) this.next = this.loop[0];
    const slice = await this.slice(this.next);
    if (generation !== this.generation) return false;
    const soon = Math.ceil((context.currentTime + START_SECONDS) * this.rate);
    const at = Math.max(soon, last?.frame ?? 0);
    const nodes = place(slice, this.graph, context, at);
    const now = context.currentTime;
    this.segments = this.segments.filter((segment) => segment.end > now);
    this.segments.push({
      when: at / this.rate,
      end: (at + slice.count) / this.rate,
      frame: at + slice.count,
      first: slice.first,
      last: slice.first + slice.count,
      nodes,
    });
    this.last = this.segments.at(-1);
    this.next = slice.first + slice.count;
    return true;
  }

  // The samples from one to the end of its chunk, or of the loop, of all tracks.
  async slice(first) {
    const size = CHUNK_SECONDS * this.rate;
    const index = Math.floor(first / size);
    let end = Math.min((index + 1) * size, this.samples);
    if (this.loop && first < this.loop[1]) end = Math.min(end, this.loop[1]);
    const buffers = await Promise.all(this.tracks.map(({ wav }) => wav.chunk(index)));
    return { first, count: end - first, offset: first - index * size, buffers };
  }

  finish() {
    this.stop();
    this.paused = true;
    this.position = this.samples;
    this.dispatchEvent(new Event("timeupdate"));
    this.dispatchEvent(new Event("ended"));
    this.dispatchEvent(new Event("pause"));
  }

  // The mix as it is set, without the clock: an AudioBuffer of some of the samples.
  async render(first = 0, count = this.samples) {
    const context = new OfflineAudioContext(2, count, this.rate);
    const graph = this.connect(context);
    for (let at = first; at < first + count; ) {
      const slice = await this.slice(at);
      place(slice, graph, context, at - first);
      at += slice.count;
    }
    return context.startRendering();
  }
}

function place({ buffers, offset, count }, graph, context, frame) {
  return buffers.map((buffer, i) => {
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(graph[i].gain);
    source.start(frame / context.sampleRate, offset / context.sampleRate,
      count / context.sampleRate);
    return source;
  });
}
