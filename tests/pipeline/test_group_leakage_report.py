"""Side by side: what a random split seems to give, and what whole groups left out give."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from holotype.dataset.index import Index
from holotype.evaluation.group_leakage import group_leakage
from holotype.evaluation.intervals import SamplingUnits
from holotype.pipeline.training_run import group_leakage_report
from holotype.pipeline.training_run.group_leakage_report import (
    compare_with_and_without_groups,
    sample_groups,
)
from holotype.reporting.plot_style import save
from holotype.reporting.plots import group_leakage_figure
from tests.conftest import Cli

GROUPS, PER_GROUP = 24, 10
N = GROUPS * PER_GROUP
GROUP_N = np.repeat(np.arange(GROUPS), PER_GROUP)
TARGETS_N = GROUP_N % 2  # every group is of one class, as a specimen is of one species


def index_of(groups: list[str] | None = None) -> Index:
    table = pd.DataFrame(
        {
            "path": [f"{n:04d}.png" for n in range(N)],
            "label": [("left", "right")[target] for target in TARGETS_N],
            "group": groups or [f"specimen {n}" for n in GROUP_N],
            "split": "",
            "fold": -1,
            "weight": 1.0,
            "sha256": "",
            "width": 1,
            "height": 1,
            "format": "PNG",
        }
    )
    return Index(Path(), table, ("left", "right"))


def features(of_class: float, of_group: float) -> NDArray[np.float32]:
    """What tells the class, what tells the specimen, and noise."""
    random = np.random.default_rng(0)
    class_CD, group_GD = random.normal(size=(2, 40)), random.normal(size=(GROUPS, 40))
    signal_ND = of_class * class_CD[TARGETS_N] + of_group * group_GD[GROUP_N]
    return (signal_ND + random.normal(size=(N, 40))).astype(np.float32)


def test_features_that_know_specimens_by_heart_are_found_out() -> None:
    found = compare_with_and_without_groups(
        index_of(), features(of_class=0.0, of_group=3.0), [], seed=0
    )
    assert found.random_split.value is not None
    assert found.grouped_split.value is not None
    assert found.random_split.value > 0.95
    assert found.grouped_split.value < 0.7, "there is nothing to be known of a class"
    assert found.gap > 0.3
    assert (found.num_images, found.num_groups) == (N, GROUPS)
    assert "within the interval" not in found.sentence()


def test_features_that_know_the_class_lose_nothing() -> None:
    found = compare_with_and_without_groups(
        index_of(), features(of_class=1.0, of_group=0.0), [], seed=0
    )
    assert found.grouped_split.value is not None
    assert found.grouped_split.value > 0.9
    assert abs(found.gap) < 0.05
    assert "a difference within the interval" in found.sentence()


def test_copies_share_a_fold_even_where_groups_are_ignored() -> None:
    """With every specimen declared one image's copies, both ways of dealing are the same."""
    paths = index_of().table["path"].to_numpy()
    copies = [frozenset(paths[number == GROUP_N]) for number in range(GROUPS)]
    found = compare_with_and_without_groups(
        index_of(), features(of_class=0.0, of_group=3.0), copies, seed=0
    )
    assert found.random_split.value == found.grouped_split.value


def made(correct_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    called_N = np.where(correct_N, TARGETS_N, 1 - TARGETS_N)
    return np.where(np.arange(2) == called_N[:, None], 0.9, 0.1)


def test_images_dealt_at_random_have_wilsons_interval_and_groups_a_wider_one() -> None:
    correct_N = GROUP_N < 18  # whole groups fail together
    units = SamplingUnits(GROUP_N, GROUPS, True)
    found = group_leakage(made(correct_N), made(correct_N), TARGETS_N, np.ones(N), units)
    low, high = proportion_confint(correct_N.sum(), N, 0.05, "wilson")
    assert (found.random_split.low, found.random_split.high) == pytest.approx((low, high))
    assert found.grouped_split.value == found.random_split.value
    assert found.grouped_split.low is not None
    assert found.grouped_split.high is not None
    assert found.grouped_split.low < low - 0.05
    assert found.grouped_split.high > high + 0.05


def test_an_image_that_could_not_be_judged_is_left_out_of_both() -> None:
    right = made(np.ones(N, bool))
    unjudged = right.copy()
    unjudged[GROUP_N == 3] = np.nan
    units = SamplingUnits(GROUP_N, GROUPS, True)
    found = group_leakage(right, unjudged, TARGETS_N, np.ones(N), units)
    assert (found.num_images, found.num_groups) == (N - PER_GROUP, GROUPS - 1)
    weights_N = np.where(GROUP_N == 5, 0.0, 1.0)
    found = group_leakage(right, unjudged, TARGETS_N, weights_N, units)
    assert (found.num_images, found.num_groups) == (N - 2 * PER_GROUP, GROUPS - 2)


def test_of_many_images_whole_groups_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(sample_groups(index_of(), 0)) == N
    monkeypatch.setattr(group_leakage_report, "MAX_IMAGES", 95)
    drawn = [sample_groups(index_of(), seed).table for seed in (0, 0, 1)]
    assert [len(table) for table in drawn] == [100] * 3
    assert (drawn[0].groupby("group").size() == PER_GROUP).all()
    assert set(drawn[0]["group"]) == set(drawn[1]["group"]) != set(drawn[2]["group"])


def test_the_figure_is_drawn_for_one_set_and_for_two(tmp_path: Path) -> None:
    found = compare_with_and_without_groups(
        index_of(), features(of_class=0.0, of_group=3.0), [], seed=0
    )
    sizes = []
    for name, sets in (("one.png", {"": found}), ("two.png", {"a": found, "b " * 40: found})):
        save(group_leakage_figure(sets), tmp_path / name)
        sizes.append(Image.open(tmp_path / name).size)
    assert sizes[1][1] > sizes[0][1] + 100


def test_where_no_group_can_be_held_out_nothing_is_compared(tmp_path: Path, cli: Cli) -> None:
    """Class a in two specimens and b in one: without b's there is one class to learn from."""
    rng = np.random.default_rng(0)
    for name, level in (("a/1", 60), ("a/2", 90), ("b/3", 170)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(level - 40, level + 40, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    code, _, said = cli(
        "train", tmp_path / "data", "--model", "colour", "--group-pattern", "parent-folder",
        "--output", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, said
    assert "random split" not in (tmp_path / "run" / "report" / "index.html").read_text("utf-8")
