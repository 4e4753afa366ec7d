"""Each example runs, small; what trains in each epoch is what its schedule says.

A network of a few thousand weights stands for the real one; the slow tests take the real ones, with
random weights.
"""

from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
import timm
from torch import nn

import holotype
from examples import my_net
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import read_index_file
from holotype.pipeline.run import Run
from tests.examples import deep
from tests.examples.conftest import Images
from tests.examples.reduced import FOLDER, NAMES, VARIANTS, epochs_of, reduced, resolved

THREE_GROUPS = f"{FOLDER / 'my_net.py'}:build"
MANY_LAYERS = f"{Path(__file__).with_name('deep.py')}:build"


def train(images: Images, name: str, variant: str, output: Path, **changes: Any) -> Run:
    data, said = images(name)
    return holotype.train(data, output=output, **said, **reduced(name, variant, **changes))


def sizes(trained: Run) -> dict[str, int]:
    """How many numbers trained in each stage; the same in each of its epochs."""
    by_stage = {}
    for stage, epochs in groupby(epochs_of(trained.files), key=lambda row: row[0]):
        counts = [(epoch, size) for _, epoch, size in epochs]
        assert [epoch for epoch, _ in counts] == list(range(len(counts)))
        assert len({size for _, size in counts}) == 1
        by_stage[stage] = counts[0][1]
    return by_stage


def network_of(name: str) -> tuple[nn.Module, int]:
    """The network without its classifier, as timm or the file has it; and its width."""
    if name == THREE_GROUPS:
        return my_net.build(), 64  # 4 x 16
    if name == MANY_LAYERS:
        return deep.build(), deep.WIDTH
    network: Any = timm.create_model(name, num_classes=0)
    return network, network.num_features


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def top_layers(network: nn.Module, number: int) -> int:
    """Weights of so many modules from the top, in the order that timm lists them."""
    own = [list(module.parameters(recurse=False)) for module in network.modules()]
    return sum(p.numel() for layer in [one for one in own if one][-number:] for p in layer)


def head(width: int, classes: int, *hidden: int) -> int:
    widths = (width, *hidden, classes)
    return sum((a + 1) * b for a, b in pairwise(widths))


real = pytest.mark.slow


@pytest.mark.parametrize(
    ("model", "name"), [(THREE_GROUPS, THREE_GROUPS), pytest.param(None, "resnet18", marks=real)]
)
def test_turtles_thaw_one_group_more_in_each_stage(
    model: str | None, name: str, images: Images, tmp_path: Path
) -> None:
    trained = train(images, "turtles", "resnet18", tmp_path / "run", model=model)
    network, width = network_of(name)
    alone = head(width, 3)
    groups = list(network.children())[::-1]  # of a ResNet, the last two are pool and classifier
    groups = [group for group in groups if count(group)]
    assert sizes(trained) == {
        "frozen": alone,
        **{f"top{n}": alone + count(*groups[:n]) for n in (1, 2, 3)},
    }
    table = read_index_file(trained.files.index).table
    assert table["group"].nunique() == 30
    assert table.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("model", "name"), [(MANY_LAYERS, MANY_LAYERS), pytest.param(None, "resnet50", marks=real)]
)
def test_materials_train_a_dense_head_and_then_40_layers(
    model: str | None, name: str, images: Images, tmp_path: Path
) -> None:
    trained = train(images, "materials", "resnet50", tmp_path / "run", model=model)
    network, width = network_of(name)
    dense = head(width, 3, 512)
    assert sizes(trained) == {"head": dense, "finetune": dense + top_layers(network, 40)}


@pytest.mark.parametrize(
    ("model", "name"), [(MANY_LAYERS, MANY_LAYERS), pytest.param(None, "resnet50", marks=real)]
)
def test_cats_and_dogs_train_the_head_and_then_the_top_ten_layers(
    model: str | None, name: str, images: Images, tmp_path: Path
) -> None:
    # Several batches to a step, and as many epochs as the project has.
    trained = train(
        images, "cats_and_dogs", "resnet50", tmp_path / "run", model=model,
        stage={"epochs": 3, "accumulation": 2},
    )  # fmt: skip
    network, width = network_of(name)
    alone = head(width, 2)
    assert sizes(trained) == {"head": alone, "finetune": alone + top_layers(network, 10)}
    assert load_bundle(trained.path).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("variant", "model", "name"),
    [
        ("convnext_base", THREE_GROUPS, THREE_GROUPS),
        pytest.param("mobilenet", None, "mobilenetv1_100", marks=real),
    ],
)
def test_fossils_train_the_head_and_then_everything_by_specimen(
    variant: str, model: str | None, name: str, images: Images, tmp_path: Path
) -> None:
    trained = train(images, "fossils", variant, tmp_path / "run", model=model)
    network, width = network_of(name)
    alone = head(width, 3)
    assert sizes(trained) == {"frozen": alone, "finetune": alone + count(network)}
    table = read_index_file(trained.files.index).table
    assert table.groupby("group")["split"].nunique().max() == 1
    assert load_bundle(trained.path).preprocessing.content == "crop"
    log = trained.files.log.read_text(encoding="utf-8")
    assert "frozen: MixUp (alpha 0.2) on 20 % of the batches and CutMix (alpha 1) on 50 %" in log
    assert "frozen: CutMix cuts images, so nothing is kept of the frozen part" in log
    assert "finetune: CutMix cuts" not in log


@pytest.mark.parametrize("variant", ["classical_svm", pytest.param("classical_forest", marks=real)])
def test_eye_vs_ai_begins_with_descriptors(variant: str, images: Images, tmp_path: Path) -> None:
    trained = train(images, "eye_vs_ai", variant, tmp_path / "run")
    assert epochs_of(trained.files) == []
    assert load_bundle(trained.path).manifest.model == "hog+lbp+colour"


@pytest.mark.parametrize(
    ("name", "variant"),
    [("cats_and_dogs", "cnn_baseline"), pytest.param("eye_vs_ai", "cnn_v1", marks=real)],
)
def test_networks_from_nothing_train_whole_in_every_epoch(
    name: str, variant: str, images: Images, tmp_path: Path
) -> None:
    trained = train(images, name, variant, tmp_path / "run")
    # By hand: 3x3 convolutions without bias, a batch norm of two numbers a channel after each.
    expected = {
        "cnn_baseline": 93_472 + head(128, 2, 128),
        "cnn_v1": 388_896 + head(256, 3, 256),
    }
    assert sizes(trained) == {"scratch": expected[variant]}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name in NAMES for variant in VARIANTS[name]]
)
def test_every_variant_of_every_example_ends_in_a_bundle_and_a_report(
    name: str, variant: str, images: Images, tmp_path: Path
) -> None:
    trained = train(images, name, variant, tmp_path / "run")
    recipe = resolved(name, variant)
    bundle = load_bundle(trained.path)
    assert bundle.manifest.model == recipe.model
    assert bundle.manifest.decision is not None
    assert (trained.files.report / "index.html").is_file()
    assert trained.report.part == "test"
    assert trained.metrics["accuracy"].value is not None
    assert [stage for stage, _, _ in epochs_of(trained.files)] == [
        stage.name for stage in recipe.gradient_stages for _ in range(2)
    ]
