"""What a run lets hear and see of its training examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import tensorflow as tf
import tf_keras as keras

from common.training.logs import sound_writer, write_examples
from mixit.summaries import arrange, images, sounds


@final
class TrainingSounds(keras.callbacks.Callback):
    """Write sounds and images of training examples every few steps.

    Examples are drawn and separated again, after their step. They go to TensorBoard's
    ``train``. Where a mixture has more sources than names, nothing can be aligned: then
    only the mixtures and the estimates are written.

    Args:
        folder: The run folder.
        sources: Returns the sources [examples, mixtures, sources, samples] of a step,
            of which three are written.
        names: Of the outputs, from :func:`mixit.summaries.signal_names` for as many
            mixtures.
        sample_rate: In Hz.
        every: Steps between two writings; Google's program has 1000.
        start_step: Step at which this process goes on.
        chief: Whether this process writes. The others separate the same examples,
            because weights of several machines may be read together.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Callable[[int], tf.Tensor],
        names: Sequence[str],
        sample_rate: int,
        *,
        every: int,
        start_step: int,
        chief: bool = True,
    ) -> None:
        super().__init__()
        path = Path(folder) / "events" / "train"
        self._writer = sound_writer(path, chief)
        self._sources = sources
        self._names = tuple(names)
        self._sample_rate = sample_rate
        self._every = every
        self._step = start_step

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Count the steps and write when it is time."""
        self._step += 1
        if self._step % self._every == 0:
            self._write()

    def _write(self) -> None:
        sources = self._sources(self._step)[:3]
        mixture = tf.reduce_sum(sources, axis=[1, 2])
        references = arrange(sources, self._names)
        heard = sounds(mixture, references, self.model.network(mixture), self._names)
        with self._writer.as_default(step=self._step):
            write_examples(heard, images(heard, self._sample_rate), self._sample_rate)
        self._writer.flush()
