"""Flags of the original's training that are no keys of ours."""

from __future__ import annotations

from collections.abc import Sequence

from common.config import ConfigError
from common.training.loop import say

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
    "--data_dir": "root",
    "--model_dir": "output",
}
"""Flags whose keys have other names here."""

REPLACED = {
    "--unidirectional": ["model.bidirectional=false"],
}
"""Flags without a value, and what they mean here."""

WITHOUT_EFFECT = {
    "--nb-workers": "excerpts are read by as many threads as pay",
    "--audio-backend": "every format is read by soundfile, else by ffmpeg",
}
"""Flags with a value that nothing depends on, and why."""

REFUSED = {
    "--debug": "the original then leaves out statistics; use --check for a dry run",
    "--split": "the tracks of validation are those of the folder or of MUSDB18",
}
"""Flags that would do something else than they say."""


def translated(arguments: Sequence[str]) -> list[str]:
    """Turn the original's flags into words of :mod:`common.experiment`.

    Args:
        arguments: Words of the command line.

    Returns:
        The words, of which those without effect are left out, after saying so.

    Raises:
        ConfigError: A flag is refused.

    >>> translated(["--unidirectional", "--epochs", "3"])
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
            say(f"{name} has no effect: {WITHOUT_EFFECT[flag]}")
        else:
            words += REPLACED.get(flag, [word])
    return words
