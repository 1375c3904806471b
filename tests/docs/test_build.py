"""The documentation builds without a warning, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, str(REPOSITORY / "docs"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_built_with_its_formulas_and_images(site):
    docs = REPOSITORY / "docs"
    pages = {path.relative_to(docs) for path in docs.rglob("*.md")}
    pages = {page for page in pages if page.parts[0] not in ("build", "images")}
    assert len(pages) > 20
    assert [
        page for page in pages if not (site / page.with_suffix(".html")).exists()
    ] == []
    for paper in ("mixit", "unmix", "adversarial", "clustering"):
        assert "<math" in (site / "papers" / f"{paper}.html").read_text("utf-8")
    assert list((site / "_images").glob("clustering*.png"))


@pytest.mark.slow
def test_the_reference_has_the_public_names(site):
    text = "".join(path.read_text("utf-8") for path in (site / "api").glob("*.html"))
    for name in (
        "mixit.load",
        "unmix.separate.load",
        "common.separation.separator.Separator.stream",
        "common.separation.files.separate_file",
        "common.audio.read",
        "common.signal.stft.istft",
        "common.training.loop.train",
        "mixit.loss.mixit",
        "clustering.losses.deep_clustering.deep_clustering",
    ):
        assert f'id="{name}"' in text


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"([^\"]+)\"", text)
        loaded += re.findall(
            r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"([^\"]+)\"", text
        )
        assert not [address for address in loaded if "://" in address]
