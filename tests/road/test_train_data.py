"""What `holotype train` does with several sources, with leaks, and with pictures to leave out."""

import csv
import shutil
from pathlib import Path

import pytest

from holotype.dataset.index import read_index_file
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
    # Every picture is there twice, and copies across sources stay on one side.
    assert (table.groupby("sha256")["split"].nunique() == 1).all()


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
        writer.writerows([("path", "problem"), *((path, "label_issue") for path in named)])

    code, _, error = cli("train", synthetic, "--exclude", issues, "--output", run, *QUICK)
    assert code == 0, error
    left = read_index_file(run / "index.parquet").table
    assert not set(named[:4]) & set(left["path"])
    assert set(left[left["path"].isin(named)]["weight"]) == {0.0}
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "without the 2 pictures that were excluded on suspicion" in page


def test_a_table_of_exclusions_that_is_none_is_one_line(
    synthetic: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    issues = tmp_path / "issues.csv"
    issues.write_text("file,problem\na.png,leak\n")
    code, _, error = cli("train", synthetic, "--exclude", issues, "--output", run, *QUICK)
    assert code == 1
    assert "column 'path'" in error.splitlines()[-1]
    assert not run.exists()
