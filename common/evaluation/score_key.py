"""Key of scores: the model, the tracks and the settings that they depend on.

A resumable table continues only with rows of the same key, so that further training,
another split or another option starts a new table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.corpora import waveforms
from common.corpora.track import Channel, Sound, Sum, Track
from common.separation.separator import Separator

NOISE_SECONDS = 2


def digest(separator: Separator) -> str:
    """Hash the output of a separator for noise, and its other settings.

    ``Separator.digest`` identifies the weights alone, for reports; scores depend on the
    options of the separation as well, and separators of a user's own have no digest.

    Args:
        separator: The separator, which runs once on two seconds of noise.

    Returns:
        SHA-256 in hexadecimal digits; another one for other weights, names of sources,
        segments or overlaps.
    """
    shape = [separator.channels, NOISE_SECONDS * separator.sample_rate]
    noise = 0.1 * np.random.default_rng(0).standard_normal(shape)
    values = {field.name: getattr(separator, field.name) for field in fields(separator)}
    # The text of a function holds its address, which differs between processes.
    settings = {name: value for name, value in values.items() if not callable(value)}
    content = hashlib.sha256(repr(settings).encode())
    # On a GPU the last digits of equal networks differ from run to run.
    with tf.device("/CPU:0"):
        estimates = separator(noise.astype(np.float32))
    for estimate in estimates.values():
        content.update(estimate.tobytes())
    return content.hexdigest()


def key(model: str, tracks: Sequence[Track], **settings: object) -> str:
    """Return a text of all that the scores of a model on tracks depend on.

    Args:
        model: Of :func:`digest`, or a text that identifies another estimator.
        tracks: The tracks, in any order.
        settings: Options that change a score.

    Returns:
        One text, equal for equal arguments in every process.

    >>> track = Track("song", 8000, 1, {"vocals": Path("/data/vocals.wav")})
    >>> key("model", [track], bss=True).splitlines()[:2]
    ['model', "{'bss': True}"]
    """
    lines = sorted(repr(_described(track)) for track in tracks)
    return "\n".join([model, repr(dict(sorted(settings.items()))), *lines])


def _described(track: Track) -> tuple[object, ...]:
    sounds = {name: _identified(sound) for name, sound in track.sources.items()}
    mixture = None if track.mixture is None else _identified(track.mixture)
    return track.name, track.sample_rate, track.samples, sounds, mixture


def _identified(sound: Sound) -> object:
    """Name the file of a sound and its content, or hash its samples."""
    if isinstance(sound, Sum):
        return [_identified(part) for part in sound.parts]
    if isinstance(sound, Channel):
        count = (sound.count,) if sound.count > 1 else ()
        return _stamped(sound.file), sound.channel, *count
    if isinstance(sound, Path):
        return _stamped(sound)
    return sound.shape, hashlib.sha256(sound.tobytes()).hexdigest()


def _stamped(file: Path) -> tuple[str, str]:
    """Return the path of a file and a digest of parts of it, empty if it is missing."""
    with suppress(OSError):
        return str(file.absolute()), waveforms.fingerprint(file)
    return str(file.absolute()), ""
