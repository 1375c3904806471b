"""Where the files of a mixture go in each of three layouts of corpora."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from clustering.mixing.mixtures import Annotation
from common.corpora import speaker_mixtures, writing

Name = Literal["wsj0_2mix", "mix_folders", "scaper"]


class Mixed(NamedTuple):
    """A mixture to be written.

    Attributes:
        split: ``"train"``, ``"valid"`` or ``"test"``.
        number: Its number within the split.
        told: Its description.
        sources: int16 [sources, samples].
        is_named: Whether sources are called by their labels, rather than s1, s2.
    """

    split: str
    number: int
    told: Annotation
    sources: np.ndarray
    is_named: bool


def name(mixed: Mixed) -> str:
    """Name a mixture by its number, its labels and their levels against the first."""
    sources = mixed.told["sources"]
    levels = [_level_db(wave) for wave in mixed.sources]
    parts = [
        f"{source['label'].replace('/', '-')}_{level - levels[0]:.2f}"
        for source, level in zip(sources, levels, strict=True)
    ]
    return "_".join([f"{mixed.number:05d}", *parts])


def wsj0_mix(root: Path, mixed: Mixed) -> str:
    """Write ``2speakers/wav8k/min/tr/{mix,s1,s2}/<name>.wav``."""
    rate = mixed.told["sample_rate"]
    place = root / f"{len(mixed.sources)}speakers" / f"wav{rate // 1000}k" / "min"
    folder = place / speaker_mixtures.SPLITS[mixed.split]
    _write(folder, f"{name(mixed)}.wav", mixed, _numbered(mixed))
    return name(mixed)


def mix_folders(root: Path, mixed: Mixed) -> str:
    """Write ``<split>/mix/<name>.wav`` and a folder beside for each source."""
    labels = [source["label"] for source in mixed.told["sources"]]
    folders = labels if mixed.is_named else _numbered(mixed)
    _write(root / mixed.split, f"{name(mixed)}.wav", mixed, folders)
    return name(mixed)


def scaper(root: Path, mixed: Mixed) -> str:
    """Write ``<split>/<8 digits>.{wav,jams}`` and the isolated events beside."""
    stem = f"{mixed.number:08d}"
    rate = mixed.told["sample_rate"]
    labels = [source["label"].replace("/", "-") for source in mixed.told["sources"]]
    events = [
        f"{stem}_events/foreground{place}_{label}.wav"
        for place, label in enumerate(labels)
    ]
    for event, wave in zip(events, mixed.sources, strict=True):
        writing.write_wav(root / mixed.split / event, wave, rate)
    whole = mixed.sources.sum(axis=0)
    writing.write_wav(root / mixed.split / f"{stem}.wav", whole, rate)
    jams = json.dumps(_jams(stem, labels, events, mixed), indent=1)
    (root / mixed.split / f"{stem}.jams").write_text(jams, encoding="utf-8")
    return stem


LAYOUTS: Mapping[Name, Callable[[Path, Mixed], str]] = {
    "wsj0_2mix": wsj0_mix,
    "mix_folders": mix_folders,
    "scaper": scaper,
}
"""Writes a mixture and returns its name."""


def _numbered(mixed: Mixed) -> list[str]:
    return [f"s{number + 1}" for number in range(len(mixed.sources))]


def _write(folder: Path, file: str, mixed: Mixed, folders: list[str]) -> None:
    rate = mixed.told["sample_rate"]
    for source, wave in zip(folders, mixed.sources, strict=True):
        writing.write_wav(folder / source / file, wave, rate)
    writing.write_wav(folder / "mix" / file, mixed.sources.sum(axis=0), rate)


def _jams(stem: str, labels: list[str], events: list[str], mixed: Mixed) -> dict:
    """What Scaper's own files say of their events, without absolute paths."""
    told = mixed.told
    seconds = told["samples"] / told["sample_rate"]
    data = []
    for label, wave, source in zip(labels, mixed.sources, told["sources"], strict=True):
        first = source["parts"][0]
        value = {
            "label": label,
            "role": "foreground",
            "source_file": first["files"][0]["file"],
            "source_time": first["start"] / first["sample_rate"],
            "event_time": 0.0,
            "event_duration": seconds,
            "snr": _level_db(wave) - _level_db(mixed.sources[0]),
            "pitch_shift": None,
            "time_stretch": None,
        }
        entry = {"time": 0.0, "duration": seconds, "value": value, "confidence": 1.0}
        data.append(entry)
    files = {
        "soundscape_audio_path": f"{stem}.wav",
        "isolated_events_audio_path": events,
    }
    annotation = {"namespace": "scaper", "data": data, "sandbox": {"scaper": files}}
    about = {"duration": seconds, "title": "", "jams_version": "0.3.4"}
    return {"annotations": [annotation], "file_metadata": about, "sandbox": {}}


def _level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave.astype(np.float64))) + 1e-12))
