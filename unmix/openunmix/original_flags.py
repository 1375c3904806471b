"""The flags of the original's ``train.py``, as words of :mod:`common.experiment`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.config import ConfigError

ALIASES = {
    "--nfft": "model.window_samples",
    "--nhop": "model.hop_samples",
    "--nb-channels": "model.channels",
    "--nb_channels": "model.channels",
    "--targets": "target",
    "--model": "initial",
    "--checkpoint": "initial",
    "--interferences": "interferer_dirs",
    "--random-interferer-mix": "random_track_mix",
    "--silence-missing-targets": "silence_missing",
    "--data_dir": "data_root",
    "--model_dir": "output",
}
"""The original's flags whose keys have other names here."""

REPLACED = {
    "--unidirectional": ["model.bidirectional=false"],
}
"""Flags without a value, and the words that replace them."""

SWITCHES = ("--quiet", "--no-cuda", "--no_cuda")
"""Flags of the process, which are not keys of a configuration."""

WITHOUT_EFFECT = {
    "--nb-workers": "the number of reading threads is chosen automatically",
    "--audio-backend": "formats are read by soundfile or ffmpeg",
}
"""Flags with a value that has no effect, with the reason."""

REFUSED = {
    "--debug": "the original then leaves out statistics; use --check for a dry run",
    "--split": "the tracks of validation are those of the folder or of MUSDB18",
}
"""Flags that would have another effect than in the original."""


def translate_flags(arguments: Sequence[str]) -> list[str]:
    """Turn the original's flags into words of :mod:`common.experiment`.

    Args:
        arguments: Words of the command line.

    Returns:
        The words without flags that have no effect, which are reported.

    Raises:
        ConfigError: A flag is refused.

    >>> translate_flags(["--unidirectional", "--epochs", "3"])
    ['model.bidirectional=false', '--epochs', '3']
    """
    words, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        flag = name.replace("_", "-")
        if flag in REFUSED:
            raise ConfigError(f"{name} is refused: {REFUSED[flag]}")
        if flag in WITHOUT_EFFECT:
            if not equals and rest:
                rest.pop(0)
            sys.stdout.write(f"{name} has no effect: {WITHOUT_EFFECT[flag]}\n")
        else:
            words += REPLACED.get(flag, [word])
    return words
