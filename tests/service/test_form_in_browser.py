"""The upload form in a real browser: two films chosen, the job followed, the viewer opened and the bone drawn.

Chromium is driven through its own pipe (DevTools protocol, NUL after every message), so nothing else is needed.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boneray.core.bones import bone_colour
from boneray.report.viewer import viewer
from tests.service.servers import NAME, start

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install --no-install-recommends chromium"),
    pytest.mark.skipif(viewer() is None, reason="the 3D viewer was not fetched: python viewer/fetch.py"),
]


class Browser:
    """Headless chromium with one page."""

    def __init__(self, profile: Path) -> None:
        (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()

        def place() -> None:
            # chromium reads from 3 and writes to 4
            spare = [os.dup(to_read), os.dup(from_write)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        flags = ["--headless", "--no-sandbox", "--remote-debugging-pipe", "--use-gl=angle", "--use-angle=swiftshader"]
        flags += ["--enable-unsafe-swiftshader", "--disable-background-networking", "--no-first-run", "--disable-sync"]
        flags += ["--window-size=1100,1500", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            [str(CHROMIUM), *flags], preexec_fn=place, close_fds=False, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(from_write)
        self._out, self._in = os.fdopen(to_write, "wb", 0), os.fdopen(from_read, "rb")
        self._number, self._session, self._rest = 0, None, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "DOM", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """One command; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self) -> dict:
        while b"\0" not in self._rest:
            part = os.read(self._in.fileno(), 1 << 16)
            assert part, "chromium has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def value(self, expression: str):
        """What a JavaScript expression gives in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def picture(self) -> Image.Image:
        """The page as it looks."""
        return Image.open(io.BytesIO(base64.b64decode(self.call("Page.captureScreenshot")["data"]))).convert("RGB")

    def until(self, expression: str, limit_s: float = 90.0) -> None:
        """Wait for an expression to be true."""
        end = time.monotonic() + limit_s
        while not self.value(expression):
            assert time.monotonic() < end, (expression, self.value("document.body.innerText.slice(0, 400)"))
            time.sleep(0.2)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(timeout=10)
        self._out.close()
        self._in.close()


def test_two_films_become_a_bone_in_the_viewer(tmp_path, films):
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    for view in ("ap", "lat"):
        (tmp_path / f"{view}.dcm").write_bytes(films[view])
    bone = films["bone"].decode()
    server = start(tmp_path / "jobs", tmp_path / "log")
    browser = Browser(tmp_path / "profile")
    try:
        browser.call("Page.navigate", url=f"{server.url}/")
        browser.until("document.readyState === 'complete' && !!document.getElementById('form')")
        browser.choose("#ap", tmp_path / "ap.dcm")
        browser.choose("#lat", tmp_path / "lat.dcm")
        browser.value(f"document.getElementById('bone').value = '{bone}'")
        form = browser.picture()
        browser.value("document.getElementById('send').click()")
        browser.until("location.pathname.endsWith('/view')")
        browser.until("document.title === 'READY' || !!document.querySelector('.slot.live')")
        time.sleep(1.0)
        text = browser.value("document.body.innerText")
        page = browser.picture()
        if os.environ.get("BONERAY_SCREENSHOTS"):
            out = Path(os.environ["BONERAY_SCREENSHOTS"])
            form.crop((0, 0, 1100, 450)).save(out / "service-form.png", optimize=True)
            page.save(out / "service-viewer.png", optimize=True)
    finally:
        browser.close()
        server.kill()
    assert bone in text and "Not a medical device" in text and "phantoms" in text
    assert NAME.split("^")[0] not in text
    colour = (np.abs(np.asarray(page).astype(int) - bone_colour(bone)).max(axis=-1) <= 3).sum()
    assert colour > 500
    log = (tmp_path / "log").read_text()
    assert NAME.split("^")[0] not in log
