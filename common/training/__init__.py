"""Training by Keras, with exact resume, several devices and the dry run.

TensorFlow is imported when a name of :mod:`common.training.loop` is first used, so
that configurations, which do not need it, load quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.training.loop import Build, Job, check, say, train
    from common.training.resume import TrainingError

__all__ = ["Build", "Job", "TrainingError", "check", "say", "train"]


def __getattr__(name: str) -> Any:
    """Return a name of the loop."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from common.training import loop

    return getattr(loop, name)
