"""Writes docs/reference.md, the tables of everything that is registered; `--check` only compares."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from boneray.core.registry import Entry

PAGE = Path(__file__).with_name("reference.md")
TABLES = (
    ("Anatomies", "boneray.anatomy.registry", "ANATOMIES"),
    ("Models", "boneray.models.registry", "MODELS"),
    ("Losses", "boneray.losses.registry", "LOSSES"),
    ("Data sets", "boneray.datasets.registry", "DATASETS"),
    ("Metrics", "boneray.metrics.registry", "METRICS"),
    ("Measurements", "boneray.morphometry.registry", "MEASUREMENTS"),
    ("Phantoms", "boneray.phantom.registry", "PHANTOMS"),
    ("Projection presets", "boneray.projection.presets", "PRESETS"),
    ("Grey scalings", "boneray.projection.presets", "GREYS"),
    ("Beams", "boneray.projection.spectrum", "BEAMS"),
)
OPENING = """# Reference

Everything that is registered, by name. Written by `make docs`; do not edit.
`boneray list models --json` and its siblings print the same.
"""


def page() -> str:
    """The whole page as Markdown."""
    return OPENING + "".join(f"\n## {title}\n\n{table(entries(module, name))}" for title, module, name in TABLES)


def entries(module: str, name: str) -> list[Entry]:
    """What a registry of boneray itself holds; nothing while its room does not exist."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the room exists and fails to import
        return []
    return list(getattr(found, name))


def table(rows: list[Entry]) -> str:
    """A Markdown table: name, summary, and a column for every fact that is stated."""
    if not rows:
        return "None yet.\n"
    facts = list(dict.fromkeys(key for row in rows for key in row.facts))
    lines = [["name", "what", *facts], ["---"] * (2 + len(facts))]
    lines += [[f"`{row.name}`", cell(row.summary), *(cell(row.facts.get(key)) for key in facts)] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: object) -> str:
    """A fact as the text of one cell; a long list shows its ends."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return cell([f"{key}={item}" for key, item in value.items()])
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = [str(item) for item in value]
        return ", ".join(items) if len(items) <= 6 else f"{items[0]}, {items[1]} … {items[-1]} ({len(items)})"
    return " ".join(str(value).split()).replace("|", "\\|")


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        same = PAGE.is_file() and PAGE.read_text("utf-8") == text
        print("docs/reference.md is current" if same else "docs/reference.md is old; run make docs")
        return 0 if same else 1
    PAGE.write_text(text, "utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
