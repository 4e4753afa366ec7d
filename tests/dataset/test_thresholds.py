"""Each constant of the near-duplicate search says where it comes from."""

import dataclasses
from pathlib import Path

import pytest

from holotype.dataset.near_duplicates.thresholds import DEFAULT

LOG = Path(__file__).parents[2] / "docs" / "log.md"
TITLE = "## Near-duplicate search: where each threshold comes from\n"
NAMED = {
    f"{group}.{name} = {value!r}"
    for group, values in dataclasses.asdict(DEFAULT).items()
    for name, value in values.items()
}


@pytest.fixture(scope="module")
def entries() -> dict[str, str]:
    """Reasons by `group.name = value`."""
    section = LOG.read_text("utf-8").split(TITLE)[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("| `"): row[1] for row in rows}


def test_the_log_has_an_entry_with_the_value_of_every_threshold_and_no_other(
    entries: dict[str, str],
) -> None:
    assert set(entries) == NAMED


def test_every_entry_gives_a_reason(entries: dict[str, str]) -> None:
    assert [name for name, reason in entries.items() if len(reason.strip()) < 10] == []
