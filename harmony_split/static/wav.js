// A mix as a wav file of 16 bits, rendered piece by piece.

const PIECE_SECONDS = 30;
const HEADER_BYTES = 44;

export async function wavOf(mixer) {
  const pieces = [];
  for (let first = 0; first < mixer.samples; first += PIECE_SECONDS * mixer.rate) {
    const count = Math.min(PIECE_SECONDS * mixer.rate, mixer.samples - first);
    pieces.push(interleaved(await mixer.render(first, count)));
  }
  return new Blob([header(mixer.samples, mixer.rate), ...pieces], { type: "audio/wav" });
}

function interleaved(buffer) {
  const [left, right] = [buffer.getChannelData(0), buffer.getChannelData(1)];
  const values = new Int16Array(2 * buffer.length);
  const whole = (value) => Math.round(32767 * Math.max(-1, Math.min(1, value)));
  for (let i = 0; i < buffer.length; i++) {
    values[2 * i] = whole(left[i]);
    values[2 * i + 1] = whole(right[i]);
  }
  return values;
}

function header(samples, rate) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + 4 * samples, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 2, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 4 * rate, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, 4 * samples, true);
  return view;
}
