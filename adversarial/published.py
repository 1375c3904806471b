"""The models of this pillar that there are: those that come with the package.

The original's were lost, and its numbers are not repeated here.
"""

from __future__ import annotations

from adversarial.runs import MODELS
from common.weights.registry import Entry, shipped


def entries() -> list[Entry]:
    """Describe all models for :mod:`common.weights.registry`."""
    return shipped("adversarial", MODELS)
