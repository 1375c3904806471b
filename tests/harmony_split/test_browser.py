"""The page in headless Chromium: drop, progress, preview, mixer, downloads."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.slow
SONG = os.environ.get("HARMONY_SPLIT_SONG", "")
"""Path of a recording for the tests of the bundled models, which skip without it."""
LIGHT = os.environ.get("HARMONY_SPLIT_LIGHT", "")
"""Folder of exported models; with it the same tests run without TensorFlow."""

DEFAULTS = (
    "unmix/singing",
    "mixit/universal",
    "adversarial/mini",
    "clustering/speech2",
)
"""The bundled model of each pillar that its ``separate`` takes where none is named."""

WIDTHS = (360, 768, 1440)
SECONDS = 300
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "audio/wav" }));
  return transfer;
}"""
MIX = """async ([first, count]) => {
  const buffer = await harmonySplit.open.mixer.render(first, count);
  return [0, 1].map((channel) => [...buffer.getChannelData(channel)]);
}"""
TAP = """async (seconds) => {
  // What comes out of the panners while the clock runs, sample after sample.
  const { mixer } = harmonySplit.open;
  await mixer.play();
  mixer.pause();
  const tap = mixer.context.createScriptProcessor(4096, 2, 2);
  const captured = [];
  tap.onaudioprocess = (event) => captured.push(...event.inputBuffer.getChannelData(0));
  for (const { panner } of mixer.graph) panner.connect(tap);
  tap.connect(mixer.context.destination);
  mixer.seek(%s);
  await mixer.play();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  mixer.pause();
  return captured;
}"""


@pytest.fixture(scope="module")
def browser(web) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("there is no chromium; apt-get install chromium")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def fake(spawn, tmp_path_factory) -> Any:
    return spawn(tmp_path_factory.mktemp("fake"), "--preview-seconds=2", fake=True)


@pytest.fixture(scope="module")
def real(spawn, tmp_path_factory) -> Any:
    options = [f"--light={LIGHT}"] if LIGHT else []
    return spawn(tmp_path_factory.mktemp("real"), *options)


@pytest.fixture
def visit(browser) -> Iterator[Any]:
    """Open the page and fail where it logs an error."""
    remarks: list[str] = []
    contexts = []

    def visit(server: Any, width: int = 1000, fragment: str = "") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(1000 * SECONDS)
        tab.on("pageerror", lambda error: remarks.append(str(error)))
        tab.on(
            "console",
            lambda message: (
                remarks.append(message.text) if message.type == "error" else None
            ),
        )
        tab.goto(server.address + fragment)
        tab.wait_for_selector("#model:not([disabled])")
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert not [remark for remark in remarks if "status of 4" not in remark]


def drop(tab, data: bytes, name: str) -> None:
    argument = [base64.b64encode(data).decode(), name]
    transfer = tab.evaluate_handle(DROP, argument)
    tab.dispatch_event("body", "drop", {"dataTransfer": transfer})


def finished(tab) -> None:
    tab.wait_for_selector("#save:not([hidden])")


def status(tab) -> str:
    return tab.inner_text("#songs > li:first-child > p:nth-of-type(2)")


def stem_of(tab, name: str) -> np.ndarray:
    """A stem as the server gives it, [samples, channels]."""
    link = tab.get_by_role("link", name=f"Download {name}", exact=True)
    body = tab.request.get(tab.evaluate("a => a.href", link.element_handle())).body()
    return soundfile.read(io.BytesIO(body), dtype="float32", always_2d=True)[0]


def stems(tab) -> dict[str, np.ndarray]:
    return {
        name: stem_of(tab, name) for name in tab.locator(".stem h3").all_inner_texts()
    }


def tapped(tab, start: float, seconds: float) -> np.ndarray:
    """What the left loudspeaker plays from a second of the song on."""
    sound = np.array(tab.evaluate(TAP % start, seconds), np.float32)
    first = np.flatnonzero(sound)[0]
    return sound[first : np.flatnonzero(sound)[-1] - 4096]


def mix(tab, first: int, count: int) -> np.ndarray:
    """What the mixer plays, [samples, 2]."""
    return np.array(tab.evaluate(MIX, [first, count]), np.float32).T


def test_a_song_is_dropped_played_mixed_and_deleted(visit, fake, song, packed):
    tab = visit(fake)
    sound = song(9)
    drop(tab, packed(sound), "My song.wav")
    finished(tab)
    assert "0:09, wav" in tab.inner_text("#songs")
    assert status(tab).startswith("Done. Kept until")
    expected = stems(tab)
    assert [*expected] == ["high", "low"]
    first, count = 30000, 20000  # across the ends of chunks of 4 s
    both = sum(expected.values())[first : first + count]
    np.testing.assert_allclose(mix(tab, first, count), both, atol=1e-6)

    tab.get_by_role("button", name="Solo low").click()
    alone = expected["low"][first : first + count]
    np.testing.assert_allclose(mix(tab, first, count), alone, atol=1e-6)
    tab.get_by_role("button", name="Solo low").click()
    tab.get_by_role("button", name="Mute low").click()
    alone = expected["high"][first : first + count]
    np.testing.assert_allclose(mix(tab, first, count), alone, atol=1e-6)
    tab.get_by_role("slider", name="Volume high").fill("0.5")
    tab.get_by_role("slider", name="Pan high").fill("-1")
    left = 0.5 * (alone[:, 0] + alone[:, 1])
    np.testing.assert_allclose(mix(tab, first, count)[:, 0], left, atol=1e-6)
    np.testing.assert_allclose(mix(tab, first, count)[:, 1], 0 * left, atol=1e-6)

    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download all as zip").click()
    assert download.value.suggested_filename == "My song - stems.zip"
    archive = zipfile.ZipFile(download.value.path())
    assert archive.namelist() == ["high.wav", "low.wav"]
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download this mix").click()
    saved = soundfile.read(download.value.path())[0]
    assert len(saved) == len(sound)
    np.testing.assert_allclose(saved[first : first + count, 0], left, atol=1e-4)

    tab.reload()
    finished(tab)
    assert "My song.wav" in tab.inner_text("#songs")
    tab.get_by_role("button", name="Delete now").click()
    tab.get_by_text("My song.wav has been deleted.").wait_for()
    assert tab.is_hidden("#mixer")
    tab.reload()
    tab.wait_for_selector("#no-songs:not([hidden])")


def test_what_is_played_is_the_sum_of_the_stems_without_gaps(visit, fake, song, packed):
    tab = visit(fake)
    drop(tab, packed(song(9)), "a.wav")
    finished(tab)
    whole = sum(stems(tab).values())[:, 0]
    captured = np.array(tab.evaluate(TAP % 3.0, 3.0), np.float32)
    captured = captured[np.flatnonzero(captured)[0] :]
    assert len(captured) > 12000  # over the end of the first chunk at 4 s
    np.testing.assert_allclose(captured[:12000], whole[24000:36000], atol=1e-4)


def test_a_loop_has_no_gap(visit, fake, song, packed):
    tab = visit(fake)
    drop(tab, packed(song(9)), "a.wav")
    finished(tab)
    whole = sum(stems(tab).values())[:, 0]
    tab.evaluate("harmonySplit.open.mixer.setLoop([24000, 32500])")
    captured = tapped(tab, 3.5, 3)[:14000]
    expected = np.concatenate([whole[28000:32500], whole[24000:32500], whole[24000:]])
    np.testing.assert_allclose(captured, expected[:14000], atol=1e-4)


def test_files_are_chosen_and_shown_before_the_upload(visit, fake, song, packed):
    tab = visit(fake)
    tab.check("#ask")
    one, two = packed(song(2)), packed(song(3), format="FLAC", subtype="PCM_16")
    files = [
        {"name": "one.wav", "mimeType": "audio/wav", "buffer": one},
        {"name": "two.flac", "mimeType": "audio/flac", "buffer": two},
    ]
    tab.set_input_files("#files", files)
    tab.get_by_text(f"0:03, flac, {-(-len(two) // 1000)} kB").wait_for()
    tab.get_by_text("0:02, wav, 129 kB").wait_for()
    assert tab.get_by_text("Ready to be uploaded.").count() == 2
    assert tab.evaluate("document.activeElement.textContent") == "Split this song"
    tab.keyboard.press("Enter")
    tab.get_by_text(re.compile("^Done. Kept until")).wait_for()
    assert tab.get_by_text("Ready to be uploaded.").count() == 1
    assert tab.inner_text("#mixer-song") == "two.flac"


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="it makes the song")
def test_the_list_shows_the_length_of_the_mixer(visit, fake, song, packed, tmp_path):
    """A browser leaves out the padding of an m4a, the decoder does not."""
    tab = visit(fake)
    (tmp_path / "a.wav").write_bytes(packed(song(3.98)))
    words = ["-i", tmp_path / "a.wav", "-c:a", "aac", tmp_path / "a.m4a"]
    subprocess.run(["ffmpeg", "-v", "error", *words], check=True)
    drop(tab, (tmp_path / "a.m4a").read_bytes(), "a.m4a")
    finished(tab)
    length = tab.inner_text("#time").split(" / ")[1]
    tab.get_by_text(f"{length}, wav").wait_for()


def test_progress_preview_and_cancel(visit, fake, song, packed):
    tab = visit(fake)
    tab.select_option("#model", "fake/slow")
    drop(tab, packed(song(20)), "long.wav")
    tab.get_by_text("Separating: ").wait_for()
    tab.get_by_text("the loudest 2 seconds").wait_for()
    tab.get_by_text(re.compile("about .* left")).wait_for()
    tab.click("#play")
    drop(tab, packed(song(1)), "next.wav")
    tab.get_by_text("In the queue: next").wait_for()
    tab.get_by_role("button", name="Cancel: long.wav").click()
    tab.get_by_text("Cancelled; the files have been removed.", exact=True).wait_for()
    tab.get_by_text(re.compile("^Done. Kept until")).wait_for()


def test_keys_move_the_transport(visit, fake, song, packed):
    tab = visit(fake)
    drop(tab, packed(song(9)), "a.wav")
    finished(tab)
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("l")
    assert tab.inner_text("#time").startswith("0:05")
    tab.keyboard.press("1")
    assert tab.get_by_role("button", name="Solo high", pressed=True).count()
    tab.keyboard.press("Shift+Digit2")
    assert tab.get_by_role("button", name="Mute low", pressed=True).count()
    tab.keyboard.press("[")
    tab.keyboard.press("l")
    tab.keyboard.press("]")
    assert "Loop from 0:05 to 0:09" in tab.inner_text("#loop")
    tab.keyboard.press(" ")
    assert tab.inner_text("#play") == "Pause"
    tab.keyboard.press(" ")
    tab.keyboard.press("Home")
    assert tab.inner_text("#time").startswith("0:00")


def test_every_control_is_reached_by_tab(visit, fake, song, packed):
    tab = visit(fake)
    drop(tab, packed(song(1)), "a.wav")
    finished(tab)
    tab.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        reached.add(
            tab.evaluate(
                "(document.activeElement.ariaLabel ?? '') + document.activeElement.id"
            )
        )
    expected = {"files", "model", "ask", "play", "Positionposition", "view", "format"}
    expected |= {"Solo low", "Mute low", "Volume low", "Pan low", "zip", "Download low"}
    assert expected <= reached


def test_refusals_are_words_on_the_page(visit, fake):
    tab = visit(fake)
    drop(tab, b"not a sound at all", "page.html")
    tab.get_by_text("The file is not sound in a supported format").wait_for()
    drop(tab, b"", "empty.wav")
    tab.get_by_text("The file is empty (0 bytes)").first.wait_for()


def test_a_private_link_opens_the_song_elsewhere(visit, fake, song, packed):
    tab = visit(fake)
    drop(tab, packed(song(1)), "a.wav")
    finished(tab)
    id_ = tab.evaluate("harmonySplit.open.song.id")
    other = visit(fake, fragment=f"#job={id_}&name=a.wav")
    finished(other)
    assert "a.wav" in other.inner_text("#songs")
    assert id_ not in other.url


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_accessible(visit, browser, fake, song, packed, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = visit(fake, width)
    drop(tab, packed(song(2)), "a song of a rather long name that has to wrap.wav")
    finished(tab)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(wide) == 0
    context = browser.new_context(
        bypass_csp=True, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    id_ = tab.evaluate("harmonySplit.open.song.id")
    page.goto(f"{fake.address}#job={id_}&name=a")
    page.wait_for_selector("#save:not([hidden])")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        actual = axe.Axe().run(page).response
        assert actual["violations"] == []
    context.close()


@pytest.mark.parametrize("pillar", ["unmix", "mixit", "adversarial", "clustering"])
def test_a_real_song_by_the_bundled_model_of_each_pillar(visit, real, pillar):
    if not SONG:
        pytest.skip("HARMONY_SPLIT_SONG names no recording")
    tab = visit(real)
    tab.select_option("#model", f"{pillar}/mini")
    began = time.monotonic()
    drop(tab, Path(SONG).read_bytes(), Path(SONG).name)
    tab.wait_for_selector("#mixer:not([hidden])")
    sys.stderr.write(
        f"{pillar}: first preview after {time.monotonic() - began:.1f} s\n"
    )
    tab.click("#play")
    finished(tab)
    expected = stems(tab)
    first, count = 30 * 22050, 6 * 22050
    total = sum(expected.values())[first : first + count]
    assert len(sum(expected.values())) == 2932408
    np.testing.assert_allclose(mix(tab, first, count)[:, :1], total, atol=1e-5)
    name = next(iter(expected))
    tab.get_by_role("button", name=f"Solo {name}").click()
    alone = expected[name][first : first + count]
    np.testing.assert_allclose(mix(tab, first, count)[:, :1], alone, atol=1e-5)
    tab.reload()
    finished(tab)
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download all as zip").click()
    assert len(zipfile.ZipFile(download.value.path()).namelist()) == len(expected)
    tab.get_by_role("button", name="Delete now").click()
    tab.get_by_text("has been deleted.").wait_for()


@pytest.mark.parametrize("model", DEFAULTS)
def test_a_real_song_through_every_control(visit, real, model):
    if not SONG:
        pytest.skip("HARMONY_SPLIT_SONG names no recording")
    tab = visit(real)
    tab.select_option("#model", model)
    drop(tab, Path(SONG).read_bytes(), "My song.ogg")
    tab.get_by_text(re.compile(r"Separating: \d+ %, about .* left")).wait_for()
    assert 0 < tab.evaluate("document.querySelector('progress').value") < 1
    finished(tab)
    sounds = stems(tab)
    name, *_, other = sounds
    total = sum(sounds.values())[:, 0]
    rate = tab.evaluate("harmonySplit.open.mixer.rate")

    tab.click("#play")
    tab.locator("#position").fill("60")
    assert tab.inner_text("#time").startswith("1:00 / ")
    tab.locator("#time", has_text="1:01 / ").wait_for()
    tab.click("#play")
    same(tapped(tab, 61.5, 2), total[round(61.5 * rate) :])

    tab.get_by_role("button", name=f"Mute {name}").click()
    tab.wait_for_timeout(500)  # until the gain has faded
    same(tapped(tab, 20.5, 2), (total - sounds[name][:, 0])[round(20.5 * rate) :])

    tab.locator("#position").fill("30")
    tab.get_by_role("button", name="Loop from here").click()
    tab.locator("#position").fill("31")
    tab.get_by_role("button", name="Loop to here").click()
    assert tab.inner_text("#loop") == "Loop from 0:30 to 0:31"
    looped = (total - sounds[name][:, 0])[30 * rate : 31 * rate]
    expected = np.concatenate([looped[rate // 2 :], looped, looped, looped])
    same(tapped(tab, 30.5, 3), expected)

    tab.get_by_role("button", name=f"Mute {name}").click()
    tab.get_by_label(f"Volume {name}").fill("0.5")
    tab.get_by_label(f"Pan {other}").fill("0.5")
    part = slice(40 * rate, 44 * rate)
    rest = total - 0.5 * sounds[name][:, 0] - sounds[other][:, 0]
    panned = [np.cos(np.pi / 4), 1 + np.sin(np.pi / 4)] * sounds[other][part, :1]
    mixed = rest[part, np.newaxis] + panned
    np.testing.assert_allclose(mix(tab, 40 * rate, 4 * rate), mixed, atol=1e-5)

    tab.select_option("#format", "flac")
    with tab.expect_download() as download:
        tab.get_by_role("link", name=f"Download {other}", exact=True).click()
    assert download.value.suggested_filename == f"My song - {other}.flac"
    sound, _ = soundfile.read(download.value.path(), always_2d=True)
    np.testing.assert_allclose(sound, np.clip(sounds[other], -1, 1), atol=1e-6)

    drop(tab, Path(SONG).read_bytes(), "again.ogg")
    tab.get_by_text("Separating: ").wait_for()
    tab.get_by_role("button", name="Cancel: again.ogg").click()
    tab.get_by_text("Cancelled; the files have been removed.", exact=True).wait_for()
    assert tab.inner_text("#mixer-song") == "My song.ogg"


def same(captured: np.ndarray, expected: np.ndarray) -> None:
    """Require that the captured sound is the beginning of the expected one."""
    assert len(captured) > 20000
    np.testing.assert_allclose(captured, expected[: len(captured)], atol=1e-4)
