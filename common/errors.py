"""The edge of every command: expected errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def exit_code(program: str, action: Callable[[], int]) -> int:
    """Run a command and turn bad input into one sentence on standard error.

    Every error about the user's input is a ``ValueError`` or an ``OSError`` whose text
    is written for the reader. Anything else is a fault of the program and keeps its
    traceback; ``SEPARATION_TRACEBACK=1`` shows it for the others too.

    Args:
        program: Name put in front of the sentence.
        action: The command; returns its exit code.

    Returns:
        The exit code: that of the action, 1 after bad input, 130 when interrupted.

    >>> exit_code("demo", lambda: 0)
    0
    """
    try:
        return action()
    except (ValueError, OSError) as error:
        if os.environ.get("SEPARATION_TRACEBACK"):
            raise
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return 130
