"""Schedule of a run: its length, its checkpoints and its devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["auto", "one", "mirrored", "multiworker"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Schedule:
    """Length, checkpoints and devices of a run.

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
