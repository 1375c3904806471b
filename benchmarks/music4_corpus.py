"""Make the corpus of the bundled model ``music4``: an album, MIDI files and singing.

``python benchmarks/music4_corpus.py --album DIR --midi DIR --singing DIR --output DIR``
writes pieces of at most 20 s as folders of songs, ``<split>/<piece>/{vocals,drums,bass,
other}.wav`` at 44.1 kHz. A run that was interrupted goes on where it stopped.

``--album`` is the album Everything is Free in its stems, ``--midi`` a folder of MIDI
files, which fluidsynth plays source by source, ``--singing`` MIR-1K. ``--machines``
adds pieces drawn for synthesisers and drum machines (``music4_machines.py``). Music
from MIDI files and machines has no vocals of its own: each piece gets singing.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import music4_machines as machines
import numpy as np

from common import audio
from common.audio.resample import resample
from common.errors import exit_code
from common.files import replacing_folder

try:
    import mido
except ImportError:
    mido = None

RATE = 44100
PIECE_SECONDS = 20
MIDI_PIECES = 4
SPLIT_OF_SONG = {"Sodium": "test", "Francium": "test", "Rubidium": "valid"}
"""Songs of the album that are not for training."""
VALID_SINGERS = ("titon", "yifen")
MACHINE_SECONDS = 10
MACHINE_PIECES = {"train": 160, "valid": 12}
SPLITS_OF_FILES = (*("train", None) * 4, "train", "valid")
"""Splits of ten MIDI files, for each ten in the order of their names."""

MIXED_STEMS = ("6.Caesium_Stem_MINILOGUE_SYNTH",)
"""Stems that hold both bass and melody, so that they fit no source."""

NAMES = {
    "vocals": r"VOX",
    "other": r"MELODY|PAD INTRO|ORGAN",
    "bass": r"BASS",
    "drums": r"DRUM|KICK|K & SN|SNARE|HAT|HH|CLAP|TOM|TOPS|CRASH|CYMBAL|PRC|PERC|BEAT"
    r"|BREAK|BUILD|SCRATCH",
}
"""What the name of a stem says of its source; the first that fits holds."""
BASS_HZ, BASS_SHARE = 100.0, 0.5
"""A stem of another name with this share of its energy below is bass as well."""

DRUM_CHANNEL = 9
BASSES = range(32, 40)
"""Programs of General MIDI."""
KEPT = ("set_tempo", "control_change", "pitchwheel")
KITS = (0, 0, 0, 8, 16, 24, 25, 32, 40)
PAN, SOUND_OFF = 10, 120
"""Controls."""
FAMILY = 8
"""Programs of one family."""
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")

Sources = Mapping[str, np.ndarray]
"""Waveform [2, samples] by the name of the source."""


def main() -> int:
    """Make the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--album", type=Path, required=True)
    parser.add_argument("--midi", type=Path, required=True)
    parser.add_argument("--singing", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--machines", action="store_true")
    parser.add_argument("--sound-font", type=Path, default=SOUND_FONT)
    options = parser.parse_args()
    return exit_code("music4_corpus", lambda: make(options))


def make(options: argparse.Namespace) -> int:
    """Write the pieces of the album, of the MIDI files and, if asked, of machines."""
    check(options.sound_font)
    songs = folders_of_stems(options.album)
    singing = {split: chunks(options.singing, split) for split in ("train", "valid")}
    files = sorted(options.midi.rglob("*.mid"), key=lambda file: file.name)
    if len(files) < len(SPLITS_OF_FILES):
        raise ValueError(
            f"{options.midi} holds {len(files)} files *.mid, expected at least "
            f"{len(SPLITS_OF_FILES)}, the last of which is for validation"
        )
    for song in songs:
        write_song(song, options.output)
    for number, file in enumerate(files):
        split = SPLITS_OF_FILES[number % len(SPLITS_OF_FILES)]
        if split and not (options.output / split / f"{file.stem}-00").exists():
            numbers = range(number * MIDI_PIECES, (number + 1) * MIDI_PIECES)
            voices = [take(singing[split], each) for each in numbers]
            sources = play(file, draw(number), options.sound_font)
            write_pieces(file.stem, sources, options.output / split, voices)
    for split, count in MACHINE_PIECES.items() if options.machines else ():
        for number in range(count):
            write_machines(number, options.output / split, singing[split])
    return 0


def write_machines(
    number: int, output: Path, singing: Sequence[Sequence[Path]]
) -> None:
    """Write a synthetic piece with singing; validation pieces have other seeds."""
    folder = output / f"machines-{number:03d}"
    if not folder.exists():
        seed = number + 1000 * (output.name == "valid")
        sources = machines.piece(seed, MACHINE_SECONDS, RATE)
        voice = take(singing, number)[:, : MACHINE_SECONDS * RATE]
        write(folder, {**sources, "vocals": voice})


def check(sound_font: Path) -> None:
    """Require what MIDI files are read and played with."""
    if mido is None:
        raise ValueError(
            "reading MIDI files needs mido, which is not installed; install it: pip "
            "install mido"
        )
    if shutil.which("fluidsynth") is None:
        raise ValueError(
            "playing MIDI files needs fluidsynth, which is not on PATH; install it: "
            "apt install fluidsynth"
        )
    if not sound_font.is_file():
        raise ValueError(
            f"the sound font {sound_font} does not exist; install it by apt install "
            "fluid-soundfont-gm, or name another one by --sound-font"
        )


def folders_of_stems(album: Path) -> list[Path]:
    """Find the folders of the songs, such as ``1.Hydrogen``."""
    folders = sorted({file.parent for file in album.rglob("*_Stem_*.m4a")})
    if not folders:
        raise ValueError(
            f"{album} holds no file *_Stem_*.m4a; expected the album in a "
            "folder of stems for each song"
        )
    return folders


def write_song(folder: Path, output: Path) -> None:
    """Write the pieces of a song of the album, which overlap by half in training."""
    name = folder.name.split(".")[-1]
    split = SPLIT_OF_SONG.get(name, "train")
    target = output / split
    if (target / f"{name}-00").exists():
        return
    step = PIECE_SECONDS // 2 if split == "train" else PIECE_SECONDS
    write_pieces(name, levelled(add_stems(folder)), target, (), step)


def add_stems(folder: Path) -> Sources:
    """Add the stems of each source, small copies where there is no other file."""
    files = {
        file.stem.removesuffix("_mobile"): file
        for file in sorted(folder.glob("*_Stem_*.m4a"), reverse=True)
        if not file.stem.startswith(MIXED_STEMS)
    }
    sources: dict[str, np.ndarray] = {}
    for name, file in sorted(files.items()):
        wave = read(file)
        source = source_of(name.partition("_Stem_")[2], wave)
        samples = min(wave.shape[1], sources.get(source, wave).shape[1])
        sources[source] = wave[:, :samples] + sources.get(source, 0 * wave)[:, :samples]
    samples = min(wave.shape[1] for wave in sources.values())
    return {source: wave[:, :samples] for source, wave in sources.items()}


def source_of(name: str, wave: np.ndarray) -> str:
    """Name the source of a stem by its name, else by its spectrum.

    >>> source_of("BGVOX BREAK", np.zeros([2, 4])), source_of("HATS", np.zeros([2, 4]))
    ('vocals', 'drums')
    """
    for source, pattern in NAMES.items():
        if re.search(pattern, name):
            return source
    power = np.abs(np.fft.rfft(wave.mean(axis=0))) ** 2
    below = power[: round(BASS_HZ * wave.shape[1] / RATE)].sum()
    return "bass" if below > BASS_SHARE * power.sum() else "other"


def read(file: Path) -> np.ndarray:
    """Read a file as stereo at 44.1 kHz."""
    wave, rate = audio.read(file)
    return np.broadcast_to(
        resample(wave, rate, RATE), (2, -(-wave.shape[1] * RATE // rate))
    )


def levelled(sources: Sources, level_db: float = -18.0) -> Sources:
    """Set the level of the mixture, lower where a source would exceed full scale."""
    mixture = sum(sources.values())
    gain = 10 ** (level_db / 20) / max(rms(np.asarray(mixture)), 1e-9)
    peak = max(float(np.abs(wave).max()) for wave in sources.values())
    return {
        name: min(gain, 0.99 / max(peak, 1e-9)) * wave for name, wave in sources.items()
    }


def rms(wave: np.ndarray) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(np.mean(np.square(wave))))


def write_pieces(
    name: str,
    sources: Sources,
    output: Path,
    voices: Sequence[np.ndarray] = (),
    step_seconds: int = PIECE_SECONDS,
) -> None:
    """Cut a song into pieces and write them, each with singing if there is any."""
    samples, step = PIECE_SECONDS * RATE, step_seconds * RATE
    length = max(wave.shape[1] for wave in sources.values())
    starts = range(0, max(length - samples, 0) + 1, step)
    # The first piece comes last, because it tells that the song is whole.
    for number, start in reversed(list(enumerate(starts))):
        piece = {
            source: wave[:, start : start + samples] for source, wave in sources.items()
        }
        if voices:
            piece["vocals"] = voices[number % len(voices)]
        write(output / f"{name}-{number:02d}", piece)


def write(folder: Path, sources: Sources) -> None:
    """Write the sources of a piece that are not silent."""
    with replacing_folder(folder) as work:
        for source, wave in sources.items():
            if rms(wave) > 1e-4:
                audio.write(work / f"{source}.wav", wave, RATE, "wav16")


@dataclass(frozen=True)
class Performance:
    """How a MIDI file is played.

    Attributes:
        transposition: Semitones by which all but the drums move.
        programs: Program that is played in place of each.
        kit: Program of the drums.
        pans: Pan of each channel.
        levels_db: Level of each source.
        room: Level of the reverberation.
    """

    transposition: int
    programs: Sequence[int]
    kit: int
    pans: Sequence[int]
    levels_db: Mapping[str, float]
    room: float


def draw(seed: int) -> Performance:
    """Draw how to play a file: half of the programs become others of their family."""
    dice = random.Random(seed)
    programs = [
        dice.randrange(FAMILY) + p - p % FAMILY if dice.random() < 0.5 else p
        for p in range(128)
    ]
    return Performance(
        dice.randint(-4, 4),
        programs,
        dice.choice(KITS),
        [dice.randint(24, 103) for _ in range(16)],
        {source: dice.uniform(-27.0, -20.0) for source in ("drums", "bass", "other")},
        dice.uniform(0.0, 0.6),
    )


def play(file: Path, performance: Performance, sound_font: Path) -> Sources:
    """Play the sources of a MIDI file, the first 80 s of it."""
    try:
        song = mido.MidiFile(file)
    except (EOFError, ValueError, KeyError, OSError) as error:
        raise ValueError(f"{file} is no MIDI file: {error}") from None
    sources = {}
    with tempfile.TemporaryDirectory() as work:
        for source, level in performance.levels_db.items():
            part, wave = Path(work, "part.mid"), Path(work, "part.wav")
            part_of(song, source, performance).save(part)
            synthesise(part, wave, performance.room, sound_font)
            sources[source] = fitted(read(wave), level)
    return sources


def synthesise(part: Path, wave: Path, room: float, sound_font: Path) -> None:
    """Play a MIDI file to a wav file by fluidsynth."""
    words = ["fluidsynth", "-ni", "-q", "-r", str(RATE), "-g", "0.4", "-O", "float"]
    words += ["-o", f"synth.reverb.level={room:.2f}", "-T", "wav", "-F", str(wave)]
    subprocess.run(
        [*words, str(sound_font), str(part)], check=True, capture_output=True
    )


def fitted(wave: np.ndarray, level_db: float) -> np.ndarray:
    """Set the level of a source where it sounds, and its length."""
    samples = MIDI_PIECES * PIECE_SECONDS * RATE
    wave = np.pad(wave[:, :samples], [(0, 0), (0, max(samples - wave.shape[1], 0))])
    seconds = wave.reshape(2, -1, RATE)
    power = np.square(seconds).mean(axis=(0, 2))
    loud = power[power > power.max() * 1e-3]
    if not loud.size or power.max() < 1e-9:
        return np.zeros_like(wave)
    gain = 10 ** (level_db / 20) / np.sqrt(loud.mean())
    return wave * min(gain, 0.99 / np.abs(wave).max())


def part_of(song: Any, source: str, performance: Performance) -> Any:
    """Keep the notes of one source of a song."""
    track = mido.MidiTrack()
    for channel, pan in enumerate(performance.pans):
        track.append(
            mido.Message("control_change", channel=channel, control=PAN, value=pan)
        )
    kit = mido.Message("program_change", channel=DRUM_CHANNEL, program=performance.kit)
    track.append(kit)
    last = 0
    for tick, message in events(song, source, performance):
        track.append(message.copy(time=tick - last))
        last = tick
    # A note that still sounds at the end would never fall silent.
    for channel in range(len(performance.pans)):
        track.append(mido.Message("control_change", channel=channel, control=SOUND_OFF))
    track.append(mido.MetaMessage("end_of_track", time=0))
    part = mido.MidiFile(ticks_per_beat=song.ticks_per_beat)
    part.tracks.append(track)
    return part


def events(
    song: Any, source: str, performance: Performance
) -> Iterator[tuple[int, Any]]:
    """Yield the messages of one source with their ticks."""
    programs, sounding = [0] * 16, {}
    for tick, message in timed(song):
        if message.type in ("note_on", "note_off"):
            note = message.channel, message.note
            if message.type == "note_on" and message.velocity:
                sounding[note] = sounds(message.channel, programs[message.channel])
            is_kept = sounding.get(note) == source
            changed = transposed(message, performance.transposition)
        elif message.type == "program_change":
            programs[message.channel] = message.program
            is_kept = message.channel != DRUM_CHANNEL
            changed = message.copy(program=performance.programs[message.program])
        else:
            is_kept = message.type in KEPT and not message.is_cc(PAN)
            changed = message
        if is_kept:
            yield tick, changed


def timed(song: Any) -> Iterator[tuple[int, Any]]:
    """Yield ticks and messages to the end of the last piece."""
    tick, seconds, tempo = 0, 0.0, 500_000
    for message in mido.merge_tracks(song.tracks):
        tick += message.time
        seconds += mido.tick2second(message.time, song.ticks_per_beat, tempo)
        if seconds > MIDI_PIECES * PIECE_SECONDS:
            return
        if message.type == "set_tempo":
            tempo = message.tempo
        yield tick, message


def sounds(channel: int, program: int) -> str:
    """Name the source of a channel with a program.

    >>> sounds(DRUM_CHANNEL, 0), sounds(0, 33), sounds(0, 0)
    ('drums', 'bass', 'other')
    """
    if channel == DRUM_CHANNEL:
        return "drums"
    return "bass" if program in BASSES else "other"


def transposed(message: Any, semitones: int) -> Any:
    """Move a note, except one of the drums."""
    if message.channel == DRUM_CHANNEL:
        return message
    return message.copy(note=min(max(message.note + semitones, 0), 127))


def chunks(root: Path, split: str) -> list[list[Path]]:
    """List clips of MIR-1K in groups of 20 s of one singer, in a random order."""
    singers: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(root.rglob("*.wav")):
        singer = file.name.partition("_")[0]
        if (singer in VALID_SINGERS) == (split == "valid"):
            singers[singer].append(file)
    if not singers:
        raise ValueError(
            f"{root} holds no clip SINGER_*.wav for {split}; expected MIR-1K, whose "
            f"singers {' and '.join(VALID_SINGERS)} are for validation"
        )
    # Clips last 8 s on average.
    groups = [
        files[k : k + 4] for files in singers.values() for k in range(0, len(files), 3)
    ]
    random.Random(0).shuffle(groups)
    return groups


def take(groups: Sequence[Sequence[Path]], number: int) -> np.ndarray:
    """Join the voices, which are in the right channel, of one group to a piece."""
    voices = [read(file)[1] for file in groups[number % len(groups)]]
    samples = PIECE_SECONDS * RATE
    voice = np.concatenate(voices)[:samples]
    voice = np.pad(voice, [0, samples - len(voice)])
    level = random.Random(number).uniform(-25.0, -18.0)
    wave = np.stack([voice, voice])
    return levelled({"vocals": wave}, level)["vocals"]


if __name__ == "__main__":
    sys.exit(main())
