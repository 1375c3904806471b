"""The phases of a run: their names, folders and configurations, and trained weights.

Each phase has its own run folder, ``sup`` or ``semisup``, in that of the run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from adversarial.config import AdversarialConfig, ModelConfig
from adversarial.model import UNet
from common.config import load as load_config
from common.config import override
from common.training import network_file, run_folder
from common.training.checkpoint import CheckpointError, restore_network
from common.training.resume import TrainingError
from common.weights.locate import Location, Models, locate_model

SUPERVISED, SEMI_SUPERVISED = "sup", "semisup"
"""Names of the phases and of their folders."""

PREFERRED = SEMI_SUPERVISED, SUPERVISED
"""The phases in the order in which their weights are preferred."""

NEWEST = "newest"
MODELS = Models("adversarial", f"{NEWEST}, a checkpoint of the original")
BASE = Path(ModelConfig().model_base_dir)
CONFIG = "config.json"
RECORD = "run.json"


def requested(config: AdversarialConfig, unpaired: bool) -> list[str]:
    """List the phases of a run.

    Args:
        config: The configuration of the run.
        unpaired: Whether there are unpaired songs; without them there is no second
            phase.

    Raises:
        TrainingError: Only the second phase is requested, and there are none.
    """
    if config.phases == SEMI_SUPERVISED and not unpaired:
        raise TrainingError(
            "phases=semisup needs unpaired songs; name their corpus with "
            "corpora.unpaired=..., or set corpora.paired_tracks"
        )
    if config.phases != "both":
        return [config.phases]
    return [SUPERVISED, SEMI_SUPERVISED] if unpaired else [SUPERVISED]


def part(config: AdversarialConfig, phase: str) -> AdversarialConfig:
    """Make the configuration of one phase of a run, with the folder of the phase."""
    steps = config.model_config.epoch_it
    output = None if config.output is None else str(Path(config.output) / phase)
    schedule = replace(config.train, steps_per_epoch=steps)
    return override(replace(config, output=output, train=schedule), {"phases": phase})


def default_folder(config: AdversarialConfig) -> str:
    """Name the run folder of a configuration without ``output``."""
    name = config.experiment_id or run_folder.date()
    return str(Path(config.model_config.model_base_dir) / name)


def link_events(config: AdversarialConfig) -> None:
    """Link the events of a phase below ``log_dir``, under the original's name."""
    settings, phase = config.model_config, Path(str(config.output)).absolute()
    run, base = phase.parent, Path(settings.model_base_dir).absolute()
    if settings.log_dir is None or run.parent != base:
        return
    link = Path(settings.log_dir) / f"{run.name}_{phase.name}"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() and not link.exists():
        link.symlink_to(phase / "events", target_is_directory=True)


def restore(word: str | Path, checkpoint: str | None = None) -> UNet:
    """Restore the separator of a run.

    Args:
        word: See :func:`locate`.
        checkpoint: Checkpoint of a folder: ``latest``, ``best`` or ``step-N``; by
            default the best, else the latest.

    Raises:
        CheckpointError: There is no checkpoint, or it does not fit its configuration.
    """
    path = locate(word).path
    config = read_config(path)
    network = UNet(config.model_config, config.train.precision)
    restore_network(path, network, checkpoint)
    return network


def locate(word: str | Path, checkpoint: str | None = None) -> Location:
    """Find the folder of a phase, or a checkpoint of a phase or of the original.

    Args:
        word: Name of a bundled model, ``newest``, run folder, of which the
            semi-supervised phase is preferred, folder of a phase, or prefix of a
            checkpoint; prefix or folder of a checkpoint of the original.
        checkpoint: Choice among the checkpoints of a folder, if any.

    Raises:
        CheckpointError: It names nothing, a run without a checkpoint, or weights
            without a choice of checkpoints.
    """
    path = newest() if str(word) == NEWEST else word
    location = locate_model(path, MODELS, checkpoint)
    run = location.run
    if run is None or location.path != run:
        return location
    for folder in (run, *(run / phase for phase in PREFERRED)):
        if _is_trained(folder):
            return location._replace(path=folder, run=folder)
    raise CheckpointError(
        f"{run} holds no checkpoint (looked for best/ and latest/, also in "
        f"{' and '.join(PREFERRED)}); continue its training first"
    )


def is_original(location: Location) -> bool:
    """Return whether a path is that of a checkpoint of the original."""
    path = location.path
    return location.run is None and (not path.is_dir() or any(path.glob("*.index")))


def read_config(path: Path) -> AdversarialConfig:
    """Read the configuration of the folder of a phase, or of one of its checkpoints.

    Raises:
        CheckpointError: It is not of a run.
    """
    folder = path if path.is_dir() else path.parent.parent
    if not (folder / CONFIG).exists():
        problem = "" if path.is_dir() else f"{path} is not in a run folder: "
        raise CheckpointError(
            f"{problem}{folder} holds no {CONFIG}; expected a run folder of "
            "adversarial.train, or convert a checkpoint of the original by "
            "adversarial.convert first"
        )
    return load_config(AdversarialConfig, folder / CONFIG)


def newest() -> Path:
    """Find the run below ``checkpoints`` that started or resumed last, by its record.

    Raises:
        CheckpointError: There is no run with a checkpoint.
    """
    times: dict[Path, str] = {}
    for record in [*BASE.glob(f"*/{RECORD}"), *BASE.glob(f"*/*/{RECORD}")]:
        folder = record.parent
        if _is_trained(folder):
            run = folder.parent if folder.name in PREFERRED else folder
            times[run] = max(times.get(run, ""), _last_start(record))
    if not times:
        raise CheckpointError(
            f"there is no run with a checkpoint below {BASE.resolve()}; name "
            "another folder, or singing, which comes with the package, by "
            "--checkpoint, or train a network: python -m adversarial.train"
        )
    return max(times, key=lambda run: (times[run], run.name))


def _is_trained(folder: Path) -> bool:
    weights = [folder / name / "checkpoint" for name in ("best", "latest")]
    weights.append(folder / network_file.NAME)
    return (folder / CONFIG).exists() and any(path.exists() for path in weights)


def _last_start(record: Path) -> str:
    """Return the time of the last start of a run; empty for a damaged record."""
    try:
        return str(json.loads(record.read_text("utf-8"))["starts"][-1]["time"])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
