"""`docs/files.md` names every file, key and column that is written, and none that is not."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyarrow import parquet

from holotype.bundle.conformal_scores import ConformalScores
from holotype.bundle.references import make_references
from holotype.dataset.auditing.embedding_neighbors import Outlier
from holotype.dataset.auditing.findings import KINDS, ExactDuplicates, Findings, Leak, UnusableImage
from holotype.dataset.auditing.issues_csv import issues_of
from holotype.dataset.auditing.label_errors import SuspectedLabelError
from holotype.dataset.auditing.quality import QUALITY_ADVICE, QualityIssue
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.ensembles.ensemble_recipe import EnsembleRecipe, MemberRecipe
from holotype.ensembles.gain import BestMemberComparison, DifferenceInterval, Gain
from holotype.evaluation.build_report import build_report
from holotype.evaluation.report_data import SCORES
from holotype.pipeline.audit import QUALITY
from holotype.pipeline.compare import compare
from holotype.pipeline.explain import explain
from holotype.pipeline.run import Run
from tests.comparison.made import write_class_folders, write_run
from tests.evaluation.made import made

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")


def _sections() -> dict[str, list[str]]:
    """What the first cells of each section's table name."""
    named: dict[str, list[str]] = {}
    title = ""
    for line in PAGE.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ").strip("`")
        elif line.startswith("| `"):
            named.setdefault(title, []).extend(re.findall("`([^`]+)`", line.split(" | ")[0]))
    return named


NAMED = _sections()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two tiny runs with a choice, without its plots."""
    folder = tmp_path_factory.mktemp("compared")
    data = write_class_folders(folder / "noise")
    for seed in range(2):
        write_run(folder / "runs" / f"noise-{seed}", data, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holotype.comparison.comparison_figures.all_figures", lambda comparison: {})
        compare([folder / "runs"], output=folder / "out", select="best", speed_images=0)
    return folder / "out"


def _columns(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text)))


def _json(path: Path) -> list[str]:
    return list(json.loads(path.read_text(encoding="utf-8")))


MANIFEST_SOMETIMES = ("class_weights", "trained_on_validation")


def _same(title: str, written: Iterable[str], sometimes: Iterable[str] = ()) -> None:
    """What is written is named, and what is named is written, or is known to be so sometimes."""
    written, patterns = set(written), NAMED[title]
    assert len(patterns) == len(set(patterns)), title
    unnamed = {key for key in written if not any(fnmatchcase(key, one) for one in patterns)}
    assert not unnamed, f"{title}: not named: {sorted(unnamed)}"
    everything = written | set(sometimes)
    unwritten = [one for one in patterns if not any(fnmatchcase(key, one) for key in everything)]
    assert not unwritten, f"{title}: not written: {unwritten}"


def test_tables_of_a_run(finetuned: Run) -> None:
    run = finetuned.files
    _same("index.parquet", parquet.read_schema(run.index).names)
    assert b"holotype_root" in parquet.read_schema(run.index).metadata
    predictions = run.predictions / "test.parquet"
    _same("predictions/test.parquet", parquet.read_schema(predictions).names)
    assert sorted(parquet.read_schema(predictions).metadata) == [b"classes", b"holotype_sha256"]
    _same("history.csv", _columns(run.history.read_text()))


def test_values_of_a_run(finetuned: Run) -> None:
    run = finetuned.files
    _same("environment.json", _json(run.environment), sometimes=["tables"])
    _same(
        "report/metrics.json",
        _json(run.report / "metrics.json"),
        sometimes=[*SCORES, "class_weighting", "truncated_images"],
    )
    metrics = json.loads((run.report / "metrics.json").read_text())
    assert {*metrics["accuracy"]} == {"value", "low", "high", "method"}
    (line,) = (line for line in PAGE.splitlines() if line.startswith("| `per_class` |"))
    assert set(next(iter(metrics["per_class"].values()))) == set(re.findall("`(.+?)`", line)[1:])
    _same("manifest.json", _json(run.bundle / "manifest.json"), MANIFEST_SOMETIMES)
    _same("audit.json", _json(run.audit / "audit.json"))
    _same("issues.csv", _columns((run.audit / "issues.csv").read_text()), sometimes=["reviews"])


def test_every_score_is_named() -> None:
    many = build_report(made(600, num_classes=7, weighted=True), part="test")
    assert set(many) == set(SCORES)
    assert set(SCORES) <= set(NAMED["report/metrics.json"])


def test_every_file_of_a_run_is_named(finetuned: Run) -> None:
    names = {name for title in ("A run", "A bundle", "An audit") for name in _in_backticks(title)}
    root = finetuned.path
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    for file in files:
        if file.name.startswith(".") or file.parts[0] == "stages":
            continue
        known = (file.as_posix(), file.name, f"{file.parts[0]}/", "*" + file.suffix)
        assert names & set(known), f"{file} is not named"
    stages = [path.name for path in (root / "stages").iterdir()]
    left = {path.name for path in (root / "stages" / stages[0]).iterdir()}
    assert "report" not in left
    assert {"recipe.yaml", "index.parquet", "bundle"} <= left


def _in_backticks(title: str) -> list[str]:
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.findall("`([^`]+)`", text)


def test_arrays_of_a_bundle() -> None:
    references = make_references(np.eye(2, dtype=np.float32), np.zeros(2, np.int64), ["a", "b"])
    conformal_scores = ConformalScores(np.zeros(1), np.zeros(1), np.zeros(1, np.int64))
    for title, extra in (("references.npz", references), ("conformal.npz", conformal_scores)):
        with np.load(io.BytesIO(extra.to_bytes()), allow_pickle=False) as arrays:
            _same(title, arrays.files)


def test_problems_of_images() -> None:
    findings = Findings(
        num_images=9,
        unusable=(UnusableImage("r", "truncated_image", "", ""),),
        exact_duplicates=(
            ExactDuplicates(("a", "b"), ("one", "one")),
            ExactDuplicates(("c", "d"), ("one", "two")),
        ),
        near_duplicates=(NearDuplicate("a", "e", "resized", "", 1.0),),
        label_of={"a": "one", "e": "one"},
        oversized_clusters=[frozenset(["f"])],
        quality_issues=tuple(QualityIssue(f"p{kind}", kind, "", 9.0) for kind in QUALITY_ADVICE),
        leaks=(Leak("group", "g", ("g", "h"), ("train", "test"), 2),),
        warnings={"w": ("frames",)},
        label_errors=(SuspectedLabelError("l", "one", "two", 0.1, 0.9, 1.0),),
        outliers=(Outlier("o", 1.0, 0.1, "a"),),
    )
    problems = {word for issue in issues_of(findings) for word in issue.problem.split("; ")}
    _same("Problems of images", problems - {"truncated_image"})


def test_kinds_that_an_audit_can_fail_on() -> None:
    _same("audit --fail-on", [*KINDS, QUALITY])


KINDS_FOUND: dict[str, dict[str, Any]] = {
    "unusable": {"unusable": (UnusableImage("r", "truncated_image", "", ""),)},
    "exact_duplicate": {"exact_duplicates": (ExactDuplicates(("a", "b"), ("one", "one")),)},
    "label_conflict": {"exact_duplicates": (ExactDuplicates(("a", "b"), ("one", "two")),)},
    "near_duplicate": {
        "near_duplicates": (NearDuplicate("a", "b", "resized", "", 1.0),),
        "label_of": {"a": "one", "b": "one"},
    },
    "leak": {"leaks": (Leak("group", "g", ("g", "h"), ("train", "test"), 2),)},
    "oversized_cluster": {"oversized_clusters": [frozenset(["f"])]},
    "small_class": {"small_classes": {"one": 2}},
    "similar_class": {"class_counts": {"Cat": 5, "cat ": 5}},
    "missing_class": {"missing_in_parts": {"train": ["one"]}},
    "label_error": {"label_errors": (SuspectedLabelError("l", "one", "two", 0.1, 0.9, 1.0),)},
    "dark": {"quality_issues": (QualityIssue("p", "dark", "", 9.0),)},
    "warning": {"warnings": {"w": ("frames",)}},
}


@pytest.mark.parametrize("kind", KINDS_FOUND)
def test_the_marked_kinds_are_those_that_fail_an_audit_by_themselves(kind: str) -> None:
    table = PAGE.split("### `audit --fail-on`")[1].split("\n## ")[0]
    (line,) = (line for line in table.splitlines() if f"`{kind}`" in line.split(" | ")[0])
    found = Findings(num_images=9, **KINDS_FOUND[kind])
    assert found.counts()[kind] > 0
    assert found.has_findings == ("●" in line)


def test_answers(finetuned: Run) -> None:
    _same("answers.csv", _columns(finetuned.predictions("val").to_csv()), sometimes=["target"])


def test_explanations(finetuned: Run, synthetic: Path, tmp_path: Path) -> None:
    images = sorted((synthetic / "disc").iterdir())[:2]
    explain(finetuned.path, images, output=tmp_path)
    columns = _columns((tmp_path / "explanations.csv").read_text())
    _same("explanations.csv", columns, sometimes=["similar"])


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("comparison.csv", lambda path: _columns(path.read_text())),
        ("per_class.csv", lambda path: _columns(path.read_text())),
        ("selection.json", lambda path: list(json.loads(path.read_text())["selections"][0])),
    ],
)
def test_a_comparison(title: str, keys: Callable[[Path], list[str]], compared: Path) -> None:
    _same(title, keys(compared / title))
    names = _in_backticks("A comparison")
    assert {path.name for path in compared.iterdir()} <= set(names)


def test_an_ensemble() -> None:
    member = MemberRecipe("runs/a", "0" * 64, "tiny", {"x": 1.0})
    recipe = EnsembleRecipe("n", "auto", "greedy", "validation", "runs/a", (member,))
    _same("recipe.yaml of an ensemble", yaml.safe_load(recipe.to_yaml()))
    gain = Gain("test", 9, DifferenceInterval(0, 0, 0), DifferenceInterval(0, 0, 0))
    _same(
        "report/best_member_comparison.json",
        BestMemberComparison("runs/a", gain, gain, 1.0, 1.0).to_json(),
    )
