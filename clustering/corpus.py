"""The tracks that a configuration trains on, whatever kind of corpus it names."""

from __future__ import annotations

from pathlib import Path

from clustering.config import ClusteringConfig
from common import cache
from common.corpora import miniature, reading
from common.corpora.track import CorpusError, Track
from common.training import say

SPLITS = {"train": "tr", "valid": "cv", "test": "tt"}
MINIATURE_MIXTURES = {"train": 400, "validation": 40, "test": 40}


def root(config: ClusteringConfig) -> Path:
    """Find the corpus of a run, or make the miniature where none is named.

    Raises:
        CorpusError: The folder does not exist.
    """
    if config.root is not None:
        place = Path(config.root).expanduser()
        if not place.is_dir():
            raise CorpusError(f"the root {place} does not exist; check its name")
        return place
    folder = cache.folder("miniature", f"wsj0_2mix-{config.sample_rate}")
    say(
        f"no root: using the synthetic miniature corpus in {folder}; its numbers say "
        "nothing about real recordings"
    )
    return miniature.write_wsj0_2mix(
        folder, sample_rate=config.sample_rate, **MINIATURE_MIXTURES
    )


def tracks(config: ClusteringConfig, place: Path, split: str) -> list[Track]:
    """List the tracks of a split.

    Raises:
        CorpusError: The split is empty or a source is missing.
    """
    rate = f"wav{config.sample_rate // 1000}k"
    folder = place / "2speakers" / rate / "min" / SPLITS[split]
    rows = []
    for mixture in sorted((folder / "mix").glob("*.wav")):
        sources = {name: folder / name / mixture.name for name in ("s1", "s2")}
        rows.append((mixture.stem, sources, mixture))
    if not rows:
        raise CorpusError(f"no mixture in {folder / 'mix'}; expected *.wav")
    return reading.make_tracks(rows)
