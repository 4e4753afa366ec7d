"""What lies below a folder is found, read once, and read again when it changes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holotype.dashboard_pages.runs import folder_index
from holotype.dashboard_pages.runs.folder_index import FolderEntry, FolderIndex
from holotype.dashboard_pages.runs.run_query import RunQuery, select_entries, values_of
from holotype.dashboard_pages.runs.run_tags import MAX_TAGS, read_tags, write_tags
from holotype.errors import UsageError
from holotype.evaluation.report_data import read_report
from holotype.files import write_json
from tests.dashboard.made_runs import make_index, make_run

CLASSES = ("ant", "bee")


@pytest.fixture
def folder(tmp_path: Path, fresh_cache: Path) -> Path:
    folder = tmp_path / "runs"
    index = make_index(folder / "images", CLASSES, 40)
    make_run(folder / "one", index)
    make_run(folder / "deep" / "er" / "two", index, seed=1, wrong=0.6)
    make_run(folder / "one" / "folds" / "0", index)  # a part of a run is no run
    write_json(folder / "plan" / "sweep.json", {"data": ["x"]})
    make_run(folder / "plan" / "x" / "linear", index)
    write_json(folder / "search" / "search.json", {"name": "x", "base": {"model": "hog"}})
    write_json(folder / "looked" / "audit.json", {"num_images": 7})
    return folder


def found(folder: Path) -> dict[str, FolderEntry]:
    return {entry.path: entry for entry in FolderIndex(folder).entries(now=True)}


def test_everything_is_found_with_what_its_files_say(folder: Path) -> None:
    entries = found(folder)
    assert {path: entry.kind for path, entry in entries.items()} == {
        "deep/er/two": "run", "looked": "audit", "one": "run", "plan": "sweep",
        "plan/x/linear": "run", "search": "search",
    }  # fmt: skip
    report = read_report(folder / "one" / "report" / "metrics.json")
    one, accuracy = entries["one"], report["accuracy"]
    assert (one.accuracy, one.low, one.high) == (accuracy.value, accuracy.low, accuracy.high)
    assert (one.num_images, one.part, one.seconds) == (report.num_images, "test", 12.5)
    assert (one.model, one.recipe, one.is_finished) == ("hog", "linear", True)
    assert entries["looked"].num_images == 7


def test_a_retraining_is_no_run_but_its_candidate_is(folder: Path) -> None:
    retraining = folder / "retrained" / "cells-1"
    make_run(retraining / "run", make_index(folder / "more", CLASSES, 40))
    shutil.copyfile(retraining / "run" / "recipe.yaml", retraining / "recipe.yaml")
    write_json(retraining / "retraining.json", {"name": "cells"})
    entries = found(folder)
    assert "retrained/cells-1" not in entries
    assert entries["retrained/cells-1/run"].is_finished


def test_the_recipe_of_an_ensemble_is_its_method(folder: Path) -> None:
    recipe = folder / "one" / "recipe.yaml"
    recipe.write_text("kind: ensemble\nname: pets\nmethod: greedy\nmembers: []\n")
    one = found(folder)["one"]
    assert (one.model, one.recipe) == ("ensemble", "greedy")


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "outside", make_index(tmp_path, CLASSES, 8))
    (folder / "link").symlink_to(tmp_path / "outside")
    assert "link" not in found(folder)


def test_only_what_changed_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real: Callable[..., FolderEntry] = folder_index._read_entry

    def counted(kind: Any, relative: str, path: Path) -> FolderEntry:
        read.append(relative)
        return real(kind, relative, path)

    monkeypatch.setattr(folder_index, "_read_entry", counted)
    index = FolderIndex(folder)
    assert len(index.entries(now=True)) == len(read) == 6
    index.entries(now=True)
    found(folder)  # of another server, from the kept file
    assert len(read) == 6
    write_tags(folder / "one", ["good"])
    shutil.rmtree(folder / "deep")
    entries = {entry.path: entry for entry in index.entries(now=True)}
    assert read[6:] == ["one"]
    assert entries["one"].tags == ("good",)
    assert "deep/er/two" not in entries


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / "report/metrics.json").write_text("{"),
        lambda run: (run / "report/metrics.json").write_text('{"accuracy": 1}'),
        lambda run: (run / "recipe.yaml").write_bytes(b"\xff\x00"),
        lambda run: (run / "tags.json").write_text('{"a": 1}'),
        lambda run: (run / "environment.json").write_text('{"training_seconds": "x"}'),
    ],
)
def test_a_damaged_run_costs_itself_only(folder: Path, damage: Callable[[Path], Any]) -> None:
    damage(folder / "one")
    entries = found(folder)
    assert len(entries) == 6
    assert entries["deep/er/two"].accuracy is not None


def test_a_damaged_cache_is_made_again(folder: Path, fresh_cache: Path) -> None:
    before = found(folder)
    (kept,) = (fresh_cache / "dashboard").glob("folder-*.json")
    for content in ("{", json.dumps({"format": 1, "entries": [["x", {"path": 1}]]}), "[]"):
        kept.write_text(content)
        assert found(folder) == before


def test_filters_and_orders() -> None:
    entries = [
        FolderEntry("a", "run", 3.0, model="hog", accuracy=0.5, tags=("x",)),
        FolderEntry("b", "run", 2.0, model="lbp", accuracy=0.9),
        FolderEntry("c/Ab", "search", 1.0, model="hog"),
    ]

    def paths(**asked: str) -> list[str]:
        return [entry.path for entry in select_entries(entries, RunQuery.of(asked))]

    assert paths() == ["a", "b", "c/Ab"]  # the newest first
    assert paths(order="-changed") == ["c/Ab", "b", "a"]
    assert paths(order="accuracy") == ["b", "a", "c/Ab"]  # without a value: last
    assert paths(order="-accuracy") == ["a", "b", "c/Ab"]
    assert paths(words="B", kind="run") == ["b"]
    assert paths(model="hog") == ["a", "c/Ab"]
    assert paths(tag="x") == ["a"]
    assert values_of(entries)["model"] == ["hog", "lbp"]
    with pytest.raises(UsageError):
        RunQuery.of({"order": "size"})


def test_tags_are_words_without_repetition(tmp_path: Path) -> None:
    assert read_tags(tmp_path) == ()
    assert write_tags(tmp_path, ["  good  one ", "", "best", "best"]) == ("best", "good one")
    assert read_tags(tmp_path) == ("best", "good one")
    for tags in (["x" * 41], [str(n) for n in range(MAX_TAGS + 1)]):
        with pytest.raises(UsageError):
            write_tags(tmp_path, tags)
    assert read_tags(tmp_path) == ("best", "good one")
    os.unlink(tmp_path / "tags.json")
    assert read_tags(tmp_path) == ()


def test_slices_galleries_and_watches_are_found_outside_of_runs(tmp_path: Path) -> None:
    for file in ("a/table.csv", "b/c/d/table.csv", "run/recipe.yaml", "run/table.csv",
                 ".x/table.csv", "b/gallery.json", "b/c/watch.json"):  # fmt: skip
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    index = FolderIndex(tmp_path)
    found = {name: index.places(name) for name in ("table.csv", "gallery.json", "watch.json")}
    assert found == {"table.csv": ["a", "b/c/d"], "gallery.json": ["b"], "watch.json": ["b/c"]}
