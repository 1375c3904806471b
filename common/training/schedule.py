"""Schedule of a run: its length, its steps, its checkpoints and its devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.config import ConfigError

Strategy = Literal["auto", "one", "mirrored", "multiworker"]
Precision = Literal["float32", "bfloat16"]
Rate = Literal["own", "cosine"]
LEAST = {
    0: ("steps_per_epoch", "keep_every_epochs", "replicas", "warmup_steps"),
    1: ("epochs", "checkpoint_steps", "log_steps", "keep", "accumulate"),
}
"""Keys of a schedule by their least value."""


@dataclass(frozen=True)
class Schedule:
    """Length, steps, checkpoints and devices of a run.

    Attributes:
        epochs: Number of epochs.
        steps_per_epoch: Optimizer steps of one epoch, after which the model is
            validated; 0 takes the length of the data, if they define an epoch.
        checkpoint_steps: Steps between two checkpoints within an epoch; another one is
            saved after every epoch.
        keep: Number of latest checkpoints to keep.
        keep_every_epochs: Epochs between two checkpoints that are never removed; 0:
            none.
        log_steps: Steps between two lines of training scalars.
        best: Validation value that the best checkpoint minimises.
        seed: Seed of weights, data order and noise.
        strategy: Distribution over devices.
        replicas: Number of devices, 0 for all that are visible.
        precision: Precision of the factors of matrix products and convolutions in the
            network, in training, validation and separation. Recurrent layers,
            normalisations, transforms, losses and weights are always float32.
        accumulate: Number of batches of each replica whose mean gradient makes one
            step: the effective batch is that many times larger in the memory of one.
            Epochs and schedules count steps. Batch normalisation uses the moments of
            each batch, and dropout is drawn for each.
        ema: Momentum of the moving average of the weights, such as 0.999, with which
            the run validates and saves, and separates afterwards; 0: none.
        lr_schedule: ``own``: the learning rate of the package with its decay;
            ``cosine``: half a period of a cosine from ``lr`` to 0 over the whole run.
        warmup_steps: Steps of a linear warm-up of the learning rate.
    """

    epochs: int = 1
    steps_per_epoch: int = 1000
    checkpoint_steps: int = 500
    keep: int = 2
    keep_every_epochs: int = 0
    log_steps: int = 100
    best: str = "val_loss"
    seed: int = 0
    strategy: Strategy = "auto"
    replicas: int = 0
    precision: Precision = "float32"
    accumulate: int = 1
    ema: float = 0.0
    lr_schedule: Rate = "own"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        for least, names in LEAST.items():
            for name in names:
                if getattr(self, name) < least:
                    raise ConfigError(
                        f"train.{name}={getattr(self, name)}: expected at least {least}"
                    )
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(
                f"train.ema={self.ema:g}: expected at least 0 (no average) and less "
                "than 1, such as 0.999"
            )
