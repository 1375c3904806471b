"""Image summaries for TensorBoard under the original's tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from adversarial.data import MIXTURES
from adversarial.images import critic_images, mixture_images, source_images
from adversarial.steps import SOURCES, SupervisedTraining
from common.training.distribution import Example

EXAMPLES = 3
"""Number of examples, from the first positions of a stream."""

Images = dict[str, tf.Tensor]
"""Images [examples, bins, frames, 1] by tag."""


def image_summaries(
    model: SupervisedTraining, paired: Example, unpaired: Example | None
) -> Callable[[], Images]:
    """Make the function that computes the images of the same examples each time.

    Args:
        model: The training model.
        paired: Excerpts with their sources.
        unpaired: Unpaired excerpts for the critics; None without critics.

    Returns:
        Function to images by tag, low frequencies at the bottom.
    """
    songs = _batch(paired)
    unpaired_songs = None if unpaired is None else _batch(unpaired)

    def summarize() -> Images:
        images = estimate_images(model, songs["mixture"])
        if unpaired_songs is not None:
            images |= critic_inputs(model, unpaired_songs)
        return {tag: tf.reverse(image, [1]) for tag, image in images.items()}

    return summarize


def estimate_images(model: SupervisedTraining, mixtures: tf.Tensor) -> Images:
    """Estimate the sources of mixtures [batch, samples]."""
    estimates = _estimates(model, mixtures)
    return {f"sep_{source}_norm": estimates[:, k] for k, source in enumerate(SOURCES)}


def critic_inputs(model: SupervisedTraining, batch: Mapping[str, tf.Tensor]) -> Images:
    """Compute the real examples and the estimates that each critic compares.

    Args:
        model: The training model.
        batch: ``mixtures``, ``accompaniments`` and ``vocals`` [batch, samples].
    """
    waves = tf.stack([batch["accompaniments"], batch["vocals"]], axis=1)
    inputs = {
        "real": source_images(waves, model.settings, model.geometry),
        "fake": _estimates(model, batch[MIXTURES]),
    }
    return {
        f"{source}_disc_{name}_input": critic_images(image[:, k], model.geometry)
        for k, source in enumerate(SOURCES)
        for name, image in inputs.items()
    }


def _estimates(model: SupervisedTraining, mixtures: tf.Tensor) -> tf.Tensor:
    images = mixture_images(mixtures, model.settings, model.geometry)
    return model.network(images.log)


def _batch(example: Example) -> dict[str, tf.Tensor]:
    """Stack the first examples of a stream."""
    examples = [example(tf.constant(p, tf.int64)) for p in range(EXAMPLES)]
    return {name: tf.stack([row[name] for row in examples]) for name in examples[0]}
