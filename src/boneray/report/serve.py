"""Showing a report to the person at the keyboard."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from boneray.io.files import require_file


def open_in_browser(path: Path) -> str:
    """Open a report page from its file; returns the line to tell the user, with the path in any case."""
    page = require_file(Path(path), "report page").resolve()
    try:
        opened = webbrowser.open(page.as_uri())
    except webbrowser.Error:
        opened = False
    return f"opened {page}" if opened else f"no browser was found here; open {page} in one"
