"""docs/datasets.md names every data set, every rule, and the true counts of published splits."""

from pathlib import Path

from boneray.datasets.published_splits import PUBLISHED
from boneray.datasets.registry import DATASETS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text("utf-8")


def test_every_data_set_and_rule_is_on_the_page():
    short = PAGE.replace("`, `-", "` `")
    for entry in DATASETS:
        ending = entry.name.removeprefix("swin-x2s-").removeprefix("totalsegmentator-")
        assert f"`{entry.name}`" in PAGE or f"`{ending}`" in short, entry.name
        for rule in entry.value.rules:
            assert f"`{rule.name}`" in PAGE, rule.name


def test_published_counts_on_the_page_are_those_of_the_code():
    for name, known in PUBLISHED.items():
        assert f"| `{name}` | {' / '.join(map(str, known.counts))} |" in PAGE
