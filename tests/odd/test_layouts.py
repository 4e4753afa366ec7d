"""Odd data sets through audit, evaluate, predict and train: the right images, or a refusal."""

import re
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.bundle.bundle import write_bundle
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from tests.bundle.tiny import EMBEDDING, backbone_model, head_model, manifest
from tests.conftest import Cli
from tests.odd.layouts import LAYOUTS, Layout

CASES = [pytest.param(one, id=one.name) for one in LAYOUTS]


def test_the_table_is_large_and_its_names_are_different() -> None:
    assert len(LAYOUTS) >= 40
    assert len({one.name for one in LAYOUTS}) == len(LAYOUTS)


def words(one: Layout) -> list[str]:
    return [w for key, value in one.options.items() for w in (f"--{key.replace('_', '-')}", value)]


@pytest.mark.parametrize("one", CASES)
def test_audit_counts_the_images_of_each_class(one: Layout, tmp_path: Path, cli: Cli) -> None:
    data = one.make(tmp_path)
    code, out, said = cli("audit", data, "--quick", *words(one))
    assert "Traceback" not in out + said
    assert "bug" not in said
    if not one.classes and not one.unusable:
        assert code in (1, 2)
        assert re.search(one.refused, said), said
        assert said.count("\n") <= 2  # one line
        return
    assert one.said in out + said
    index = read_index(data, allow_class_mismatch=True, **one.options)
    findings = audit(index)
    assert findings.class_counts == one.classes
    assert len(findings.unusable) == one.unusable


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of cats and dogs."""
    path = tmp_path_factory.mktemp("tiny") / "bundle"
    weight_CD = np.random.default_rng(0).normal(0, 1, (2, EMBEDDING)).astype(np.float32)
    write_bundle(
        path,
        backbone=backbone_model().SerializeToString(),
        head=head_model(weight_CD=weight_CD).SerializeToString(),
        manifest=manifest(classes=("cat", "dog")),
    )
    return path


@pytest.mark.parametrize("one", CASES)
def test_evaluate_reads_what_the_audit_reads(
    one: Layout, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    data = one.make(tmp_path)
    code, out, said = cli("evaluate", bundle, data, *words(one))
    assert "Traceback" not in out + said
    assert "bug" not in said
    if set(one.classes) <= {"cat", "dog"} and sum(one.classes.values()) and not one.mismatch:
        assert code == 0, said
        assert one.said in said or "look alike" in one.said
        report = holotype.evaluate(bundle, data, **one.options)
        assert report.num_images == sum(one.classes.values())
        return
    assert code in (1, 2)
    refused = one.mismatch or one.refused
    assert re.search(refused, said), said


@pytest.mark.parametrize(
    "one", [case for case in CASES if case.values[0].classes or case.values[0].answers]
)
def test_predict_answers_the_same_images(one: Layout, bundle: Path, tmp_path: Path) -> None:
    data = one.make(tmp_path)
    if not data.is_dir():  # predict takes no tables: the images beside it
        assert len(holotype.load(bundle).predict(data.parent)) == 12
        return
    found = holotype.load(bundle).predict(data)
    answers = sum(one.classes.values()) if one.answers is None else one.answers
    assert len(found) == answers
    broken = one.unusable if one.answers is None else 0  # names that are not UTF-8 are answered
    assert len(found.refused) == broken


def _train(one: Layout, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "data").mkdir()
    data = one.make(tmp_path / "data")
    run = tmp_path / "run"
    code, out, said = cli("train", data, "--model", "hog", "--output", run, *words(one))
    assert "Traceback" not in out + said
    assert "bug" not in said
    refused = one.refused or one.mismatch or one.cannot_train
    if refused or not (one.classes or one.unusable):
        assert code in (1, 2)
        assert re.search(refused, said), said
        assert not run.exists()
        return
    assert code == 0, said
    assert one.said in said
    counts = holotype.Run(run).index.table["label"].value_counts()
    assert dict(counts.items()) == {name: n for name, n in one.classes.items() if n}


QUICK = ("flat test beside train", "semicolons", "one class")


@pytest.mark.parametrize("one", [case for case in CASES if case.id in QUICK])
def test_train_reads_what_the_audit_reads(one: Layout, tmp_path: Path, cli: Cli) -> None:
    _train(one, tmp_path, cli)


@pytest.mark.slow
@pytest.mark.parametrize("one", [case for case in CASES if case.id not in QUICK])
def test_train_reads_every_layout_as_the_audit_does(one: Layout, tmp_path: Path, cli: Cli) -> None:
    _train(one, tmp_path, cli)
