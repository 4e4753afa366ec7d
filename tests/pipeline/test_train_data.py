"""What `holotype train` does with several sources, with leaks, and with images to leave out."""

import csv
import html
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.dataset.index import read_index_file
from holotype.files import sha256_of
from tests.conftest import Cli

# Descriptors and a linear head: no network, so that each run takes a second or two.
QUICK = ("--model", "hog", "--recipe", "linear", "--image-size", 32)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_several_sources_are_one_data_set(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    second = tmp_path / "more"
    for folder in synthetic.iterdir():
        if folder.is_dir():
            shutil.copytree(folder, second / folder.name)
    code, _, error = cli("train", synthetic, second, "--output", run, *QUICK)
    assert code == 0, error
    table = read_index_file(run / "index.parquet").table
    assert len(table) == 240
    assert (run / "audit" / "index.html").is_file()
    # Every image is there twice, and copies across sources stay on one side.
    assert (table.groupby("sha256")["split"].nunique() == 1).all()


def test_copies_of_an_image_never_stand_on_both_sides_of_a_fold(tmp_path: Path) -> None:
    """Labels are drawn by lot: only copies could say that they can be learnt."""
    rng, groups = np.random.default_rng(0), []
    for number in range(45):
        image = Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8))
        for copy in "abc":
            name = f"{'xy'[number % 2]}/{number:02d}{copy}.png"
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "data" / name)
            groups.append(f"{name},{name[0]},{number}")
    table = tmp_path / "data" / "table.csv"
    for how, model in (("linear", "hog"), ("svm", "hog")):
        unnamed = holotype.train(
            tmp_path / "data", recipe=how, model=model, image_size=32, output=tmp_path / how
        )
        table.write_text("\n".join(["path,label,group", *groups]))
        named = holotype.train(
            table, recipe=how, model=model, image_size=32, output=tmp_path / f"{how}-named"
        )
        table.unlink()
        heads = [(run.files.bundle / "head.onnx").read_bytes() for run in (unnamed, named)]
        assert heads[0] == heads[1]


@pytest.mark.parametrize("recipe", ["linear", "svm", "forest"])
def test_a_group_of_weight_0_leaves_no_fold_without_anything_to_learn(
    tmp_path: Path, recipe: str
) -> None:
    rng, rows = np.random.default_rng(1), ["path,label,group,split,weight"]
    for group, part, weight in (
        ("a", "train", 1), ("b", "train", 0), ("c", "val", 1), ("d", "test", 1)
    ):  # fmt: skip
        for number in range(10):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(
                tmp_path / f"{group}{number}.png"
            )
            label = "xy"[number % 2]
            rows.append(f"{group}{number}.png,{label},{group},{part},{weight}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    trained = holotype.train(
        tmp_path / "table.csv", output=tmp_path / "run", recipe=recipe, model="colour",
        image_size=32,
    )  # fmt: skip
    assert trained.classifier


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names there are valid Unicode")
def test_a_folder_whose_name_is_not_valid_utf8_is_trained_on(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(synthetic, data)
    monkeypatch.setattr(sys, "argv", ["holotype", "train", str(data)])
    code, _, error = cli("train", data, "--output", run, *QUICK)
    assert code == 0, error
    assert "caf\\xe9" in (run / "report" / "index.html").read_text("utf-8")
    code, _, error = cli("audit", data, "--quick", "--output", tmp_path / "audit")
    assert code < 2, error
    for folder in sorted(path for path in data.glob("[a-z]*") if path.is_dir())[1:]:
        os.rename(folder, os.fsencode(data) + b"/\xe9" + folder.name.encode())
    code, _, error = cli("train", data, "--output", tmp_path / "one", *QUICK)
    assert code == 1
    assert "one class only" in error
    assert "not valid UTF-8, such as '\\xe9" in error


@pytest.mark.parametrize(("folds", "part"), [(None, "val"), (None, "test"), (2, "oof")])
def test_predictions_that_are_gone_are_made_again(
    synthetic: Path, run: Path, folds: int | None, part: str
) -> None:
    def train(resume: bool) -> holotype.Run:
        return holotype.train(
            synthetic, output=run, model="lbp", recipe="linear", image_size=32, folds=folds,
            resuming=holotype.Resuming(resume=resume),
        )  # fmt: skip

    before = train(resume=False).predictions(part)
    (run / "predictions" / f"{part}.parquet").unlink()
    np.testing.assert_array_equal(train(resume=True).predictions(part).logits_NC, before.logits_NC)


def test_labels_of_several_sources_can_be_kept_apart(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    second = tmp_path / "more"
    shutil.copytree(synthetic, second)
    code, _, error = cli("train", synthetic, second, "--label-prefix", "--output", run, *QUICK)
    assert code == 0, error
    assert len(read_index_file(run / "index.parquet").classes) == 6


def _with_a_leak(synthetic: Path, folder: Path) -> Path:
    for number, file in enumerate(sorted(synthetic.glob("*/*.png"))):
        part = ("train", "val", "test", "train")[number % 4]
        target = folder / part / file.relative_to(synthetic)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    original = next((folder / "train").glob("*/*.png"))
    shutil.copyfile(original, folder / "test" / original.parent.name / "copy.png")
    return folder


def test_a_leaking_split_is_refused_when_asked(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    data = _with_a_leak(synthetic, tmp_path / "data")
    code, _, error = cli("train", data, "--on-leak", "refuse", "--output", run, *QUICK)
    assert code == 1
    assert "copy.png" in error.splitlines()[-1]
    assert not run.exists()


def test_a_leaking_split_is_repaired_when_asked(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    data = _with_a_leak(synthetic, tmp_path / "data")
    code, _, error = cli("train", data, "--on-leak", "repair", "--output", run, *QUICK)
    assert code == 0, error
    table = read_index_file(run / "index.parquet").table
    copy = table[table["path"].str.endswith("copy.png")].iloc[0]
    assert set(table[table["sha256"] == copy["sha256"]]["split"]) == {"train"}


@pytest.mark.parametrize("folds", [(), ("--folds", 2)])
def test_a_leaking_split_that_is_kept_is_said_before_training_and_beside_the_score(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli, folds: tuple[object, ...]
) -> None:
    data = _with_a_leak(synthetic, tmp_path / "data")
    code, _, error = cli("train", data, "--output", run, *folds, *QUICK)
    assert code == 0, error
    said = [line for line in error.splitlines() if "the score is too optimistic" in line]
    assert len(said) == 2
    assert "copy.png" in said[0]
    assert error.index(said[0]) < error.index("writing the report")
    if folds:
        assert error.index(said[0]) < error.index("fold 0")
    assert json.loads((run / "report" / "metrics.json").read_text())["caveats"][0] == said[0]
    assert (run / "MODEL_CARD.md").read_text("utf-8").count("the score is too optimistic") == 1
    for fold in (run / "folds").glob("*"):  # which is of train and validation, and clean
        assert "optimistic" not in (fold / "report" / "metrics.json").read_text()
    # A finished run says it again.
    _, out, error = cli("train", data, "--output", run, "--resume", "--json", *folds, *QUICK)
    assert json.loads(out)["metrics"]["caveats"][0] == said[0]


def _noise(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_a_part_that_stays_empty_is_said_before_anything_is_fitted(
    tmp_path: Path, run: Path, cli: Cli
) -> None:
    """Two separate images of each class: one is in train, one in test."""
    data = _noise(tmp_path / "data", "a/0.png", "a/1.png", "b/0.png", "b/1.png")
    for copy in ("a/2.png", "b/2.png"):
        shutil.copyfile(data / copy.replace("2", "1"), data / copy)
    code, _, error = cli("train", data, "--output", run, *QUICK)
    assert code == 0, error
    lines = error.splitlines()
    start = "The val part is empty: too few separate images"
    (said,) = (line for line in lines if line.startswith(start))
    assert "copies of one image" in said
    assert lines.index(said) < lines.index("writing the report")
    card = (run / "MODEL_CARD.md").read_text("utf-8")
    assert said in card
    assert "ensembles and the registry refuse the run" in card


def test_where_nothing_could_be_reported_nothing_is_trained_and_nothing_is_in_the_way(
    tmp_path: Path, run: Path, cli: Cli
) -> None:
    data = _noise(tmp_path / "data", "a/0.png", "b/0.png")
    for _ in range(2):  # the second call finds what the first one left
        code, _, error = cli("train", data, "--output", run, *QUICK)
        assert code == 1
        last = error.splitlines()[-1]
        assert "neither validation nor test" in last
        assert "The test part is empty: too few separate images of each class" in last
    _noise(tmp_path / "data", *(f"{name}/{n}.png" for n in range(6) for name in "ab"))
    code, _, error = cli("train", data, "--output", run, *QUICK)
    assert code == 0, error


def test_only_what_was_confirmed_in_the_issues_of_an_audit_is_excluded(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    data = tmp_path / "data"
    shutil.copytree(synthetic, data)
    first, second = sorted(data.glob("*/*.png"))[:2]
    for original in (first, second):
        shutil.copyfile(original, original.with_name(f"copy of {original.name}"))
    issues = tmp_path / "audit" / "issues.csv"
    assert cli("audit", data, "--quick", "--output", issues.parent)[0] == 0
    for _ in range(2):
        code, _, error = cli("train", data, "--exclude", issues, "--output", run, *QUICK)
        assert code == 1
        assert "Write yes into the column 'confirmed'" in error.splitlines()[-1]
        assert not run.exists()
    lines = issues.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[1:] if "copy of" in line.split(",")[0]]
    assert len(rows) == 2
    marked = [row.removesuffix('"",""') + '"Yes",""' if row == rows[0] else row for row in lines]
    issues.write_text("\n".join(marked), encoding="utf-8")
    code, _, error = cli("train", data, "--exclude", issues, "--output", run, *QUICK)
    assert code == 0, error
    assert "1 image named in" in error
    table = read_index_file(run / "index.parquet").table
    weights = dict(zip(table["path"], table["weight"], strict=True))
    counted = {path for path, weight in weights.items() if weight > 0}
    everything = {file.relative_to(data).as_posix() for file in data.glob("*/*.png")}
    assert everything - counted == {rows[0].split(",")[0].strip('"')}


def test_exclusions_of_other_data_leave_nothing_in_the_way(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    issues = tmp_path / "mine.csv"
    issues.write_text("path\nelsewhere/1.png\n")
    for _ in range(2):
        code, _, error = cli("train", synthetic, "--exclude", issues, "--output", run, *QUICK)
        assert code == 1
        assert "(1 path) is an image of this data set" in error.splitlines()[-1]
        assert not run.exists()


def test_what_is_excluded_trains_nothing_and_the_score_is_given_with_it_and_without(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    plain = tmp_path / "plain"
    assert cli("train", synthetic, "--output", plain, *QUICK)[0] == 0
    table = read_index_file(plain / "index.parquet").table
    named = [
        *table[table["split"] == "train"]["path"][:4],
        *table[table["split"] == "test"]["path"][:2],
    ]
    issues = tmp_path / "issues.csv"
    with issues.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "problem"), *((path, "label_error") for path in named)])

    code, _, error = cli("train", synthetic, "--exclude", issues, "--output", run, *QUICK)
    assert code == 0, error
    left = read_index_file(run / "index.parquet").table
    assert not set(named[:4]) & set(left["path"])
    assert set(left[left["path"].isin(named)]["weight"]) == {0.0}
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "without the 2 images that were excluded on suspicion" in page


def test_new_labels_are_learnt_and_tested_and_recorded_and_the_split_stays(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    plain = tmp_path / "plain"
    assert cli("train", synthetic, "--output", plain, *QUICK)[0] == 0
    before = read_index_file(plain / "index.parquet")
    rows = before.table.set_index("path")
    other = {name: before.classes[n - 1] for n, name in enumerate(before.classes)}
    named = {
        path: other[rows.loc[path, "label"]]
        for part, count in (("train", 4), ("test", 2))
        for path in rows[rows["split"] == part].index[:count]
    }
    table = tmp_path / "issues.csv"
    lines = ["path,confirmed,new_label", *(f"{path},yes,{new}" for path, new in named.items())]
    table.write_text("\n".join(lines), encoding="utf-8")
    hashes = {file: sha256_of(file) for file in synthetic.rglob("*.png")}

    code, _, error = cli("train", synthetic, "--relabel", table, "--output", run, *QUICK)
    assert code == 0, error
    assert "6 images relabelled" in error
    after = read_index_file(run / "index.parquet").table.set_index("path")
    assert {path: after.loc[path, "label"] for path in named} == named
    unnamed = [path for path in rows.index if path not in named]
    assert (after.loc[unnamed] == rows.loc[unnamed]).all().all()
    assert (after["split"] == rows["split"]).all()
    recorded = json.loads((run / "environment.json").read_text("utf-8"))["tables"]
    assert recorded == {"relabel": {"path": str(table), "sha256": sha256_of(table)}}
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "with the 2 labels that were corrected in a review" in page
    assert f"--relabel {table}" in html.unescape(page)
    assert {file: sha256_of(file) for file in synthetic.rglob("*.png")} == hashes


def test_a_label_that_is_no_class_is_refused_before_a_run_is_made(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    table = tmp_path / "issues.csv"
    path = next(synthetic.glob("*/*.png")).relative_to(synthetic).as_posix()
    table.write_text(f"path,new_label\n{path},hexagon\n", encoding="utf-8")
    code, _, error = cli("train", synthetic, "--relabel", table, "--output", run, *QUICK)
    assert code == 1
    assert "'hexagon', which is no class" in error.splitlines()[-1]
    assert not run.exists()


def test_a_table_of_exclusions_that_is_none_is_one_line(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    issues = tmp_path / "issues.csv"
    issues.write_text("where,problem\na.png,leak\n")
    code, _, error = cli("train", synthetic, "--exclude", issues, "--output", run, *QUICK)
    assert code == 1
    assert "column 'path'" in error.splitlines()[-1]
    assert not run.exists()
