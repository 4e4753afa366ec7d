"""`holotype audit`: the exit code says whether there is something to look at."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from holotype.cli.app import run
from holotype.dataset.index import Index


@pytest.fixture
def clean(synthetic: Path, tmp_path: Path) -> Path:
    """Class folders with nothing else beside them."""
    folder = tmp_path / "my images"
    shutil.copytree(synthetic, folder, ignore=shutil.ignore_patterns(".*", "*.csv"))
    return folder


@pytest.fixture
def doubled(clean: Path) -> Path:
    """The same, one image twice under another name, and an empty file."""
    first = min(clean.glob("*/*.png"))
    shutil.copy(first, first.with_name("copy.png"))
    first.with_name("empty.png").touch()
    return clean


def test_clean_data_ends_with_exit_code_0(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(clean), "--quick"]) == 0
    page = capsys.readouterr().out
    assert "120 images of 3 classes" in page
    assert page.splitlines()[-1] == "nothing found"


def test_findings_end_with_exit_code_1_and_the_next_command(
    doubled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(doubled), "--quick"]) == 1
    assert f"holotype audit '{doubled}' --output audit" in capsys.readouterr().err


def test_json_is_all_that_standard_output_gets(
    doubled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(doubled), "--quick", "--json", "--output", str(tmp_path / "a")]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "a" / "audit.json").read_text("utf-8")) == printed


def test_issues_name_the_images_with_a_problem_and_only_those(
    doubled: Path, tmp_path: Path
) -> None:
    before = sorted(path.name for path in doubled.rglob("*"))
    assert run(["audit", str(doubled), "--quick", "--output", str(tmp_path / "audit")]) == 1
    with (tmp_path / "audit" / "issues.csv").open(newline="", encoding="utf-8") as file:
        issues = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert "empty.png" in issues
    assert {"copy.png", "0000.png"} & set(issues)
    assert len(issues) <= 3
    assert sorted(path.name for path in doubled.rglob("*")) == before


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that sees no more than the class, which the synthetic set writes in the folder.

    What a real network sees is the slow test's in tests/pipeline.
    """

    def embeddings(recipe: object, usable: Index, *_: object) -> NDArray[np.float32]:
        rng = np.random.default_rng(0)
        shapes = sorted({Path(path).parts[0] for path in usable.table["path"]})
        seen = [shapes.index(Path(path).parts[0]) for path in usable.table["path"]]
        noise = rng.normal(size=(len(seen), 8)) * 0.1
        return (np.eye(8)[seen] + noise).astype(np.float32)

    monkeypatch.setattr("holotype.pipeline.audit._embeddings", embeddings)


@pytest.fixture
def mislabelled(clean: Path, tmp_path: Path) -> Path:
    """A table of the same images, five of them under a wrong label."""
    paths = sorted(clean.glob("*/*.png"))
    classes = sorted({path.parent.name for path in paths})
    rows = ["path,label"]
    for number, path in enumerate(paths):
        label = path.parent.name
        if number % 25 == 3:
            label = classes[(classes.index(label) + 1) % len(classes)]
        rows.append(f"{path.relative_to(clean).as_posix()},{label}")
    table = clean / "table.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    return table


@pytest.mark.usefixtures("seeing")
def test_wrong_labels_are_listed_with_the_right_one_suggested(
    mislabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(mislabelled), "--output", str(tmp_path / "audit")]) == 0
    said = capsys.readouterr()
    assert "wrong labels, estimated: " in said.out
    with (tmp_path / "audit" / "issues.csv").open(newline="", encoding="utf-8") as file:
        issues = {row["path"]: row for row in csv.DictReader(file)}
    wrong = {path for path, row in issues.items() if row["problem"] == "label_error"}
    rows = list(csv.DictReader(mislabelled.open(encoding="utf-8")))
    assert wrong == {row["path"] for row in rows if row["path"].split("/")[0] != row["label"]}
    assert all(repr(path.split("/")[0]) in issues[path]["suggestion"] for path in wrong)
    page = (tmp_path / "audit" / "index.html").read_text("utf-8")
    assert "Probable label errors" in page
    assert all(path in page for path in wrong)


@pytest.mark.usefixtures("seeing")
def test_fail_on_makes_only_the_named_kinds_fail(
    mislabelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted(mislabelled.parent.glob("*/*.png"))[:2]
    shutil.copy(first, second)
    assert run(["audit", str(mislabelled), "--quick"]) == 0  # two equal files under one label
    assert run(["audit", str(mislabelled), "--quick", "--fail-on", "leak,oversized_cluster"]) == 0
    assert run(["audit", str(mislabelled), "--quick", "--fail-on", "leak,exact_duplicate"]) == 1
    assert "Failed on exact_duplicate 1." in capsys.readouterr().err
    assert run(["audit", str(mislabelled), "--fail-on", "label_error"]) == 1
    assert re.search(r"Failed on label_error \d+\.", capsys.readouterr().err)


def test_a_dark_image_fails_a_check_of_quality(clean: Path) -> None:
    image = min(clean.glob("*/*.png"))
    assert run(["audit", str(clean), "--quick", "--fail-on", "quality"]) == 0
    Image.open(image).point(lambda v: v // 20).save(image)
    assert run(["audit", str(clean), "--quick"]) == 0  # a suspicion and no finding
    assert run(["audit", str(clean), "--quick", "--fail-on", "quality"]) == 1


def test_a_check_for_leaks_says_when_there_is_no_split_to_check(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(clean), "--quick", "--fail-on", "leak"]) == 0
    assert "No split came with the data" in capsys.readouterr().err
    assert run(["split", str(clean), "--output", str(tmp_path / "parts")]) == 0
    capsys.readouterr()
    assert run(["audit", str(tmp_path / "parts"), "--quick", "--fail-on", "leak"]) == 0
    assert "No split" not in capsys.readouterr().err


def test_what_is_amiss_with_whole_classes_is_said_by_name(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *others = sorted(folder for folder in clean.iterdir() if folder.is_dir())
    for image in sorted(first.iterdir())[2:]:
        image.unlink()
    assert run(["audit", str(clean), "--quick"]) == 1
    small = f"Classes with few separate images: {first.name} (2)."
    assert small in capsys.readouterr().out
    rows = [f"{path},{path.parent.name}" for path in clean.glob("*/*.png")]
    parts = [f"{row},{'train' if row.endswith(first.name) else 'test'}" for row in rows]
    (tmp_path / "t.csv").write_text("path,label,split\n" + "\n".join(parts) + "\n")
    assert run(["audit", str(tmp_path / "t.csv"), "--quick"]) == 1
    page = capsys.readouterr().out
    assert f"The given test part has no image of: {first.name}." in page
    for folder in (second, *others):
        shutil.rmtree(folder)
    run(["audit", str(clean), "--quick"])
    said = capsys.readouterr()
    assert "There is one class only" in said.out
    assert "holotype train" not in said.err


def test_split_folders_of_different_classes_are_audited_and_the_missing_classes_named(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = sorted(folder for folder in clean.iterdir() if folder.is_dir())
    parts = tmp_path / "parts"
    for part, folders in (("train", (first, second)), ("test", (first, second, third))):
        for folder in folders:
            (parts / part / folder.name).mkdir(parents=True)
            for image in sorted(folder.iterdir())[part == "test" : 20 : 2]:
                shutil.copy(image, parts / part / folder.name)
    output = tmp_path / "audit"
    assert run(["audit", str(parts), "--quick", "--output", str(output)]) == 1
    told = f"The given train part has no image of: {third.name}."
    assert told in capsys.readouterr().out
    found = json.loads((output / "audit.json").read_text("utf-8"))
    assert found["missing_in_parts"] == {"train": [third.name]}
    assert told in (output / "index.html").read_text("utf-8")
    assert run(["audit", str(parts), "--quick", "--fail-on", "missing_class"]) == 1
    assert run(["train", str(parts), "--output", str(tmp_path / "run")]) == 1
    assert "different classes" in capsys.readouterr().err


def test_one_image_of_one_class_is_no_plural(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "only").mkdir(parents=True)
    Image.effect_noise((40, 40), 60).save(tmp_path / "data" / "only" / "one.png")
    run(["audit", str(tmp_path / "data"), "--quick"])
    assert capsys.readouterr().out.startswith("1 image of 1 class\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fail-on", "laek"], "'leak'"),
        (["--fail-on", "leak,"], "is no kind of finding"),
        (["--fail-on", "label_error", "--quick"], "--quick"),
        (["--labels", "--quick"], "exclude each other"),
        (["--output", __file__], "is a file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "nowhere", *words]) == 2
    assert said in capsys.readouterr().err


def test_without_what_it_takes_labels_are_not_looked_at_and_that_is_said(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "holotype.pipeline.audit.REQUIRED_PACKAGES", ("a_package_that_is_not_there",)
    )
    assert run(["audit", str(clean)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "nothing found"
    assert "not looked at: a look at labels needs a_package_that_is_not_there" in said.err
    assert run(["audit", str(clean), "--labels"]) == 1
    assert "pip install 'holotype[train]'" in capsys.readouterr().err
    assert run(["audit", str(clean), "--fail-on", "label_error"]) == 1


def test_copies_across_two_sources_are_found(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    image = min(clean.glob("*/*.png"))
    for name in (image.parent.name, "another"):
        (other / name).mkdir(parents=True)
    shutil.copy(image, other / "another" / "taken over.png")
    Image.effect_noise((40, 40), 60).save(other / image.parent.name / "new.png")
    assert run(["audit", str(clean), str(other), "--quick", "--fail-on", "label_conflict"]) == 1
    assert "122 images of 4 classes" in capsys.readouterr().out
