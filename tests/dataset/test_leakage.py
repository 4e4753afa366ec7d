"""A split that came with the data is kept, mended or refused, as the user says."""

import pytest

from holotype.dataset.splitting.leakage import find_leaks, resolve_leaks
from holotype.errors import SplitLeakage
from tests.dataset.indices import make_index, part_of

SPLITS = ["train", "test", "val", "test", "train", "test"]


def test_groups_and_copies_that_overlap_leak_as_one() -> None:
    index = make_index(list("aaabbb"), ["g", "g", "", "", "", ""], SPLITS)
    paths = list(index.table["path"])
    units = find_leaks(index, keep_together=[frozenset(paths[1:3]), frozenset(paths[4:5])])
    assert units == [paths[:3]]


def test_repair_moves_what_leaks_to_train_and_nothing_else() -> None:
    index = make_index(list("aaabbb"), ["g", "g", "", "h", "", "h"], SPLITS)
    mended, _ = resolve_leaks(index, on_leak="repair")
    assert list(part_of(mended).values()) == ["train", "train", "val", "test", "train", "test"]
    assert find_leaks(mended) == []
    assert list(part_of(index).values()) == SPLITS


def test_the_user_says_what_becomes_of_a_leak() -> None:
    index = make_index(list("aaabbb"), ["g", "g", "", "", "", ""], SPLITS)
    with pytest.raises(SplitLeakage, match=r"1 group .*'a/000000.png' in train and .* in test"):
        resolve_leaks(index, on_leak="refuse")
    kept, notes = resolve_leaks(index, on_leak="keep")
    assert part_of(kept) == part_of(index)
    assert "too optimistic" in notes[0]
    mended, notes = resolve_leaks(index, on_leak="repair")
    assert list(part_of(mended).values()) == ["train", "train", "val", "test", "train", "test"]
    assert len(notes) == 1
    assert "1 image was moved to train" in notes[0]


def test_a_part_that_repair_empties_is_said() -> None:
    index = make_index(list("aaabbb"), ["g", "g", "h", "h", "", ""], ["train", "test"] * 3)
    index.table.loc[5, "split"] = "val"
    _, notes = resolve_leaks(index, on_leak="repair")
    assert "2 images were moved to train" in notes[0]
    assert notes[1].startswith("No image is left in test;")


@pytest.mark.parametrize("splits", [SPLITS, [""] * 6])
def test_nothing_is_said_where_nothing_leaks(splits: list[str]) -> None:
    index = make_index(list("aaabbb"), splits=splits)
    assert resolve_leaks(index, on_leak="refuse") == (index, [])
