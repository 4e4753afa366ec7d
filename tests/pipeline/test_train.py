"""From a folder of images to a classifier that ships, on real parts."""

import csv
import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image as PillowImage

import holotype
import holotype.bundle.inference as inference
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.dataset.index import Index, read_index, read_index_file
from holotype.imaging.decode import decode
from holotype.pipeline.run import Run
from holotype.predictions import Predictions, read_predictions, softmax
from tests.bundle.tiny import predicted
from tests.conftest import Cli


def test_a_run_leaves_every_file_that_it_promises(finetuned: Run) -> None:
    run = finetuned.files
    files = (
        "recipe.yaml", "index.parquet", "train.log", "environment.json", "history.csv",
        "history.json", "class_names.json",
        "checkpoints/finetune.safetensors", "bundle/manifest.json", "bundle/backbone.onnx",
        "bundle/head.onnx", "predictions/val.parquet", "predictions/test.parquet",
        "audit/audit.json", "audit/issues.csv", "report/index.html", "report/metrics.json",
        "report/classification_report.txt", "report/learning_curves.png",
        "report/confusion_matrix.png", "report/roc.png", "report/reliability.png",
        "report/per_class.png", "report/gallery.png", "MODEL_CARD.md",
    )  # fmt: skip
    assert [name for name in files if not (run.path / name).is_file()] == []
    assert not list(run.path.rglob(".tmp-*"))


def test_history_and_names_of_classes_are_there_for_programs(finetuned: Run) -> None:
    run = finetuned.files
    rows = json.loads(run.history.with_suffix(".json").read_text())
    with run.history.open(encoding="utf-8") as file:
        for row, of_csv in zip(rows, csv.DictReader(file), strict=True):
            assert {key: "" if value is None else str(value) for key, value in row.items()} == {
                key: value.replace("nan", "") for key, value in of_csv.items()
            }
    assert rows[0]["train_accuracy"] is None
    assert all(0 < row["train_accuracy"] <= 1 for row in rows[1:])
    assert json.loads(run.class_names.read_text()) == list(load_bundle(run.path).classes)
    assert not run.stage("head").history.with_suffix(".json").exists()  # no epochs, no history


def test_the_card_says_what_ships_how_good_it_is_and_how_to_repeat_it(
    finetuned: Run,
) -> None:
    card = (finetuned.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    bundle = load_bundle(finetuned.path)
    accuracy = finetuned.metrics["accuracy"]
    assert bundle.sha256 in card
    assert f"accuracy **{accuracy.value:.3f}**" in card
    assert f"holotype train {read_index_file(finetuned.files.index).root}" in card
    assert bundle.manifest.weights is not None
    assert f"license: {bundle.manifest.weights.licence.lower()}\n" in card
    assert "No file is in two parts." in card


def test_what_training_cost_is_on_record(finetuned: Run) -> None:
    cost = json.loads(finetuned.files.environment.read_text())
    history = (finetuned.path / "train.log").read_text(encoding="utf-8").splitlines()
    began, ended = (datetime.fromisoformat(history[at].split()[0]) for at in (0, -1))
    assert 0 < cost["training_seconds"] <= (ended - began).total_seconds() + 2
    assert cost["training_resumed"] is False
    # An interpreter with torch in it takes more than this, and no test machine so much.
    assert 150 < cost["peak_memory_mb"] < 500_000


def test_it_learns_shapes(finetuned: Run) -> None:
    low = finetuned.metrics["accuracy"].low
    assert low is not None
    assert low > 1 / 3
    metrics = json.loads((finetuned.files.report / "metrics.json").read_text())
    assert set(metrics["accuracy"]) >= {"value", "low", "high"}
    assert set(metrics["per_class"]) == set(load_bundle(finetuned.path).classes)


def test_the_report_opens_offline(finetuned: Run) -> None:
    page = (finetuned.files.report / "index.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    for outside in ('src="http', 'href="http', "@import", 'src="/', "url(http"):
        assert outside not in page


def test_the_decision_was_fitted_on_validation(finetuned: Run) -> None:
    decision = load_bundle(finetuned.path).manifest.decision
    validation = read_predictions(finetuned.files.predictions / "val.parquet")
    assert decision is not None
    assert decision.predictions_sha256 == validation.digest()
    assert decision.num_images == len(validation)


def test_the_test_part_is_read_once_after_the_decision_is_sealed(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[set[str], bool]] = []
    predict = inference.predict_index

    def recorded(bundle: Bundle, index: Index, **options: object) -> object:
        read.append((set(index.table["path"]), bundle.manifest.decision is not None))
        return predict(bundle, index, **options)

    monkeypatch.setattr("holotype.pipeline.training_run.train_and_seal.predict_index", recorded)
    monkeypatch.setattr("holotype.pipeline.training_run.single_run.predict_index", recorded)
    monkeypatch.setattr("holotype.pipeline.training_run.calibrate.predict_index", recorded)
    trained = holotype.train(synthetic, output=tmp_path / "run", recipe="linear", image_size=64)
    index = read_index_file(trained.files.index)
    test = set(index.part("test").table["path"])
    looks = [sealed for paths, sealed in read if paths & test]
    assert looks == [True]


def _torch_probabilities(trained: Run, predictions: Predictions) -> np.ndarray:
    """The checkpoint in torch, image by image, through torch's own softmax."""
    import timm
    import torch
    from safetensors.torch import load_file

    from holotype.architectures.layer_groups import split_into_groups
    from holotype.architectures.torch_classifier import TorchClassifier

    bundle = load_bundle(trained.path)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    classifier = TorchClassifier(split_into_groups(network, 64), 1280, len(bundle.classes))
    classifier.load_state_dict(load_file(trained.files.checkpoints / "finetune.safetensors"))
    index = read_index_file(trained.files.index)
    images = np.stack([bundle.preprocessing.load(index.file(path)) for path in predictions.ids])
    with torch.no_grad():
        logits = classifier.eval()(torch.from_numpy(images))
    return np.asarray((logits.double() / bundle.temperature).softmax(dim=1).numpy())


def test_what_ships_says_what_torch_says(finetuned: Run) -> None:
    predictions = read_predictions(finetuned.files.predictions / "test.parquet")
    expected = _torch_probabilities(finetuned, predictions)
    assert np.abs(predictions.probabilities_NC - expected).max() < 1e-4


def test_predict_evaluate_and_the_api_give_the_same_probabilities(
    finetuned: Run, cli: Cli, tmp_path: Path
) -> None:
    index = read_index_file(finetuned.files.index)
    stored = read_predictions(finetuned.files.predictions / "test.parquet")
    files = [index.file(path) for path in stored.ids]

    api = predicted(load_bundle(finetuned.path), [*reversed(files)])
    assert np.abs(api.probabilities_NC[::-1] - stored.probabilities_NC).max() < 1e-6

    output = tmp_path / "answers.json"
    code, _, _ = cli("predict", finetuned.path, *files, "--output", output)
    answers = json.loads(output.read_text())["predictions"]
    classes = holotype.load(finetuned.path).classes
    told = np.array([[answer["probabilities"][c] for c in classes] for answer in answers])
    assert code == 0
    assert np.abs(told - stored.probabilities_NC).max() < 1e-6

    code, _, said = cli("evaluate", finetuned.path, index.root, "--output", tmp_path / "again")
    everything = read_predictions(tmp_path / "again" / "predictions.parquet")
    row = {name: n for n, name in enumerate(everything.ids)}
    same = everything.probabilities_NC[[row[name] for name in stored.ids]]
    assert code == 0
    page = (tmp_path / "again" / "report" / "index.html").read_text(encoding="utf-8")
    assert f"<h1>Evaluation on {index.root.name}</h1>" in page
    assert "<em>test</em>" not in page
    taught = len(index) - len(index.part("test"))
    assert f"{taught} of {len(index)} images taught this classifier" in page
    assert said.count("images taught this classifier") == 1
    assert np.abs(same - stored.probabilities_NC).max() < 1e-6


def test_workers_and_batches_do_not_change_a_probability(finetuned: Run) -> None:
    bundle = load_bundle(finetuned.path)
    index = read_index_file(finetuned.files.index).part("test")
    results = [
        inference.predict_index(bundle, index, use_cache=False, workers=workers).probabilities_NC
        for workers in (1, 2, 5)
    ]
    assert max(np.abs(result - results[0]).max() for result in results) < 1e-6


def test_explain_draws_an_image(finetuned: Run, cli: Cli, tmp_path: Path) -> None:
    index = read_index_file(finetuned.files.index)
    image, output = index.file(index.table["path"].iloc[0]), tmp_path / "why.png"
    code, _, _ = cli("explain", finetuned.path, image, "--output", output)
    assert code == 0
    assert PillowImage.open(output).size[0] > 64
    code, _, error = cli(
        "explain", finetuned.path, image, "--class", "dics", "--output", tmp_path / "x.png"
    )
    assert code == 2
    assert "did you mean 'disc'" in error


@pytest.fixture
def shuffled(synthetic: Path, tmp_path: Path) -> Path:
    """The same images, written to disk in another order."""
    folder = tmp_path / synthetic.name
    files = sorted(synthetic.glob("*/*.png"))
    for n in np.random.default_rng(1).permutation(len(files)):
        target = folder / files[n].relative_to(synthetic)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[n], target)
    return folder


def test_the_same_images_in_another_order_give_the_same_bundle(
    synthetic: Path, shuffled: Path, finetuned: Run, tmp_path: Path
) -> None:
    again = holotype.train(shuffled, output=tmp_path / "again", recipe=finetuned.files.recipe)
    assert load_bundle(again.path).sha256 == load_bundle(finetuned.path).sha256


def test_another_training_seed_is_tested_on_the_same_images(
    synthetic: Path, finetuned: Run, tmp_path: Path
) -> None:
    other = holotype.train(synthetic, output=tmp_path / "r", recipe="linear", image_size=64, seed=9)
    ids = [read_predictions(r.files.predictions / "test.parquet").ids for r in (other, finetuned)]
    assert ids[0] == ids[1]


def test_a_second_head_runs_the_network_not_once(
    synthetic: Path, finetuned: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import holotype.training.data.loader as loader
    import holotype.training.heads.logistic_regression as head

    counts = {"decode": 0, "run": 0}
    run, fit = onnxruntime.InferenceSession.run, head.fit_linear_head
    when_fitted: dict[str, int] = {}

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            counts[name] += 1
            return function(*arguments, **options)

        return call

    def recorded_fit(*arguments: object, **options: object) -> object:
        fitted = fit(*arguments, **options)
        when_fitted.update(counts)
        return fitted

    monkeypatch.setattr(loader, "decode", counted("decode", decode))
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", counted("run", run))
    monkeypatch.setattr("holotype.training.train_stages.fit_linear_head", recorded_fit)
    holotype.train(
        synthetic, output=tmp_path / "run", recipe="linear", image_size=64,
        overrides={"stages.0.folds": "3"},
    )  # fmt: skip
    assert when_fitted == {"decode": 0, "run": 0}


def test_a_table_with_test_but_no_val_has_its_validation_cut_from_train(
    synthetic: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    files = sorted(synthetic.glob("*/*.png"))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "weight"])
        for n, path in enumerate(files):
            writer.writerow(
                [path, path.parent.name, "test" if n % 4 == 0 else "train", 0.5 + n % 3]
            )
    trained = holotype.train(table, output=tmp_path / "run", recipe="linear", image_size=64)
    index = read_index_file(trained.files.index)
    expected_test = {n for n in range(len(files)) if n % 4 == 0}
    assert len(index.part("test")) == len(expected_test)
    assert len(index.part("val")) == pytest.approx(0.15 * (len(files) - len(expected_test)), abs=2)
    assert trained.metrics["accuracy_unweighted"].value is not None


def test_the_decision_makes_the_stored_probabilities(finetuned: Run) -> None:
    bundle = load_bundle(finetuned.path)
    stored = read_predictions(finetuned.files.predictions / "test.parquet")
    expected = softmax(stored.logits_NC, bundle.temperature)
    assert np.abs(stored.probabilities_NC - expected).max() < 1e-12


def test_random_weights_train_on_purpose(synthetic: Path, tmp_path: Path) -> None:
    trained = holotype.train(
        synthetic, output=tmp_path / "run", model="timm:test_resnet", image_size=32,
        overrides={
            "weights": "none", "epochs": 1,
            "stages.1.views": "1", "stages.1.augmentation": "null", "stages.1.trainable": "5",
        },
    )  # fmt: skip
    manifest = load_bundle(trained.path).manifest
    assert manifest.weights is None
    assert manifest.cam == "approximate"


@pytest.fixture
def with_bad_ones(tmp_path: Path) -> Path:
    """300 images, three of them broken."""
    from holotype.dataset.sources.synthetic import make_synthetic

    folder = make_synthetic(tmp_path / "data", classes=3, images=300, image_size=32, seed=5)
    first, second, third = sorted(folder.glob("*/*.png"))[:3]
    first.write_bytes(b"")
    second.write_text("not an image")
    third.write_bytes(third.read_bytes()[:200])
    return folder


def test_three_bad_images_of_300_cost_themselves_only(
    with_bad_ones: Path, tmp_path: Path, cli: Cli
) -> None:
    code, out, error = cli(
        "train", with_bad_ones, "--output", tmp_path / "run", "--recipe", "linear",
        "--image-size", 64, "--json",
    )  # fmt: skip
    summary = json.loads(out)
    assert code == 0
    assert len(summary["refused"]) == 3
    for name in summary["refused"]:
        assert Path(name).name in error
    index = read_index_file(Path(summary["run"]) / "index.parquet")
    assert len(index) == 297
    assert not set(summary["refused"]) & set(index.table["path"])


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_of_one_or_two_images_trains_and_says_what_is_missing(
    synthetic: Path, tmp_path: Path, cli: Cli, count: int
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(synthetic, folder)
    rare = sorted((folder / "disc").iterdir())
    for file in rare[count:]:
        file.unlink()
    code, _, error = cli(
        "train", folder, "--output", tmp_path / "run", "--recipe", "linear", "--image-size", 64
    )
    assert code == 0
    assert "The val part has no image of: disc" in error
    report = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "The val part has no image of: disc" in report
    assert "disc" in read_index(folder).classes


def test_a_given_split_that_leaks_is_said_beside_the_score(synthetic: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for n, file in enumerate(sorted(synthetic.glob("*/*.png"))):
        target = folder / ("test" if n % 4 == 0 else "train") / file.relative_to(synthetic)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    original = next((folder / "train").glob("*/*.png"))
    shutil.copyfile(original, folder / "test" / original.parent.name / "copy.png")
    trained = holotype.train(folder, output=tmp_path / "run", recipe="linear", image_size=64)
    report = (trained.files.report / "index.html").read_text(encoding="utf-8")
    assert "1 group or set of copies is in several parts" in report
