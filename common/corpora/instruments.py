"""Instruments of Slakh2100 by the programs of General MIDI, and its metadata files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from common.corpora.track import CorpusError

FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)
"""Instruments of General MIDI, eight programs each from number 0."""
DRUMS = 128
# The C loader reads 1500 files of metadata in seconds, and is as safe.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def instrument(stem: Mapping) -> str:
    """Name the instrument of a stem from its metadata.

    Args:
        stem: Entry of metadata.yaml, with ``program_num`` and ``is_drum``.

    Returns:
        ``"drums"``, one of :data:`FAMILIES`, or what ``inst_class`` says where there is
        no program number.

    >>> instrument({"program_num": 33, "is_drum": False})
    'bass'
    >>> instrument({"program_num": 128})
    'drums'
    """
    program = stem.get("program_num")
    if stem.get("is_drum") or program == DRUMS:
        return "drums"
    if isinstance(program, int) and 0 <= program < DRUMS:
        return FAMILIES[program // 8]
    return str(stem.get("inst_class", "unknown")).lower()


def rendered_stems(folder: Path) -> dict[str, Mapping]:
    """Read which stems of a track were rendered.

    Args:
        folder: Folder of the track, with its metadata.yaml.

    Returns:
        The entry of each stem by its name, such as ``S00``.

    Raises:
        CorpusError: The file is no such metadata. Nothing in it is ever run.
    """
    path = folder / "metadata.yaml"
    try:
        metadata = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
        stems = dict(sorted(metadata["stems"].items()))
        return {
            name: stem for name, stem in stems.items() if stem.get("audio_rendered")
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CorpusError(
            f"Slakh2100: {path} is not the metadata of a track with its stems "
            f"({type(error).__name__}); unpack the track again."
        ) from error
