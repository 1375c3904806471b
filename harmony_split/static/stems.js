// The strips of the mixer: controls, waveform and spectrogram of each stem.

import WaveSurfer from "/static/vendor/wavesurfer.esm.js";

const HEIGHT = 96;
const nonce = document.querySelector("meta[name=nonce]").content;
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export class Strip {
  constructor(mixer, track, overview, address) {
    Object.assign(this, { mixer, track, overview, address });
    this.name = track.name;
    this.solo = this.toggle("Solo", "solo");
    this.mute = this.toggle("Mute", "mute");
    this.volume = this.slider("Volume", "volume", 0, 1.5, (v) => `${Math.round(v * 100)} %`);
    this.pan = this.slider("Pan", "pan", -1, 1, side);
    this.link = element("a", { className: "button", textContent: "Download" });
    this.link.setAttribute("aria-label", `Download ${this.name}`);
    this.wave = element("div");
    this.canvas = element("canvas", { hidden: true, width: 600, height: overview.bands });
    this.head = element("div", { className: "head", hidden: true });
    this.region = element("div", { className: "region", hidden: true });
    this.picture = element(
      "div", { className: "picture", "aria-hidden": "true" },
      this.wave, this.canvas, this.head, this.region,
    );
    const title = element("h3", { textContent: this.name });
    this.item = element(
      "li", { className: "stem" },
      element(
        "div", { className: "controls", role: "group", "aria-label": this.name },
        title,
        element("div", { className: "row" }, this.solo, this.mute, this.link),
        this.volume.label, this.pan.label,
      ),
      this.picture,
    );
    this.canvas.addEventListener("click", (event) => {
      mixer.seek((event.offsetX / this.canvas.clientWidth) * mixer.duration);
    });
    this.update();
  }

  // Called once the strip is on the page, because the waveform measures it.
  draw() {
    this.surfer = WaveSurfer.create({
      container: this.wave,
      media: this.mixer,
      peaks: [this.overview.peaks],
      duration: this.mixer.duration,
      height: HEIGHT,
      dragToSeek: true,
      cspNonce: nonce,
      ...colours(),
    });
    this.paint();
  }

  recolour() {
    this.surfer?.setOptions(colours());
    this.paint();
  }

  // Spectrogram: time to the right, low frequencies below.
  paint() {
    const { frames, bands, spectrogram } = this.overview;
    const levels = Uint8Array.from(atob(spectrogram), (letter) => letter.charCodeAt(0));
    const [low, high] = [rgb(colour("ground")), rgb(colour("accent"))];
    this.canvas.width = frames;
    const image = new ImageData(frames, bands);
    for (let frame = 0; frame < frames; frame++) {
      for (let band = 0; band < bands; band++) {
        const share = levels[frame * bands + band] / 255;
        const at = 4 * ((bands - 1 - band) * frames + frame);
        for (let i = 0; i < 3; i++) image.data[at + i] = low[i] + share * (high[i] - low[i]);
        image.data[at + 3] = 255;
      }
    }
    this.canvas.getContext("2d").putImageData(image, 0, 0);
  }

  showSpectrogram(shown) {
    this.canvas.hidden = this.head.hidden = !shown;
    this.wave.hidden = shown;
  }

  showPosition(share) {
    this.head.style.left = `${100 * share}%`;
  }

  showLoop(loop) {
    this.region.hidden = !loop;
    if (!loop) return;
    this.region.style.left = `${(100 * loop[0]) / this.mixer.samples}%`;
    this.region.style.width = `${(100 * (loop[1] - loop[0])) / this.mixer.samples}%`;
  }

  update() {
    const { track } = this;
    this.solo.setAttribute("aria-pressed", track.solo);
    this.mute.setAttribute("aria-pressed", track.mute);
    for (const name of ["volume", "pan"]) {
      this[name].input.value = track[name];
      this[name].show(track[name]);
    }
    this.item.classList.toggle("silent", !this.mixer.isHeard(track));
  }

  remove() {
    this.surfer?.destroy();
    this.item.remove();
  }

  toggle(text, name) {
    const button = element("button", { type: "button", textContent: text });
    button.setAttribute("aria-label", `${text} ${this.name}`);
    button.addEventListener("click", () =>
      this.mixer.set(this.name, { [name]: !this.track[name] }),
    );
    return button;
  }

  slider(text, name, min, max, write) {
    const input = element("input", { type: "range", min, max, step: 0.01 });
    input.setAttribute("aria-label", `${text} ${this.name}`);
    const output = element("output");
    const show = (value) => {
      output.value = write(value);
      input.setAttribute("aria-valuetext", write(value));
    };
    input.addEventListener("input", () =>
      this.mixer.set(this.name, { [name]: Number(input.value) }),
    );
    const label = element("label", {}, element("span", { textContent: text }), input, output);
    return { input, label, show };
  }
}

function side(pan) {
  const part = Math.round(Math.abs(pan) * 100);
  if (!part) return "centre";
  return `${part} ${pan < 0 ? "L" : "R"}`;
}

const colours = () => ({
  waveColor: colour("wave"),
  progressColor: colour("accent"),
  cursorColor: colour("ink"),
});

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
