"""Template of a corpus: one file that turns your folder into tracks.

The example layout is flat, ``<root>/<split>/<track>_<source>.wav``. Copy this file,
change :func:`tracks` to find your files, and add it to the table ``CORPORA`` of
``common/corpora/catalogue.py``.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path


def tracks(root: Path | str, split: str, *, ext: str = ".wav") -> list[Track]:
    """Return the tracks of a split.

    Args:
        root: Folder of the corpus.
        split: ``"train"`` or ``"valid"``.
        ext: Suffix of the files.

    Returns:
        Tracks sorted by name. A track may have a mixture; without one it is the sum.

    Raises:
        CorpusError: The split is empty; the error names the expected files and the
            contents of the folder.
    """
    folder = user_path(root) / split
    reading.folder_of("template", folder, f"<track>_<source>{ext}")
    sources: dict[str, dict[str, Path]] = {}
    for file in sound_files.sounds(folder, ext):
        name, _, source = file.name[: -len(ext)].rpartition("_")
        sources.setdefault(name, {})[source] = file
    if not sources:
        raise CorpusError(
            f"template: the split {split!r} is empty: {folder} holds no "
            f"<track>_<source>{ext} but {reading.contents(folder)}; check the root."
        )
    # Rates, channels and lengths are read from the files.
    return reading.make_tracks((name, sources[name], None) for name in sources)
