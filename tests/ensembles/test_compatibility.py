"""Who may be a member: what differs is named, and nobody is judged on what they remember."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import load_bundle
from holotype.bundle.manifest import Decision
from holotype.dataset.index import Index, read_index
from holotype.dataset.splitting.splitter import split
from holotype.ensembles.compatibility import load_members
from holotype.errors import BundleError, HolotypeError, NotARun, NotComparable, UsageError
from holotype.run_directory import RunDirectory
from tests.ensembles.runs import make_run, split_shapes

Made = Callable[..., RunDirectory]


@pytest.fixture(scope="module")
def index(synthetic: Path) -> Index:
    return split_shapes(synthetic)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(name: str, index: Index, seed: int = 0, **options: object) -> RunDirectory:
        return make_run(tmp_path / name, index, seed=seed, learns=False, **options)

    return make


def changed(index: Index, rows: np.ndarray, **values: Any) -> Index:
    table = index.table.copy()
    for column, value in values.items():
        table.loc[rows, column] = value
    return Index(index.root, table, index.classes)


def rows_of(index: Index, part: str) -> np.ndarray:
    return np.flatnonzero(index.table["split"] == part)


def test_runs_of_one_split_are_members_whatever_their_size(made: Made, index: Index) -> None:
    runs = [made("a", index, side=32), made("b", index, seed=1, side=48)]
    members = load_members([run.path for run in runs])
    assert [member.bundle.preprocessing.width for member in members] == [32, 48]


def test_images_are_known_by_their_bytes_not_by_their_place(
    made: Made, index: Index, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(index.root, tmp_path / "moved"))
    renamed = {
        path: str(Path(path).with_stem(f"renamed-{Path(path).stem}"))
        for path in index.table["path"]
    }
    for before, after in renamed.items():
        (moved / before).rename(moved / after)
    elsewhere = Index(moved, index.table.assign(path=list(renamed.values())), index.classes)
    first, second = load_members([made("a", index).path, made("b", elsewhere, seed=1).path])
    assert set(first.index.table["sha256"]) == set(second.index.table["sha256"])
    assert set(first.index.table["path"]).isdisjoint(second.index.table["path"])


def test_a_member_that_was_trained_on_another_split_is_refused(made: Made, index: Index) -> None:
    other = split(read_index(index.root), ratios=(0.5, 0.25, 0.25), seed=7)
    judged = set(index.table.loc[index.table["split"] != "train", "sha256"])
    seen = judged & set(other.table.loc[other.table["split"] == "train", "sha256"])
    runs = [made("a", index).path, made("b", other, seed=1).path]
    with pytest.raises(NotComparable, match="was trained on") as caught:
        load_members(runs)
    told = str(caught.value)
    assert "--split-seed" in told
    assert f"'{runs[1]}' was trained on {len(seen)} " in told


def test_a_copy_of_a_test_image_among_its_own_training_images_is_refused(
    made: Made, index: Index
) -> None:
    tested = index.table.loc[rows_of(index, "test")[0], "sha256"]
    leaking = changed(index, rows_of(index, "train")[:1], sha256=tested)
    with pytest.raises(NotComparable, match=r"was trained on 1 of .*--on-leak repair"):
        load_members([made("a", leaking).path, made("b", leaking, seed=1).path])


@pytest.mark.parametrize("part", ["val", "test"])
def test_images_that_only_one_is_judged_on_are_named(made: Made, index: Index, part: str) -> None:
    name = str(index.table.loc[rows_of(index, part)[3], "path"])
    fewer = index.without({name})
    runs = [made("a", index).path, made("b", fewer, seed=1).path]
    with pytest.raises(NotComparable, match="are not the same") as caught:
        load_members(runs)
    assert name in str(caught.value)


def test_another_label_or_weight_of_an_image_is_named(made: Made, index: Index) -> None:
    row = rows_of(index, "val")[:1]
    name = str(index.table.loc[row[0], "path"])
    first = made("a", index).path
    other_label = next(c for c in index.classes if c != index.table.loc[row[0], "label"])
    for number, change in enumerate(({"label": other_label}, {"weight": 0.25})):
        other = made(f"b{number}", changed(index, row, **change), seed=1).path
        with pytest.raises(NotComparable, match=r"different (labels|weights)") as caught:
            load_members([first, other])
        assert name in str(caught.value)


def test_other_classes_are_named(made: Made, index: Index) -> None:
    renamed = index.table.assign(label=index.table["label"].replace("disc", "coin"))
    other = Index(index.root, renamed, ("coin", *index.classes[1:]))
    with pytest.raises(NotComparable, match="coin"):
        load_members([made("a", index).path, made("b", other, seed=1).path])


def test_what_is_no_finished_run_is_refused(made: Made, index: Index, tmp_path: Path) -> None:
    first = made("a", index).path
    unsealed = made("b", index, seed=1, seals=False).path
    begun = RunDirectory(tmp_path / "begun")
    begun.write_recipe("name: x\n")
    twice = RunDirectory(tmp_path / "twice")
    shutil.copytree(first, twice.path)
    cases: list[tuple[list[Path], type[HolotypeError], str]] = [
        ([], UsageError, "at least two"),
        ([first], UsageError, "at least two"),
        ([first, twice.path], UsageError, "the same classifier"),
        ([first, tmp_path], NotARun, "is not a run"),
        ([first, begun.path], NotARun, "no index.parquet"),
        ([first, unsealed], BundleError, "no sealed decision"),
    ]
    for runs, kind, message in cases:
        with pytest.raises(kind, match=message):
            load_members(runs)


def test_members_of_members_of_members_are_refused_before_any_work(
    made: Made, index: Index, tmp_path: Path
) -> None:
    first, second = made("a", index), made("b", index, seed=1)
    sealing = Decision(temperature=1.0, predictions_sha256="0" * 64, num_images=9)
    deep = load_bundle(first.path)
    for name in ("pair", "pairs"):
        deep = write_members(tmp_path / name, [deep, load_bundle(second.path)], name=name)
        deep = deep.with_decision(sealing)
    nested = RunDirectory(tmp_path / "nested")
    shutil.copytree(tmp_path / "pairs", nested.bundle)
    nested.write_recipe("kind: ensemble\n")
    index.write(nested.index)
    with pytest.raises(BundleError, match="name its members instead"):
        load_members([first.path, nested.path])
