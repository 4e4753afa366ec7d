"""Drawn cats, dogs and turtles: sets for a first try, whose next documented line trains."""

from collections import Counter
from pathlib import Path

import pytest

from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import fetch
from holotype.errors import UsageError
from tests.conftest import Cli
from tests.dataset.test_fetch import digest_of

FEW = ["--set", "image_size=32", "--model", "hog"]


def test_cats_and_dogs_come_in_parts_and_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, said = cli("fetch", "synthetic-cats-dogs", "--images", "60", "--output", "pets")
    assert code == 0
    assert out == "images  pets\n"
    assert "holotype train pets" in said
    index = read_index("pets")
    parts = Counter(zip(index.table["split"], index.table["label"], strict=True))
    assert {part: count for (part, label), count in parts.items() if label == "cat"} == {
        "train": 21, "val": 5, "test": 4,
    }  # fmt: skip
    assert index.table["sha256"].nunique() == 60
    assert (tmp_path / "pets/train/cat/cat.0.png").is_file()
    code, _, said = cli("train", "pets", *FEW, "--output", "run")
    assert code == 0, said


def test_a_turtle_is_met_in_encounters_which_are_its_groups(tmp_path: Path) -> None:
    index = read_index(fetch("synthetic-turtles", tmp_path / "turtles"))
    assert len(index) == 160
    assert len(index.classes) == 8
    sizes = Counter(index.table["group"])
    assert len(sizes) == 40
    assert set(sizes.values()) == {4}
    assert index.table.groupby("group")["label"].nunique().eq(1).all()
    assert len(read_index(fetch("synthetic-turtles", tmp_path / "three", classes=3)).classes) == 3


@pytest.mark.parametrize("name", ["synthetic-cats-dogs", "synthetic-turtles"])
def test_the_same_seed_draws_the_same_animals(name: str, tmp_path: Path) -> None:
    for folder, seed in (("first", 3), ("again", 3), ("other", 4)):
        fetch(name, tmp_path / folder, seed=seed)
    first, again, other = (digest_of(tmp_path / one) for one in ("first", "again", "other"))
    assert first == again != other


@pytest.mark.parametrize(
    ("name", "numbers", "said"),
    [
        ("synthetic-cats-dogs", {"images": 19}, "at least 20"),
        ("synthetic-cats-dogs", {"classes": 3}, "fixed number of classes"),
        ("synthetic-turtles", {"images": 10}, "fixed number of classes or images"),
        ("synthetic-turtles", {"classes": 1}, "expected 2 to 99 turtles"),
        ("synthetic-turtles", {"seed": -1}, "at least 0"),
        ("micro-ct", {"seed": -1}, "at least 0"),
    ],
)
def test_impossible_numbers_are_refused(
    name: str, numbers: dict[str, int], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        fetch(name, tmp_path / "animals", **numbers)
    assert list(tmp_path.iterdir()) == []
