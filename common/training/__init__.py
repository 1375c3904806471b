"""Training by Keras, with exact resume, several devices and the dry run."""

from __future__ import annotations

from common.training.loop import Build, Job, check, say, train
from common.training.resume import TrainingError

__all__ = ["Build", "Job", "TrainingError", "check", "say", "train"]
