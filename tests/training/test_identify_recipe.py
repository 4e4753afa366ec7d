"""The recipe `identify`: what it learns ships in the bundle, and the bundle embeds with it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.bundle.onnx_runtime import run_session
from holotype.dataset.index import read_index_file
from holotype.errors import InvalidRecipe
from holotype.pipeline.run import Run
from holotype.training.config.resolve import resolve_recipe
from holotype.training.heads.whitening import unit_length
from tests.training.tiny import NETWORK

SMALL = {
    "head.embedding": 8, "stages.1.epochs": 3, "stages.1.views": 2, "stages.1.batch_size": 12,
    "stages.1.images_per_identity": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny network with weights of its own."""
    import torch

    folder = tmp_path_factory.mktemp("network")
    (folder / "net.py").write_text(NETWORK)
    functions: dict[str, Any] = {}
    exec(NETWORK, functions)
    torch.manual_seed(9)
    torch.save(functions["build"]().state_dict(), folder / "w.pth")
    return str(folder)


def train(data: Path, output: Path, network: str, **changes: Any) -> Run:
    return holotype.train(
        data, output=output, recipe=changes.pop("recipe", "identify"),
        model=f"{network}/net.py:build", image_size=32,
        overrides={"weights": f"{network}/w.pth", **changes.pop("overrides", SMALL)}, **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def individuals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six individuals, each of a colour, 16 images of each."""
    folder = tmp_path_factory.mktemp("individuals") / "images"
    rng = np.random.default_rng(0)
    for number in range(6):
        (folder / f"turtle {number}").mkdir(parents=True)
        colour = np.array([(number + 1) & 4, (number + 1) & 2, (number + 1) & 1]) > 0
        for image in range(16):
            pixels = rng.integers(0, 120, (36, 36, 3)) + 90 * colour
            file = folder / f"turtle {number}" / f"{image:02}.png"
            PillowImage.fromarray(pixels.astype(np.uint8)).save(file)
    return folder


@pytest.fixture(scope="module")
def arcface(tmp_path_factory: pytest.TempPathFactory, individuals: Path, network: str) -> Run:
    return train(individuals, tmp_path_factory.mktemp("runs") / "arcface", network)


def embeddings(path: Path, data: Path) -> NDArray[np.float32]:
    files = sorted(data.rglob("*.png"))[::6]
    return holotype.load(path).embed(files)


def test_the_bundle_embeds_on_the_unit_sphere_and_still_classifies(
    arcface: Run, individuals: Path
) -> None:
    embedded_NE = embeddings(arcface.path, individuals)
    assert embedded_NE.shape[1] == 8
    np.testing.assert_allclose(np.linalg.norm(embedded_NE, axis=1), 1, atol=1e-5)
    assert arcface.metrics["accuracy"].value > 0.5  # of six classes
    manifest = load_bundle(arcface.path).manifest
    assert (manifest.embedding_size, manifest.cam) == (8, "none")


def test_logits_are_scaled_cosines_with_the_directions_of_classes(arcface: Run) -> None:
    bundle = load_bundle(arcface.path)
    unit_ND = unit_length(np.random.default_rng(0).normal(size=(5, 8))).astype(np.float32)
    (logits_NC,) = run_session(bundle.head, unit_ND, ["logits"])
    (probe_EC,) = run_session(bundle.head, np.eye(8, dtype=np.float32), ["logits"])
    np.testing.assert_allclose(np.linalg.norm(probe_EC, axis=0), 8, rtol=1e-5)
    np.testing.assert_allclose(logits_NC, unit_ND @ probe_EC, atol=1e-4)


def test_the_whitened_embedding_is_that_of_the_frozen_one(
    arcface: Run, individuals: Path, network: str, tmp_path: Path
) -> None:
    """The first stage of `identify`, and `identify_frozen`; and whitening by scikit-learn."""
    from sklearn.decomposition import PCA

    frozen = train(
        individuals, tmp_path / "frozen", network, recipe="identify_frozen",
        overrides={"head.embedding": 8},
    )  # fmt: skip
    linear = train(individuals, tmp_path / "linear", network, recipe="linear", overrides={})
    found = embeddings(frozen.path, individuals)
    np.testing.assert_array_equal(found, embeddings(arcface.path / "stages/whitening", individuals))
    index = frozen.path / "index.parquet"
    import pandas as pd

    table = pd.read_parquet(index)
    training = [individuals / path for path in table.loc[table["split"] == "train", "path"]]
    pooled_ND = unit_length(holotype.load(linear.path).embed(training).astype(np.float64))
    pca = PCA(pooled_ND.shape[1]).fit(pooled_ND)
    variance_D = pca.explained_variance_ * (len(pooled_ND) - 1) / len(pooled_ND)
    shrunken_D = 0.9 * variance_D + 0.1 * variance_D.mean()
    queries_ND = unit_length(embeddings(linear.path, individuals).astype(np.float64))
    expected = unit_length((pca.transform(queries_ND) / np.sqrt(shrunken_D))[:, :8])
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)


def test_runs_are_compared_by_searches_with_their_embeddings(arcface: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(arcface.path, run)
    both = [run, f"{run}@whitening"]
    found = holotype.compare(both, output=tmp_path / "out", speed_images=0)
    assert found.searches is not None
    assert found.searches.what == "training and test, with images of test"
    index = read_index_file(run / "index.parquet")
    assert found.searches.num_queries == len(index.part("test"))
    first, second = found.searches.scores["map"]
    (difference,) = found.searches.differences["map"][1:]
    assert difference is not None
    assert difference.value == pytest.approx(second.value - first.value)
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())["searches"]
    assert written["runs"][0]["map"]["value"] == first.value
    assert "Search for the same individual" in (tmp_path / "out" / "index.html").read_text()

    index.part("test").write(run / "unseen.parquet")  # as if their individuals had been held out
    apart = holotype.compare(both, speed_images=0).searches
    assert apart is not None
    assert apart.what == "individuals that did not train"


def test_each_class_has_the_direction_of_its_mean_embedding(
    individuals: Path, network: str, tmp_path: Path
) -> None:
    import pandas as pd

    changes = {**SMALL, "stages.1.loss": "triplet", "stages.1.margin": 0.5}
    run = train(individuals, tmp_path / "triplet", network, overrides=changes)
    table = pd.read_parquet(run.path / "index.parquet")
    training = table[table["split"] == "train"]
    embedded_NE = holotype.load(run.path).embed([individuals / path for path in training["path"]])
    (probe_EC,) = run_session(load_bundle(run.path).head, np.eye(8, dtype=np.float32), ["logits"])
    for number, name in enumerate(sorted(set(training["label"]))):
        mean_E = unit_length(embedded_NE[training["label"] == name].sum(axis=0, keepdims=True))[0]
        np.testing.assert_allclose(probe_EC[:, number] / 8, mean_E, atol=1e-3)
    history = pd.read_csv(run.path / "history.csv")
    assert history["val_loss"].notna().all()  # of a search among validation and training


def test_layers_of_the_network_train_too_and_a_run_may_start_from_another(
    individuals: Path, network: str, tmp_path: Path
) -> None:
    import pandas as pd

    deeper = {**SMALL, "stages.1.trainable": "all", "stages.1.learning_rate": 0.01}
    classes = train(
        individuals, tmp_path / "classes", network, recipe="scratch",
        overrides={"stages.0.epochs": 1, "stages.0.batch_size": 16},
    )  # fmt: skip
    warm = holotype.train(
        individuals, output=tmp_path / "warm", recipe="identify", image_size=32, overrides=deeper,
        model=f"{network}/net.py:build", resuming=holotype.Resuming(init_from=classes.path),
    )  # fmt: skip
    assert pd.read_csv(warm.path / "history.csv")["num_trainable_parameters"].max() > 8 * 9
    np.testing.assert_allclose(
        np.linalg.norm(embeddings(warm.path, individuals), axis=1), 1, atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages.1.loss": "cross_entropy", "stages.1.margin": None,
          "stages.1.validation_identities": None}, "it learns classes"),
        ({"head": None, "stages": [{"method": "whitening"}]}, None),
        ({"head.hidden": [8]}, "an embedding is learnt by one layer"),
        ({"stages.1.batch_size": 30}, "no multiple of images_per_identity"),
        ({"stages.1.loss": "triplet", "stages.1.sampling": "all",
          "stages.1.images_per_identity": None}, "triplet compares images"),
        ({"stages.1.label_smoothing": 0.1}, "takes no mixup"),
        ({"teacher.run": "somewhere"}, "leave the teacher out"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str | None) -> None:
    if said is None:
        assert resolve_recipe("identify", overrides=changes).head_spec.embedding == 128
        return
    with pytest.raises(InvalidRecipe, match=said):
        resolve_recipe("identify", overrides=changes)
