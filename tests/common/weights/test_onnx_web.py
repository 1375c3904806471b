"""Exported bundled models in a browser, by onnxruntime-web, against onnxruntime.

``ONNXRUNTIME_WEB`` names the unpacked npm package: ``npm pack onnxruntime-web``.
"""

from __future__ import annotations

import base64
import importlib
import mimetypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.separation.exported import Exported
from common.weights.export_command import sound, write

pytestmark = pytest.mark.slow
PACKAGE = os.environ.get("ONNXRUNTIME_WEB", "")
PILLARS = ["mixit", "unmix", "adversarial", "clustering"]
ADDRESS = "http://models.test"
PAGE = """<!doctype html><script type="module">
import * as ort from "./ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const sessions = {};
window.separate = async (model, inputs) => {
  sessions[model] ??= await ort.InferenceSession.create(model);
  const session = sessions[model];
  const feeds = Object.fromEntries(inputs.map(([data, shape], index) => [
    session.inputNames[index],
    new ort.Tensor("float32", new Float32Array(bytes(data).buffer), shape),
  ]));
  const output = (await session.run(feeds))[session.outputNames[0]];
  const raw = new Uint8Array(output.data.buffer, output.data.byteOffset,
    output.data.byteLength);
  const parts = [];
  for (let at = 0; at < raw.length; at += 32768)
    parts.push(String.fromCharCode(...raw.subarray(at, at + 32768)));
  return [btoa(parts.join("")), output.dims];
};
window.ready = true;
</script>"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page, and the folder that it loads models from."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no chromium; apt-get install chromium")
    if not PACKAGE:
        pytest.skip("ONNXRUNTIME_WEB names no package; npm pack onnxruntime-web")
    folder = tmp_path_factory.mktemp("models")

    def answer(route: Any) -> None:
        name = route.request.url.removeprefix(f"{ADDRESS}/")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        actual = [
            p for p in (folder / name, Path(PACKAGE) / "dist" / name) if p.is_file()
        ]
        if not name:
            route.fulfill(body=PAGE, content_type="text/html")
        elif actual:
            route.fulfill(path=actual[0], content_type=kind)
        else:
            route.fulfill(status=404)

    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.route("**/*", answer)
        page.goto(ADDRESS)
        page.wait_for_function("window.ready")
        yield page, folder
        browser.close()


@pytest.mark.parametrize("pillar", PILLARS)
def test_a_bundled_model_runs_in_a_browser(tab, pillar, monkeypatch):
    page, models = tab
    made = importlib.import_module(f"{pillar}.export").export("mini")
    write(made, "onnx", models / pillar)
    light = importlib.import_module(f"{pillar}.light")
    rate, channels = made.separator.sample_rate, made.separator.channels
    mixture = sound(channels, rate, 2.0)
    expected = light.load(models / pillar)(mixture)
    calls = []

    def session(self: Exported, name: str) -> Any:
        def run(*inputs: np.ndarray) -> np.ndarray:
            calls.append(name)
            return in_browser(page, f"./{pillar}/{name}.onnx", inputs)

        return run

    monkeypatch.setattr(Exported, "session", session)
    actual = light.load(models / pillar)(mixture)
    peak = max(abs(each).max() for each in expected.values())
    assert calls
    for name, estimate in expected.items():
        np.testing.assert_allclose(actual[name], estimate, atol=1e-5 * peak)


def in_browser(page: Any, model: str, inputs: Any) -> np.ndarray:
    """Run a graph in the page; gives its first output."""
    sent = [
        [base64.b64encode(np.ascontiguousarray(each, np.float32)).decode(), each.shape]
        for each in inputs
    ]
    data, shape = page.evaluate("([m, inputs]) => separate(m, inputs)", [model, sent])
    return np.frombuffer(base64.b64decode(data), np.float32).reshape(shape)
