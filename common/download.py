"""Resumable downloads with verified checksums; no partial file is visible."""

from __future__ import annotations

import http
import http.client
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from common import files
from common.errors import CURES

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 20
ATTEMPTS = 4
"""Number of requests for one file, each of which must bring a part of it."""

RECORD = "downloads.json"
"""File beside downloads with the address, size and SHA-256 of each."""

PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head)\b", re.I | re.S)


class DownloadError(ValueError):
    """A file that cannot be downloaded, or is not the published one."""


class Download(NamedTuple):
    """Record of the first download of a file.

    Attributes:
        address: Where it came from.
        size: Size in bytes.
        sha256: Its SHA-256.
    """

    address: str
    size: int
    sha256: str


def obtain(url: str, path: Path, sha256: str = "", size: int | None = None) -> Path:
    """Download a file, unless it exists.

    An interrupted download continues where it ended if the server supports ranges and
    still has the same version (RFC 9110, If-Range). The
    file appears under its name when it is complete and its SHA-256 equals the published
    one and that of the first download, which :data:`RECORD` keeps.

    Args:
        url: Address of the file.
        path: Path of the file; its folder is made as needed.
        sha256: Its SHA-256 or the first digits of it; empty where none is published.
        size: Its size in bytes, None if unknown.

    Returns:
        The path.

    Raises:
        DownloadError: The file cannot be downloaded, or is another one.
    """
    if path.exists():  # perhaps in a cache that others may only read
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path):
        if not path.exists():
            _obtain(url, path, sha256, size)
    return path


def verify(path: Path, sha256: str = "") -> str:
    """Compare a file with its published and its recorded SHA-256.

    Args:
        path: The file.
        sha256: Its published SHA-256 or the first digits of it; empty where there is
            none.

    Returns:
        The whole SHA-256.

    Raises:
        DownloadError: It is another one.
    """
    whole = files.digest(path)
    first = recorded(path)
    for expected in (sha256, first.sha256 if first else ""):
        if not whole.startswith(expected):
            raise DownloadError(
                f"{path} has SHA-256 {whole[:8]}..., expected {expected[:8]}...; it is "
                "damaged or another file, so remove and download it again"
            )
    return whole


def recorded(path: Path) -> Download | None:
    """Return what the first download of a file recorded, None if there was none.

    >>> recorded(Path("nowhere/weights.pth")) is None
    True
    """
    values = _records(path.parent).get(path.name)
    try:
        return Download(**values) if values else None
    except TypeError as error:
        raise _damaged(path.parent / RECORD, error) from error


def expected_digest(path: Path) -> str | None:
    """Return the first digits of the SHA-256 in the name of a file, if it has some.

    >>> expected_digest(Path("vocals-b62c91ce.pth"))
    'b62c91ce'
    """
    match = re.search(r"[-_]([0-9a-f]{8})$", path.stem)
    return match and match[1]


def _records(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DownloadError:
    return DownloadError(
        f"{path} is damaged ({error}); remove it, and the next download writes it again"
    )


def _record(path: Path, download: Download) -> None:
    record = path.parent / RECORD
    with files.locked(record):
        records = _records(path.parent)
        records.setdefault(path.name, download._asdict())
        files.write_json(records, record)


def _obtain(url: str, path: Path, sha256: str, size: int | None) -> None:
    part = path.with_name(f"{path.name}.part")
    LOG.info("downloading %s", url)
    try:
        with files.naming(part):
            _download(url, part)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in CURES:
            raise
        raise DownloadError(
            f"{url} cannot be downloaded ({error}); connect to the network and start "
            f"again to go on, or put the file into {path.parent}"
        ) from error
    download = Download(url, part.stat().st_size, files.digest(part))
    problem = _problem(path, part, download, Download(url, size or 0, sha256))
    if problem:
        _discard(part)
        raise DownloadError(
            f"{url} {problem}; it was removed, so start again, or download it by hand "
            f"into {path.parent}"
        )
    _record(path, download)
    _version(part).unlink(missing_ok=True)
    with files.naming(path):
        files.sync(part)
        part.replace(path)
        files.sync(path.parent)


def _problem(path: Path, part: Path, download: Download, expected: Download) -> str:
    """Return what is wrong with a file that was downloaded, empty if nothing is."""
    first = recorded(path)
    with part.open("rb") as file:
        is_page = PAGE.match(file.read(BLOCK_BYTES))
    if is_page:
        return "returned a web page instead of the file"
    if expected.size not in (0, download.size):
        return f"gave a file of {download.size} bytes, expected {expected.size}"
    if not download.sha256.startswith(expected.sha256):
        return f"gave a file whose SHA-256 does not begin with {expected.sha256}"
    if first and first.sha256 != download.sha256:
        return (
            f"gave a file of SHA-256 {download.sha256[:8]}..., which was "
            f"{first.sha256[:8]}... at the first download"
        )
    return ""


def _download(url: str, part: Path) -> None:
    """Download a file; when the connection breaks off, request the rest."""
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            _download_rest(url, part)
        except (OSError, http.client.HTTPException):
            if attempt == ATTEMPTS or _size(part) == before:
                raise
        else:
            return


def _download_rest(url: str, part: Path) -> None:
    """Download the rest of a file, or all of it where the server has no ranges."""
    start, version = _size(part), _version(part)
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and version.exists():
        headers["If-Range"] = version.read_text("utf-8")
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        length = error.headers.get("Content-Range", f"bytes */{start}")
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        if length == f"bytes */{start}":
            return  # The partial file is complete.
        _discard(part)  # It is of another file, which was as long or longer.
        _download_rest(url, part)
        return
    resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    with answer:
        _refuse_page(url, answer.headers)
        if not resumed:
            _discard(part)
            _keep_version(answer.headers, version)
        with part.open("ab") as file:
            _copy(answer, file, part.stem)


def _version(part: Path) -> Path:
    """Return the file of the version that a partial file is of."""
    return part.with_name(f"{part.name}.version")


def _discard(part: Path) -> None:
    """Remove a partial file."""
    part.unlink(missing_ok=True)
    _version(part).unlink(missing_ok=True)


def _keep_version(headers: Mapping[str, str], file: Path) -> None:
    """Write the strong entity tag of a file, else its date, for a later If-Range."""
    tag = headers.get("ETag", "W/")
    version = headers.get("Last-Modified") if tag.startswith("W/") else tag
    if version is not None:
        files.write_text(file, version)


def _refuse_page(url: str, headers: Mapping[str, str]) -> None:
    """Refuse a response that is a web page, and keep the partial file."""
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type in ("text/html", "application/xhtml+xml"):
        raise DownloadError(
            f"{url} is a web page ({content_type}), not a file: it has moved, or asks "
            "for something; open it in a browser"
        )


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], name: str) -> None:
    length = answer.headers.get("Content-Length")
    size, received = None if length is None else int(length), 0
    bar = tqdm(desc=name, total=size, unit="B", unit_scale=True, disable=None)
    with bar:
        while block := answer.read(BLOCK_BYTES):
            file.write(block)
            received += len(block)
            bar.update(len(block))
    if size is not None and received != size:
        raise ConnectionError(f"it broke off after {received} of {size} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
