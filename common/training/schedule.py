"""How long a run goes, what it keeps, and how it is spread over devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["auto", "one", "mirrored", "multiworker"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Schedule:
    """How long a run goes, what it keeps, and how it is spread over devices.

    Attributes:
        epochs: Number of epochs.
        steps_per_epoch: Optimizer steps of one epoch; validation follows each. With 0
            a pillar whose data have epochs of their own takes theirs.
        checkpoint_steps: Steps between two checkpoints within an epoch; one more is
            saved after every epoch.
        keep: Number of latest checkpoints that stay.
        keep_every_epochs: Every so many epochs one checkpoint stays for ever; 0: none.
        log_steps: Steps between two lines of training scalars.
        best: Validation value that the best checkpoint minimises.
        seed: Seed of weights, data order and noise.
        strategy: How the run is spread over devices.
        replicas: Number of devices, 0 for all that are visible.
        precision: Of the factors of matrix products and convolutions in the network,
            in training, validation and separation. Recurrent layers, normalisations,
            transforms, losses and weights are float32 in any case.
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
