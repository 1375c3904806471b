"""Links of README files and pages: files and anchors exist, others are https."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "[!.]*/*.md", "*/bundled/*/README.md", "docs/**/*.md")
    for path in REPOSITORY.glob(pattern)
    if not {"build", "tests"} & set(path.parts)
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PLAIN_HTTP = {"http://www.slakh.com", "http://wham.whisper.ai"}
"""Sites without a certificate of their own."""


def links(page: str) -> Iterator[str]:
    yield from LINK.findall(FENCE.sub("", (REPOSITORY / page).read_text("utf-8")))


def anchors(path: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub and MyST make them."""
    text = FENCE.sub("", path.read_text("utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        path = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


@pytest.mark.parametrize("page", PAGES)
def test_links_to_others_are_encrypted(page):
    outside = {link for link in links(page) if "://" in link}
    assert not {x for x in outside if not x.startswith("https://")} - PLAIN_HTTP


def test_every_page_is_in_a_table_of_contents():
    folder = REPOSITORY / "docs"
    named = {"index"}
    for index in (folder / "index.md", folder / "api/index.md"):
        for block in re.findall(
            r"```\{toctree\}\n(.*?)```", index.read_text(), re.DOTALL
        ):
            parent = index.parent.relative_to(folder)
            lines = [x for x in block.splitlines() if x and not x.startswith(":")]
            named |= {(parent / line).as_posix() for line in lines}
    pages = {
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.md")
        if not {"build", "images"} & set(path.parts)
    }
    assert pages == named


if __name__ == "__main__":
    for address in sorted({x for page in PAGES for x in links(page) if "://" in x}):
        print(address)  # noqa: T201
