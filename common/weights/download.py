"""Resumable downloads that are whole and checked, or absent."""

from __future__ import annotations

import hashlib
import http
import http.client
import logging
import re
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from common import files

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 20


class DownloadError(ValueError):
    """A file that cannot be downloaded, or is not the published one."""


def obtain(url: str, path: Path, sha256: str = "") -> Path:
    """Download a file, unless it is there.

    A download that broke off goes on where it ended, if the server has ranges. The file
    appears under its name once it is whole and its SHA-256 is compared.

    Args:
        url: Address of the file.
        path: Path of the file; its folder is made as needed.
        sha256: Its SHA-256 or the first digits of it; empty where none is published.

    Returns:
        The path.

    Raises:
        DownloadError: The file cannot be downloaded, or is another one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path):
        if not path.exists():
            _obtain(url, path, sha256)
    return path


def digest(path: Path) -> str:
    """Compute the SHA-256 of a file.

    >>> digest(Path("/dev/null"))[:8]
    'e3b0c442'
    """
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()


def expected_digest(path: Path) -> str | None:
    """Return the first digits of the SHA-256 in the name of a file, if it has some.

    >>> expected_digest(Path("vocals-b62c91ce.pth"))
    'b62c91ce'
    """
    match = re.search(r"[-_]([0-9a-f]{8})$", path.stem)
    return match and match[1]


def _obtain(url: str, path: Path, sha256: str) -> None:
    part = path.with_name(f"{path.name}.part")
    LOG.info("downloading %s", url)
    try:
        _download(url, part)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(
            f"{url} cannot be downloaded ({error}); connect to the network and start "
            f"again to go on, or put the file into {path.parent}"
        ) from error
    if not digest(part).startswith(sha256):
        part.unlink()
        raise DownloadError(
            f"{url} gave a file whose SHA-256 does not begin with {sha256}; it was "
            f"removed, so start again, or download it by hand into {path.parent}"
        )
    part.replace(path)


def _download(url: str, part: Path) -> None:
    """Download the rest of a file, or all of it where the server has no ranges."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        return  # There is nothing after what we have.
    resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    with answer, part.open("ab" if resumed else "wb") as file:
        length = answer.headers.get("Content-Length")
        received = 0
        size = None if length is None else int(length)
        bar = tqdm(desc=part.stem, total=size, unit="B", unit_scale=True, disable=None)
        with bar:
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                received += len(block)
                bar.update(len(block))
    if size is not None and received != size:
        raise ConnectionError(f"it broke off after {received} of {size} bytes")
