"""Models that come with a package, so that separation works offline.

They are in the folder ``bundled`` of the package, each in a folder of its name that
holds ``config.json`` without paths, ``weights.safetensors``, ``card.json`` and
``README.md``. ``python -m X.convert RUN FOLDER --bundle`` writes such a folder, or
``--publish`` one for other places, and ``X.load`` reads it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from common.config import ConfigError, Dataclass, save
from common.files import (
    digest,
    recover_folder,
    replacing_folder,
    user_path,
    write_text,
)
from common.overwriting import refuse_replacing_folder
from common.weights import card
from common.weights.card import NOT_MEASURED, UNSTATED, Card, Score
from common.weights.entry import Entry, File

# The list of models needs no TensorFlow.
if TYPE_CHECKING:
    import tf_keras as keras

    from common.separation.separator import Separator

PACKAGES = Path(__file__).resolve().parents[2]
"""Folder of all packages."""
README = "README.md"
CONFIG = "config.json"
WEIGHTS = ("*.data-*-of-*", "*.pth", "*.safetensors")
MOST_BYTES = 6_000_000
"""Size of the weights of a bundled model."""

PROBE_SECONDS = 3.0


@dataclasses.dataclass(frozen=True)
class Form:
    """How the folder of a model is written.

    Attributes:
        half: Whether matrices are stored in float16.
        publish: Write a model of any size to a new folder, with a ``README.md``. A
            bundled model is small and replaces the one of the same name.
        licence: Licence of the weights; None keeps that of the card.
    """

    half: bool = False
    publish: bool = False
    licence: str | None = None


BUNDLED = Form()
"""The form of a bundled model in full precision."""

Parts: TypeAlias = "Mapping[str, tuple[keras.Model | None, Dataclass]]"
"""Network, or None, and configuration by the folder within that of the model."""

Scores = Callable[[Mapping[str, Any]], Sequence[Score]]
"""From the ``summary.json`` of an evaluation to the scores of a card."""
SUMMARY = "evaluation/summary.json"
"""Where ``python -m X.evaluate RUN`` puts the means of the test split."""


def folder_of(pillar: str) -> Path:
    """Return the folder of the bundled models of a package.

    >>> folder_of("unmix").relative_to(PACKAGES).as_posix()
    'unmix/bundled'
    """
    return PACKAGES / pillar / "bundled"


def names(pillar: str) -> list[str]:
    """List the names of the bundled models of a package."""
    return sorted(path.parent.name for path in folder_of(pillar).glob(f"*/{CONFIG}"))


def find(pillar: str, name: str | Path) -> Path | None:
    """Return the folder of a bundled model, or None for any other name.

    Args:
        pillar: Name of the package.
        name: A name of a model, or any other text; ``./mini`` is a path.
    """
    model = folder_of(pillar) / name
    is_name = Path(name).name == str(name)
    return model if is_name and (model / CONFIG).exists() else None


def entries(pillar: str) -> list[Entry]:
    """Describe the bundled models of a package, by their cards.

    Args:
        pillar: Name of the package; without bundled models it has no entries.

    Raises:
        CardError: A card is damaged or incomplete.
        OSError: A card cannot be read.
    """
    return [_entry(pillar, folder_of(pillar) / name) for name in names(pillar)]


def _entry(pillar: str, model: Path) -> Entry:
    about = card.read(model)
    paths = sorted(path for suffix in WEIGHTS for path in model.rglob(suffix))
    return Entry(
        model.name,
        pillar,
        "comes with the package",
        about.licence if about else UNSTATED,
        about.score if about else NOT_MEASURED,
        True,
        [File(path, "", path.stat().st_size, sha256=digest(path)) for path in paths],
        _facts(about) if about else {},
    )


def _facts(about: Card) -> dict[str, Any]:
    scores = "; ".join(map(str, about.scores[1:]))
    facts = {
        "summary": about.summary,
        "sources": ", ".join(about.sources),
        "sample rate": f"{about.sample_rate} Hz",
        "channels": about.channels,
        "trained on": about.trained_on,
        "trained by": about.command,
    }
    return facts | ({"further scores": scores} if scores else {})


def refuse_large(run: str | Path, weights: int, form: Form) -> None:
    """Refuse a model that would make the package too large.

    Args:
        run: Run folder, for the message.
        weights: Number of its weights.
        form: How they are stored.

    Raises:
        ConfigError: There are too many weights.

    >>> refuse_large("runs/2030", 1000, Form())
    """
    most = MOST_BYTES // (2 if form.half else 4)
    if weights > most and not form.publish:
        raise ConfigError(
            f"{run} has {weights} weights; a bundled model has at most {most}, which "
            f"is {MOST_BYTES // 1_000_000} MB"
            + ("" if form.half else "; --half stores twice as many")
        )


def write(
    run: str | Path,
    folder: str | Path,
    parts: Parts,
    load: Callable[[Path], Separator],
    form: Form,
    scores: Scores,
) -> Card:
    """Write the folder of a model, all files or none.

    Args:
        run: Run folder, whose card is used if it has one.
        folder: The folder. An existing bundled model keeps its card, README
            and plots.
        parts: Networks and configurations, the main one under ``""``.
        load: Function of the package from a folder to a separator.
        form: How it is written.
        scores: Makes the scores of the card of a run that was evaluated.

    Returns:
        The card.

    Raises:
        OSError: The folder cannot be written, or one exists that is published or is
            no bundled model.
        OverwriteError: The folder is or holds the run.
    """
    from common.training import network_file
    from common.training.checkpoint import run_of

    folder = Path(folder)
    refuse_replacing_folder(folder, [run])
    recover_folder(folder)  # Otherwise its card is missed after a kill.
    overwrite = not form.publish and (folder / card.NAME).exists()
    with replacing_folder(folder, overwrite=overwrite) as work:
        for name, (network, config) in parts.items():
            (work / name).mkdir(exist_ok=True)
            save(config, work / name / CONFIG)
            if network is not None:
                network_file.write(work / name / network_file.NAME, network, form.half)
        card_of_run = card.read(folder) or card.read(Path(run))
        about = _card(card_of_run, load(work), parts)
        if card_of_run is None:
            held_out = _evaluated(run_of(run) or Path(run), scores)
            about = dataclasses.replace(about, scores=held_out)
        about = dataclasses.replace(about, licence=form.licence or about.licence)
        card.write(about, work)
        for file in folder.iterdir() if overwrite else ():
            if file.name == README or file.suffix == ".png":
                shutil.copyfile(file, work / file.name)
        if form.publish:
            # The function is defined in the package itself.
            write_text(work / README, card.readme(about, folder.name, load.__module__))
    return about


def _evaluated(run: Path, scores: Scores) -> tuple[Score, ...]:
    """Return the scores of a run; none if there are none or its weights are newer."""
    path = run / SUMMARY
    if not path.is_file():
        return ()
    trained = (file.stat().st_mtime for file in run.rglob("*.index"))
    if path.stat().st_mtime < max(trained, default=0.0):
        return ()
    made = scores(json.loads(path.read_text("utf-8")))
    return tuple(score for score in made if score.values)


def is_recorded(root: str | None) -> bool:
    """Return whether the corpus of a run exists and is not the synthetic miniature."""
    from common.synthetic.building import MARKER

    if root is None:
        return False
    folder = user_path(root)
    return folder.is_dir() and not (folder / MARKER).exists()


def _card(card_of_run: Card | None, separator: Separator, parts: Parts) -> Card:
    """Make the card from that of the run and the properties of the separator."""
    sources, rate = tuple(separator.sources), separator.sample_rate
    weights = sum(network.count_params() for network, _ in parts.values() if network)
    summary = f"{', '.join(sources)} at {rate} Hz; {weights / 1e6:.2g} M weights"
    about = card_of_run or Card(summary, sources, rate, separator.channels)
    return dataclasses.replace(
        about, sources=sources, sample_rate=rate, channels=separator.channels
    )


def stored_sdr(original: Separator, stored: Separator) -> float:
    """Compare the estimates of a network before and after it was stored.

    Args:
        original: Separator of the run.
        stored: Separator of the folder that was written.

    Returns:
        Signal-to-distortion ratio of the worst estimate of a synthetic sound in dB;
        infinite where all estimates are the same to the bit.
    """
    mixture = _probe(original.sample_rate, original.channels)
    expected, actual = original(mixture), stored(mixture)
    return min(_sdr(expected[name], actual[name]) for name in expected)


def _sdr(expected: np.ndarray, actual: np.ndarray) -> float:
    power, distortion = np.square(expected).sum(), np.square(expected - actual).sum()
    if distortion == 0.0:
        return float("inf")
    return float(10.0 * np.log10(max(power, 1e-20) / distortion))


def _probe(sample_rate: int, channels: int) -> np.ndarray:
    """Make a gliding tone with overtones, and bursts of noise."""
    random = np.random.default_rng(0)
    time = np.arange(round(PROBE_SECONDS * sample_rate)) / sample_rate
    phase = 2.0 * np.pi * 220.0 * (time + 0.05 * np.sin(2.0 * time))
    tone = sum(np.sin(number * phase) / number for number in range(1, 7))
    noise = random.standard_normal([channels, len(time)]) * np.exp(-8.0 * (time % 0.5))
    return (0.1 * (tone + noise)).astype(np.float32)
