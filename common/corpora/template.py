"""A corpus to copy: one file that turns a folder of your own into tracks.

The example layout is flat, ``<root>/<split>/<track>_<source>.wav``. Copy this file,
change :func:`tracks` to find your files, and name it in the table ``CORPORA`` of
``common/corpora/catalogue.py``.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path


def tracks(root: Path | str, split: str, *, ext: str = ".wav") -> list[Track]:
    """Turn a split into tracks.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        ext: Suffix of the files.

    Returns:
        Tracks by name. A track may have a mixture; without one it is the sum.

    Raises:
        CorpusError: The split is empty. Say what was looked for and what was found.
    """
    place = user_path(root) / split
    reading.folder_of("template", place, f"<track>_<source>{ext}")
    found: dict[str, dict[str, Path]] = {}
    for file in sound_files.sounds(place, ext):
        name, _, source = file.name[: -len(ext)].rpartition("_")
        found.setdefault(name, {})[source] = file
    if not found:
        raise CorpusError(
            f"template: the split {split!r} is empty: {place} holds no "
            f"<track>_<source>{ext} but {reading.contents(place)}; check the root."
        )
    # Rates, channels and lengths are read from the files; an array does as well.
    return reading.make_tracks((name, found[name], None) for name in found)
