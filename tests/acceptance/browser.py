"""A page of this machine's disk in a real browser, without its help: no driver, no network."""

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
TIMEOUT_S = 60

# The page is in a frame, as it is; what `measure` returns of its document is left where the browser's dump shows it.
_HARNESS = """<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<pre id="found"></pre>
<iframe src="{page}" width="{width}" height="900" onload="
  const measure = {measure};
  const found = measure(this.contentDocument, this.contentWindow);
  document.getElementById('found').textContent = JSON.stringify(found);
"></iframe>"""


def browser() -> str:
    """The command of a browser; skips the test where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser here: one of " + ", ".join(BROWSERS))
    return found


def seen(page: str, measure: str, *, directory: Path, width_px: int = 1_200, dark: bool = False) -> Any:
    """What the JavaScript function `measure(document, window)` gives of the page, opened from a file."""
    (directory / "page.html").write_text(page, encoding="utf-8")
    harness = directory / "harness.html"
    frame = _HARNESS.format(page="page.html", width=width_px, measure=html.escape(measure))
    harness.write_text(frame, encoding="utf-8")
    command = [
        browser(),
        "--headless",
        "--no-sandbox",  # in a container there is none to be had, and the page is ours
        "--disable-gpu",
        "--allow-file-access-from-files",  # the harness looks into the page
        f"--user-data-dir={directory / 'profile'}",
        f"--window-size={width_px + 50},1000",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        "--dump-dom",
        harness.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    left = done.stdout.partition('<pre id="found">')[2].partition("</pre>")[0]
    assert left, done.stdout[:1000] + done.stderr
    return json.loads(html.unescape(left))
