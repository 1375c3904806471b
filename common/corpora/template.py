"""Template of a corpus: one function that turns your folder into tracks.

The example layout is flat, ``<root>/<split>/<track>_<source>.wav``. Copy this file,
change :func:`tracks` to find your files, add it to ``CORPORA`` of
``common/corpora/catalogue.py`` and its name to ``CorpusName`` of
``common/corpora/track.py``: then all four packages can train on it. For the tests
of this repository, name the module in ``SINGLE_READER`` of
``tests/test_architecture.py`` and the corpus in ``docs/corpora.md``.
"""

from __future__ import annotations

from pathlib import Path

from common.corpora import reading, sound_files
from common.corpora.track import Options, Track
from common.files import user_path

SUFFIX = ".wav"


def tracks(root: Path, split: str, options: Options) -> list[Track]:
    """Return the tracks of a split.

    Args:
        root: Folder of the corpus.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        options: Options of the user; this layout has none.

    Returns:
        Tracks sorted by name. A track may have a mixture; without one it is the sum.

    Raises:
        CorpusError: The split is empty; the error names the expected files and the
            contents of the folder.
    """
    folder = user_path(root) / split
    reading.folder_of("template", folder, f"<track>_<source>{SUFFIX}")
    sources: dict[str, dict[str, Path]] = {}
    for file in sound_files.sounds(folder, SUFFIX):
        name, _, source = file.name[: -len(SUFFIX)].rpartition("_")
        sources.setdefault(name, {})[source] = file
    if not sources:
        empty = f"template: the split {split!r} is empty"
        raise reading.misplaced(empty, folder, f"<track>_<source>{SUFFIX}")
    # Rates, channels and lengths are read from the files.
    return reading.make_tracks((name, sources[name], None) for name in sources)
