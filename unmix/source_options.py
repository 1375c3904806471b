"""Options of command lines that make further sources: the residual and sums."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any


def sums(text: str) -> dict[str, list[str]]:
    """Read the JSON of ``--aggregate``: new sources by the names of their parts.

    >>> sums('{"accompaniment": ["drums", "bass"]}')
    {'accompaniment': ['drums', 'bass']}
    """
    try:
        read = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    lists = isinstance(read, dict) and all(isinstance(v, list) for v in read.values())
    if not lists or not read:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no list of names by a name, such as {{"rest": ["drums"]}}'
        )
    return read


class Residual(argparse.Action):
    """Takes the name of the residual, if there is one, and leaves a file to the inputs.

    What has a folder or a suffix is a file.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Put the name into the namespace, or a file to ``named_input``."""
        is_file = values is not True and (os.sep in values or Path(values).suffix)
        setattr(namespace, self.dest, True if is_file else values)
        if is_file:
            namespace.named_input = [*namespace.named_input, values]
