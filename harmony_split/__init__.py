"""A page in the browser that splits a song into its parts: ``python -m harmony_split``.

A server on Starlette takes sound files, worker processes separate them by the models of
the four packages, and the page plays the stems through one mixer.
"""

from __future__ import annotations

import common  # noqa: F401 (it replaces closed streams of ``python -m harmony_split``)
