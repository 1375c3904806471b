"""Where a trained separator lies: run folders, their phases, single checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from adversarial.config import AdversarialConfig, ModelConfig
from adversarial.model import Separator
from common.config import load as load_config
from common.files import user_path
from common.training.checkpoint import CheckpointError, restore_network
from common.weights import bundled as embedded

CONFIG = "config.json"
MODELS = Path(__file__).parent / "models"
RECORD = "run.json"
BASE = ModelConfig().model_base_dir
NEWEST = "newest"
PHASES = "semisup", "sup"
"""Folders of the phases, the one that is preferred first."""


def load(path: str | Path, checkpoint: str | None = None) -> Separator:
    """Restore a separator.

    Args:
        path: Run folder, of which the semi-supervised phase is taken if it is there;
            folder of a phase; prefix of a checkpoint; ``newest``; or the name of a
            model that comes with the package.
        checkpoint: Of a folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Raises:
        CheckpointError: There is no checkpoint, or it does not fit its configuration.
    """
    place = locate(path)
    told = config(place)
    separator = Separator(told.model_config, told.train.precision)
    restore_network(place, separator, checkpoint)
    return separator


def of_original(path: str | Path) -> Path | None:
    """Find a checkpoint of the original, or None for anything that is ours."""
    if str(path) == NEWEST or embedded.find(MODELS, path):
        return None
    place = user_path(path)
    if Path(f"{place}.index").is_file():
        return None if (place.parent.parent / CONFIG).exists() else place
    ours = (place / CONFIG).exists()
    return place if not ours and any(place.glob("*.index")) else None


def config(place: Path) -> AdversarialConfig:
    """Read the configuration of what :func:`locate` found."""
    folder = place if place.is_dir() else place.parent.parent
    return load_config(AdversarialConfig, folder / CONFIG)


def locate(path: str | Path) -> Path:
    """Find the folder of a phase, or the prefix of a checkpoint below one.

    Raises:
        CheckpointError: There is neither.
    """
    if str(path) == NEWEST:
        path = newest()
    place = embedded.find(MODELS, path) or user_path(path)
    if Path(f"{place}.index").is_file():
        return _prefix(place)
    if not place.is_dir():
        raise CheckpointError(
            f"{place} is no run folder, no checkpoint and no model that comes with the "
            "package; check its name"
        )
    if not (place / CONFIG).exists():
        raise CheckpointError(
            f"{place} holds no {CONFIG}; expected a run folder of adversarial.train, "
            "and checkpoints of the original go through adversarial.convert first"
        )
    places = [place, *(place / phase for phase in PHASES)]
    found = [each for each in places if _is_trained(each)]
    if not found:
        raise CheckpointError(
            f"{place} holds no checkpoint (looked for best/ and latest/, also in "
            f"{' and '.join(PHASES)}); let its training go on for a while"
        )
    return found[0]


def newest(base: str | Path = BASE) -> Path:
    """Find the run that was started or went on last, by the runs' own records.

    Args:
        base: Folder of run folders.

    Raises:
        CheckpointError: There is no run with a checkpoint.
    """
    times: dict[Path, str] = {}
    for record in [*Path(base).glob(f"*/{RECORD}"), *Path(base).glob(f"*/*/{RECORD}")]:
        folder = record.parent
        if _is_trained(folder):
            run = folder.parent if folder.name in PHASES else folder
            times[run] = max(times.get(run, ""), _time(record))
    if not times:
        raise CheckpointError(
            f"no run with a checkpoint was found below {Path(base).resolve()}; name "
            "another place or mini, which comes with the package, by --checkpoint, or "
            "train a network: python -m adversarial.train"
        )
    return max(times, key=lambda run: (times[run], run.name))


def _prefix(place: Path) -> Path:
    """Pass on the prefix of a checkpoint of this program."""
    if not (place.parent.parent / CONFIG).exists():
        raise CheckpointError(
            f"{place} lies in no run folder ({place.parent.parent} holds no {CONFIG}); "
            "a checkpoint of the original goes through adversarial.convert first"
        )
    return place


def _is_trained(folder: Path) -> bool:
    places = [folder / name / "checkpoint" for name in ("best", "latest")]
    return (folder / CONFIG).exists() and any(place.exists() for place in places)


def _time(record: Path) -> str:
    """Time of the last start; damaged records are the oldest."""
    try:
        return str(json.loads(record.read_text("utf-8"))["starts"][-1]["time"])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
