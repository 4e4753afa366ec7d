"""New images beside old ones: copies and groups stand where the old ones stand."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from holotype.dataset.index import COLUMNS, Index
from holotype.watching.retraining.split_extension import extend_split

RATIOS = (0.7, 0.15, 0.15)


def index(rows: dict[str, tuple[str, str]]) -> Index:
    """Images of two classes, each with a group and a part."""
    table = pd.DataFrame(
        [
            {"path": path, "label": "ab"[n % 2], "group": group, "split": part, "fold": -1,
             "weight": 1.0, "sha256": path, "width": 8, "height": 8, "format": "PNG"}
            for n, (path, (group, part)) in enumerate(sorted(rows.items()))
        ]
    )  # fmt: skip
    return Index(Path(), table[list(COLUMNS)].astype(COLUMNS), ("a", "b"))


OLD = {f"old/{n:02d}": ("", part) for n, part in enumerate(["train"] * 14 + ["val"] * 3)}
OLD |= {f"old/test{n}": (f"turtle {n}", "test") for n in range(3)}


def place(
    new: dict[str, str], *, random: Iterable[str] = (), copies: Iterable[Iterable[str]] = ()
) -> dict[str, str]:
    """Where new images stand; `new` has the group of each."""
    rows = OLD | {path: (group, "") for path, group in new.items()}
    found = extend_split(
        index(rows), frozenset(random), [frozenset(each) for each in copies], ratios=RATIOS, seed=1
    )
    assert set(found) == set(new)
    return found


def test_an_image_of_a_group_of_the_test_stands_in_the_test() -> None:
    assert place({"new/1": "turtle 1"}) == {"new/1": "test"}


def test_a_copy_of_a_validation_image_stands_in_validation_even_if_it_is_random() -> None:
    found = place({"new/1": ""}, random={"new/1"}, copies=[{"new/1", "old/15"}])
    assert found == {"new/1": "val"}


def test_a_copy_of_a_copy_and_a_group_join() -> None:
    found = place(
        {"new/1": "beetle", "new/2": "beetle", "new/3": ""},
        copies=[{"new/1", "old/test0"}, {"new/2", "new/3"}],
    )
    assert set(found.values()) == {"test"}


def test_random_images_are_held_apart_and_nothing_of_their_group_trains() -> None:
    found = place({"new/1": "key a", "new/2": "key a", "new/3": "key b"}, random={"new/1"})
    assert (found["new/1"], found["new/2"]) == ("fresh", "unused")
    assert found["new/3"] in ("train", "val")


def test_chosen_images_train_and_some_validate_but_never_more_than_half_the_old_ones() -> None:
    found = place({f"new/{n:03d}": "" for n in range(200)})
    counts = {part: list(found.values()).count(part) for part in ("train", "val", "test")}
    assert counts["test"] == 0
    assert 1 <= counts["val"] <= 2
    few = place({f"new/{n}": "" for n in range(4)})
    assert "train" in few.values()
