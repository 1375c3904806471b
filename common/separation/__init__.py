"""Chunked separation of sound of any length through any network."""

from __future__ import annotations

from common.separation.separator import SeparationError, Separator

__all__ = ["SeparationError", "Separator"]
