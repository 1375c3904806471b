"""Images for TensorBoard under the tags of the original: estimates, critics' inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from adversarial import spectra, tags
from adversarial.data import MIXTURES
from common.training.distribution import Example

EXAMPLES = 3
"""How many are drawn, at the first positions of a stream."""

Images = Mapping[str, tf.Tensor]


def drawing(
    model: Any, paired: Example, unpaired: Example | None
) -> Callable[[], Images]:
    """Make the function that draws what a model makes of the same examples each time.

    Args:
        model: What is trained, with ``network``, ``settings`` and ``geometry``.
        paired: Gives mixtures with their sources.
        unpaired: Gives what the critics see; None: there are no critics.

    Returns:
        Function to images [examples, bins, frames, 1] by tag, low frequencies below.
    """
    songs = _batch(paired)
    singles = None if unpaired is None else _batch(unpaired)

    def draw() -> Images:
        found = estimated(model, songs["mixture"])
        if singles is not None:
            found = {**found, **compared(model, singles)}
        return {tag: tf.reverse(image, [1]) for tag, image in found.items()}

    return draw


def estimated(model: Any, mixtures: tf.Tensor) -> Images:
    """Estimate the sources of mixtures [batch, samples]."""
    found = _estimates(model, mixtures)
    return {f"sep_{name}_norm": found[:, k] for k, name in enumerate(tags.SOURCES)}


def compared(model: Any, batch: Mapping[str, tf.Tensor]) -> Images:
    """Give what each critic compares: real examples, and estimates of other mixtures.

    Args:
        model: What is trained.
        batch: ``mixtures``, ``accompaniments`` and ``vocals`` [batch, samples].
    """
    waves = tf.stack([batch["accompaniments"], batch["vocals"]], axis=1)
    kinds = {
        "real": spectra.sources(waves, model.settings, model.geometry),
        "fake": _estimates(model, batch[MIXTURES]),
    }
    return {
        f"{name}_disc_{kind}_input": spectra.for_critics(image[:, k], model.geometry)
        for k, name in enumerate(tags.SOURCES)
        for kind, image in kinds.items()
    }


def _estimates(model: Any, mixtures: tf.Tensor) -> tf.Tensor:
    seen = spectra.mixtures(mixtures, model.settings, model.geometry)
    return model.network(seen.log)


def _batch(example: Example) -> dict[str, tf.Tensor]:
    """The first examples of a stream."""
    each = [example(tf.constant(p, tf.int64)) for p in range(EXAMPLES)]
    return {name: tf.stack([one[name] for one in each]) for name in each[0]}
