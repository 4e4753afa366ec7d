"""Folds are ordinary runs; the parent reports what was said out of fold, and ships the mean."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scipy.special import softmax

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import read_index_file
from holotype.dataset.sources.synthetic_micro_ct import make_micro_ct
from holotype.errors import InvalidFolds, InvalidRatios
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.training_options import ReadingOptions, Resuming
from holotype.predictions import read_predictions
from holotype.run_directory import RunDirectory
from holotype.training.features.initial_backbone import PARITY_IMAGES
from tests.bundle.tiny import predicted
from tests.conftest import Cli

FOLDS = 2
LINEAR = {"recipe": "linear", "image_size": 64, "overrides": {"stages.0.folds": "2"}}


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices of 18 specimens of three species, a table with their groups; one slice twice."""
    folder = tmp_path_factory.mktemp("micro-ct") / "slices"
    table = make_micro_ct(folder, species=3, specimens=6, slices=6, size=64)
    first = sorted(folder.glob("*/*/*.png"))[0]
    copy = first.with_name("copy.png")
    copy.write_bytes(first.read_bytes())
    lines = table.read_text(encoding="utf-8").splitlines()
    of_first = next(line for line in lines if first.name in line and first.parent.name in line)
    # The copy claims another group, so that only the audit can keep the two together.
    name = first.relative_to(folder).as_posix()
    of_copy = of_first.replace(name, copy.relative_to(folder).as_posix())
    *head, group = of_copy.rsplit(",", 1)
    table.write_text("\n".join([*lines, ",".join([*head, "elsewhere"])]) + "\n", encoding="utf-8")
    assert group
    return table


class _Counts:
    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()

    def patched(self, run: Callable[..., object]) -> Callable[..., object]:
        def counted(session: object, outputs: list[str], inputs: dict[str, np.ndarray]) -> object:
            (array,) = inputs.values()
            self.rows[",".join(outputs)] += len(array)
            return run(session, outputs, inputs)

        return counted


@pytest.fixture(scope="session")
def counts() -> _Counts:
    return _Counts()


@pytest.fixture(scope="session")
def folded(specimens: Path, tmp_path_factory: pytest.TempPathFactory, counts: _Counts) -> Run:
    output = tmp_path_factory.mktemp("folded") / "slices-1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            onnxruntime.InferenceSession, "run", counts.patched(onnxruntime.InferenceSession.run)
        )
        return holotype.train(specimens, output=output, folds=FOLDS, **LINEAR)


def test_every_image_is_tested_once_by_a_classifier_that_saw_neither_it_nor_its_group(
    folded: Run,
) -> None:
    parent = read_index_file(folded.files.index)
    oof = read_predictions(folded.files.predictions / "oof.parquet")
    assert list(oof.ids) == list(parent.table["path"])
    fold_of = dict(zip(parent.table["path"], parent.table["fold"], strict=True))
    for number in range(FOLDS):
        run = RunDirectory.open(folded.files.fold(number).path)
        table = read_index_file(run.index).table
        tested = set(table["path"][table["split"] == "test"])
        assert tested == {path for path, fold in fold_of.items() if fold == number}
        sides = table.assign(side=table["split"]).groupby("group")["side"].nunique()
        assert (sides == 1).all(), "train, val and test share no specimen"
        assert set(table["split"]) == {"train", "val", "test"}
        own = read_predictions(run.predictions / "test.parquet")
        rows = [oof.ids.index(name) for name in own.ids]
        np.testing.assert_allclose(
            oof.probabilities_NC[rows], own.probabilities_NC, rtol=0, atol=1e-12
        )
        assert (oof.folds_N[rows] == number).all()


def test_copies_share_a_fold_and_a_part(folded: Run) -> None:
    audit = json.loads((folded.files.audit / "audit.json").read_text(encoding="utf-8"))
    (copies,) = audit["duplicate_clusters"]
    assert len(copies) == 2
    for number in range(FOLDS):
        table = read_index_file(folded.files.fold(number).index).table
        assert table[table["path"].isin(copies)]["split"].nunique() == 1


def test_pooled_logits_give_the_pooled_probabilities(folded: Run) -> None:
    oof = read_predictions(folded.files.predictions / "oof.parquet")
    np.testing.assert_allclose(softmax(oof.logits_NC, axis=1), oof.probabilities_NC, atol=1e-6)


def test_the_parent_predicts_as_the_mean_of_its_folds(folded: Run) -> None:
    index = read_index_file(folded.files.index)
    files = [index.file(path) for path in index.table["path"][:12]]
    parent = load_bundle(folded.path)
    members = [load_bundle(folded.files.fold(number).path) for number in range(FOLDS)]
    assert [each.sha256 for each in parent.members] == [each.sha256 for each in members]
    mean_NC = np.mean([predicted(each, files).probabilities_NC for each in members], axis=0)
    cooled_NC = mean_NC ** (1 / parent.temperature)
    expected_NC = cooled_NC / cooled_NC.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predicted(parent, files).probabilities_NC, expected_NC, atol=1e-6)


def test_its_temperature_was_fitted_out_of_fold(folded: Run) -> None:
    oof = read_predictions(folded.files.predictions / "oof.parquet")
    decision = load_bundle(folded.path).manifest.decision
    assert decision is not None
    assert decision.predictions_sha256 == oof.digest()
    assert decision.num_images == len(oof)


def test_its_card_names_the_folds_and_its_cost_is_the_sum_of_theirs(folded: Run) -> None:
    card = folded.files.card.read_text(encoding="utf-8")
    assert "On predictions out of fold" in card
    assert load_bundle(folded.path).sha256 in card
    assert all(f"| fold {number} |" in card for number in range(FOLDS))
    runs = [folded.files, *(folded.files.fold(number) for number in range(FOLDS))]
    whole, *parts = (json.loads(run.environment.read_text())["training_seconds"] for run in runs)
    assert whole == pytest.approx(sum(parts), abs=0.01)
    assert all(run.card.is_file() for run in runs)


def test_all_folds_of_a_linear_head_are_one_pass_of_the_network(
    folded: Run, counts: _Counts
) -> None:
    """Heatmaps ask for the feature map too, and are counted apart; an export proves parity."""
    images = len(read_index_file(folded.files.index))
    assert counts.rows["embedding"] in (images, images + PARITY_IMAGES)


def test_the_report_shows_the_pool_the_folds_and_what_ignoring_groups_would_claim(
    folded: Run,
) -> None:
    oof = read_predictions(folded.files.predictions / "oof.parquet")
    metrics = json.loads((folded.files.report / "metrics.json").read_text(encoding="utf-8"))
    share = float((oof.predicted_N == oof.targets_N).mean())
    assert folded.report.part == "out of fold"
    assert folded.metrics["accuracy"].value == pytest.approx(share)
    assert folded.report.num_groups == 19
    assert f"{share:.6f}"[:6] in json.dumps(metrics)
    page = (folded.files.report / "index.html").read_text(encoding="utf-8")
    for text in ("Fold by fold", "fold 1", "<h2>Group leakage</h2>", "<em>out of fold</em>"):
        assert text in page
    child = (folded.files.fold(0).report / "index.html").read_text(encoding="utf-8")
    assert "<h2>Group leakage</h2>" not in child, "the parent says it once"


def test_predict_evaluate_and_explain_take_the_parent(
    folded: Run, specimens: Path, cli: Cli, tmp_path: Path
) -> None:
    index = read_index_file(folded.files.index)
    image = index.file(index.table["path"].iloc[0])
    code, out, _ = cli("predict", folded.path, image, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["bundle"] == load_bundle(folded.path).sha256
    code, out, _ = cli("explain", folded.path, image, "--output", tmp_path / "why.png")
    assert code == 0
    assert "mean over 2 members" in out
    assert f"{told['predictions'][0]['probability']:.3f}" in out
    code, out, _ = cli("evaluate", folded.path, specimens, "--output", tmp_path / "again")
    assert code == 0
    assert f"on {len(index)} images" in out


@pytest.mark.slow
def test_the_same_images_give_the_same_parent(specimens: Path, folded: Run, tmp_path: Path) -> None:
    again = holotype.train(
        specimens, output=tmp_path / "again", folds=FOLDS, recipe=folded.files.recipe
    )  # fmt: skip
    assert load_bundle(again.path).sha256 == load_bundle(folded.path).sha256


@pytest.mark.slow
def test_a_given_test_part_stands_outside_of_all_folds_and_is_read_by_the_mean(
    specimens: Path, tmp_path: Path
) -> None:
    lines = specimens.read_text(encoding="utf-8").splitlines()
    names = lines[0].split(",")
    groups = sorted({line.split(",")[names.index("group")] for line in lines[1:]})
    held_out = set(groups[::6])
    table = specimens.with_name("with-test.csv")
    rows = [lines[0] + ",split"]
    for line in lines[1:]:
        is_test = line.split(",")[names.index("group")] in held_out
        rows.append(line + (",test" if is_test else ",train"))
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    trained = holotype.train(table, output=tmp_path / "run", folds=2, **LINEAR)
    table.unlink()
    index = read_index_file(trained.files.index)
    tested = set(index.part("test").table["path"])
    assert tested
    assert (index.part("test").table["fold"] == -1).all()
    for number in range(2):
        seen = read_index_file(trained.files.fold(number).index).table["path"]
        assert not tested & set(seen)
    assert trained.report.part == "test"
    test = read_predictions(trained.files.predictions / "test.parquet")
    assert set(test.ids) == tested
    assert not tested & set(read_predictions(trained.files.predictions / "oof.parquet").ids)


@pytest.mark.parametrize("folds", [0, 1, 200])
def test_folds_that_cannot_be_filled_are_refused_before_anything_is_written(
    specimens: Path, tmp_path: Path, folds: int
) -> None:
    with pytest.raises(InvalidFolds):
        holotype.train(specimens, output=tmp_path / "run", folds=folds, **LINEAR)
    assert not (tmp_path / "run").exists()


def test_folds_without_a_validation_part_are_refused(specimens: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRatios, match="give it a share"):
        holotype.train(
            specimens, output=tmp_path / "run", folds=2, ratios=(0.8, 0.0, 0.2), **LINEAR,
        )  # fmt: skip


def test_folds_that_were_killed_go_on_and_end_with_the_same_parent(
    specimens: Path, folded: Run, tmp_path: Path
) -> None:
    """Killed after the first fold: the parent has nothing but that fold yet."""
    killed = RunDirectory(tmp_path / folded.path.name)
    shutil.copytree(folded.path, killed.path)
    for rest in (killed.fold(1).path, killed.bundle, killed.predictions, killed.report):
        shutil.rmtree(rest)
    untouched = (killed.fold(0).bundle / "manifest.json").stat().st_mtime_ns
    resumed = holotype.train(
        specimens, output=killed.path, folds=FOLDS, resuming=Resuming(resume=True), **LINEAR,
    )  # fmt: skip
    assert load_bundle(resumed.path).sha256 == load_bundle(folded.path).sha256
    assert (killed.fold(0).bundle / "manifest.json").stat().st_mtime_ns == untouched
    assert str(resumed.metrics["accuracy"]) == str(folded.metrics["accuracy"])


@pytest.mark.slow
def test_what_is_excluded_trains_no_fold_and_is_said_beside_the_score(
    specimens: Path, folded: Run, tmp_path: Path
) -> None:
    index = read_index_file(folded.files.index)
    named = index.table["path"].iloc[[3, 40, 80]].tolist()
    issues = tmp_path / "issues.csv"
    issues.write_text("\n".join(["path", *named]) + "\n", encoding="utf-8")
    trained = holotype.train(
        specimens, output=tmp_path / "run", folds=FOLDS,
        reading=ReadingOptions(exclude=issues), **LINEAR,
    )  # fmt: skip
    oof = read_predictions(trained.files.predictions / "oof.parquet")
    weight_of = dict(zip(oof.ids, oof.weights_N.tolist(), strict=True))
    assert {name for name, weight in weight_of.items() if weight == 0} == set(named)
    for number in range(FOLDS):
        table = read_index_file(trained.files.fold(number).index).table
        assert set(table[table["path"].isin(named)]["split"]) <= {"test"}
    page = (trained.files.report / "index.html").read_text(encoding="utf-8")
    assert "without the 3 images that were excluded on suspicion" in page
