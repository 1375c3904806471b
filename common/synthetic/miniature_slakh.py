"""A miniature of Slakh2100: made-up instruments, every one a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import yaml

from common.corpora import writing
from common.synthetic import scenes, sounds
from common.synthetic.building import layout


class _Player(NamedTuple):
    """An instrument: class and program as in Slakh, and what sounds like it."""

    inst_class: str
    program: int
    play: Callable[[int, int, np.random.Generator], np.ndarray]


PLAYERS = (
    _Player("Piano", 0, sounds.struck_bar),
    _Player("Guitar", 25, partial(sounds.plucked_string, pitch_hz=(110.0, 440.0))),
    _Player("Bass", 33, partial(sounds.plucked_string, pitch_hz=(41.0, 110.0))),
    _Player("Drums", 128, sounds.drums),
    _Player("Strings", 48, partial(sounds.bowed_string, pitch_hz=(196.0, 660.0))),
    _Player("Guitar", 27, partial(sounds.plucked_string, pitch_hz=(165.0, 660.0))),
)
LEVEL_DB = -24.0
RANGE_DB = 3.0


@layout("slakh")
def write_slakh(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    train: int = 4,
    validation: int = 2,
    test: int = 2,
) -> None:
    """Write music of six made-up instruments in the layout of Slakh2100.

    Every second track lacks one instrument: its metadata says that it was not rendered.

    Args:
        folder: Folder to make, with ``{train,validation,test}/TrackXXXXX/``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every track.
        train: Number of training tracks.
        validation: Number of validation tracks.
        test: Number of test tracks.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "validation": validation, "test": test}
    first = 1
    for number, (split, count) in enumerate(counts.items()):
        (folder / split).mkdir()
        for index in range(count):
            rng = np.random.default_rng([seed, 7, number, index])
            silent = index % 2 * int(rng.integers(1, len(PLAYERS)))
            place = folder / split / f"Track{first + index:05d}"
            stems = _stems(silent, round(seconds * sample_rate), sample_rate, rng)
            _write_track(place, stems, sample_rate)
        first += count


def _stems(
    silent: int, samples: int, sample_rate: int, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """What the players play, by their numbers; number 0 is never silent."""
    stems = {}
    for number, player in enumerate(PLAYERS):
        if number != silent or not silent:
            level = LEVEL_DB + rng.uniform(-RANGE_DB, RANGE_DB)
            wave = player.play(samples, sample_rate, rng)
            stems[number] = scenes.at_level(wave, level)
    return stems


def _write_track(place: Path, stems: dict[int, np.ndarray], sample_rate: int) -> None:
    (place / "stems").mkdir(parents=True)
    waves = writing.quantise(np.stack(list(stems.values())))
    files = [place / "stems" / f"S{number:02d}.flac" for number in stems]
    files.append(place / "mix.flac")
    mixture = waves.sum(axis=0).astype(np.int16)
    for file, wave in zip(files, [*waves, mixture], strict=True):
        soundfile.write(file, wave, sample_rate, subtype="PCM_16")
    entries = {
        f"S{number:02d}": _entry(player, number in stems)
        for number, player in enumerate(PLAYERS)
    }
    metadata = {"UUID": place.name, "audio_dir": "stems", "stems": entries}
    text = yaml.safe_dump({**metadata, "overall_gain": 1.0})
    (place / "metadata.yaml").write_text(text, encoding="utf-8")


def _entry(player: _Player, is_rendered: bool) -> dict[str, str | int | bool]:
    return {
        "inst_class": player.inst_class,
        "is_drum": player.inst_class == "Drums",
        "program_num": player.program,
        "plugin_name": "none",
        "audio_rendered": is_rendered,
    }
