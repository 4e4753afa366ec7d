"""From a name, a file of weights or a file of one's own to a backbone."""

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from holotype.architectures.build_backbone import NETWORKS, build_backbone
from holotype.architectures.catalog import CATALOG, code_identity
from holotype.architectures.pretrained_weights import NONE, WeightsSource, find_weights
from holotype.architectures.pruning import prune_backbone
from holotype.architectures.torch_classifier import (
    Backbone,
    EmbeddingHead,
    TorchClassifier,
    hash_weights,
)
from holotype.architectures.torch_export import weights_in_timm
from holotype.errors import (
    ExportRefused,
    InvalidRecipe,
    UnknownModel,
    WeightsMismatch,
    WeightsUnavailable,
)
from tests.architectures.images import soft_images

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_net.py"
NOTHING = WeightsSource("none", None, "none")


def _write(folder: Path, text: str) -> str:
    file = folder / "net.py"
    file.write_text("import torch\nfrom torch import nn\n" + text)
    return f"{file}:build"


def _built(model: str, size: int = 32, **options: object) -> Backbone:
    return build_backbone(model, NOTHING, size, seed=0, options=options)


def test_the_networks_from_nothing_are_those_of_the_catalogue() -> None:
    assert set(NETWORKS) == {row.name for row in CATALOG.values() if row.kind == "scratch"}


def test_weights_that_no_code_of_timm_fits_are_not_exported_for_it() -> None:
    pruned = _built("resnet18")
    prune_backbone(pruned, 32, 0.3, "resnet18")
    for backbone, name in ((pruned, "resnet18"), (_built("mobilenetv2", alpha=0.5), "mobilenetv2")):
        classifier = TorchClassifier(backbone, 4, 2)
        with pytest.raises(ExportRefused, match=f"this {name} was pruned, or has another width"):
            weights_in_timm(classifier, CATALOG[name], 32)
    classifier = TorchClassifier(_built("resnet18"), 4, 2)
    classifier.head = EmbeddingHead(4, 3, 2, 8.0)
    with pytest.raises(ExportRefused, match="a head that embeds is Holotype's own"):
        weights_in_timm(classifier, CATALOG["resnet18"], 32)


@pytest.mark.parametrize("name", ["cnn_v2_hybrid", "resnet18"])
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (
        hash_weights(build_backbone(name, NOTHING, 32, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_weights_of_a_file_are_loaded_into_a_network_from_nothing(tmp_path: Path) -> None:
    trained = build_backbone("cnn_v1", NOTHING, 32, seed=7)
    file = tmp_path / "cnn_v1.safetensors"
    safetensors.torch.save_file(trained.state_dict(), file)
    again = build_backbone("cnn_v1", find_weights("cnn_v1", str(file)), 32, seed=0)
    assert hash_weights(again) == hash_weights(trained)
    with pytest.raises(WeightsMismatch, match="architecture"):
        build_backbone("cnn_v2_dense", find_weights("cnn_v2_dense", str(file)), 32, seed=0)


def test_pretrained_weights_that_nobody_published_are_refused() -> None:
    with pytest.raises(WeightsUnavailable, match="train it from nothing"):
        find_weights("cnn_v1")
    with pytest.raises(WeightsUnavailable, match=r"mobilenetv2 of alpha 0\.6"):
        find_weights("mobilenetv2", options={"alpha": 0.6})
    with pytest.raises(WeightsUnavailable, match="hub cannot be reached"):
        find_weights("mobilenetv2", options={"alpha": 0.5})
    assert find_weights("hog").kind == "none"


def test_the_weights_of_googlenet_come_with_auxiliaries_and_without_their_last_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of torchvision, under the name and the hash of what torch downloads."""
    import hashlib

    import torchvision

    torch.manual_seed(3)
    network = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=True)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file = folder / Path(CATALOG["googlenet"].published.url or "").name
    torch.save(network.state_dict(), file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsMismatch, match="Delete it"):
        find_weights("googlenet")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(
        "holotype.architectures.pretrained_weights.sha256_of", lambda _: "1378be20" + sha256[8:]
    )
    source = find_weights("googlenet")
    assert source.kind == "cache"
    backbone = build_backbone("googlenet", source, 64, seed=0)
    network.fc = nn.Identity()
    x = soft_images(2, 64)
    with torch.no_grad():
        assert torch.equal(backbone(x)[0], network.eval()(x))
        auxiliary = backbone.auxiliaries["inception4a"](torch.ones(1, 512, 4, 4))
        expected = network.aux1
        expected.fc2 = nn.Identity()
        assert torch.equal(auxiliary, expected(torch.ones(1, 512, 4, 4)))


def test_a_download_fills_googlenet(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    torch.manual_seed(4)
    network = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=True)
    asked = []

    def download(url: str, **options: object) -> dict[str, Tensor]:
        asked.append((url, options["check_hash"], options["weights_only"]))
        return dict(network.state_dict())

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    source = WeightsSource("hub", None, "BSD-3-Clause")
    backbone = build_backbone("googlenet", source, 64, seed=0)
    assert asked == [(CATALOG["googlenet"].published.url, True, True)]
    assert torch.equal(
        backbone.state_dict()["groups.stem.0.conv.weight"], network.conv1.conv.weight
    )


def test_descriptors_are_no_network() -> None:
    with pytest.raises(InvalidRecipe, match="recipe svm"):
        _built("hog", 64)


def test_a_size_below_the_smallest_is_refused_before_anything_is_built() -> None:
    with pytest.raises(InvalidRecipe, match="nearest is 75"):
        _built("inception_v3", 64)


def test_a_transformer_of_timm_refuses_a_size_off_its_patches_in_one_line() -> None:
    with pytest.raises(InvalidRecipe, match="multiple of 16"):
        _built("timm:test_vit", 40)


# Yours


def test_the_example_is_a_chain_of_three_groups() -> None:
    backbone = _built(f"{EXAMPLE}:build", 64, width=4)
    assert len(backbone.groups) == 3
    with torch.no_grad():
        embedding, cells = backbone(soft_images(2, 64))
    assert embedding.shape == (2, 16)
    assert torch.allclose(cells.mean((2, 3)), embedding, atol=1e-6)


def test_an_embedding_ends_the_groups_where_the_map_ends(tmp_path: Path) -> None:
    model = _write(
        tmp_path,
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))\n",
    )
    backbone = _built(model)
    assert backbone.group_names == ["0", "2"]
    with torch.no_grad():
        embedding, cells = backbone(soft_images(2, 32))
    assert embedding.shape == (2, 5)
    assert cells.shape == (2, 6, 28, 28)


def test_a_network_that_is_no_chain_is_one_group(tmp_path: Path) -> None:
    model = _write(
        tmp_path,
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return torch.relu(self.a(x)) + self.b(x)\n"
        "def build():\n"
        "    return Net()\n",
    )
    backbone = _built(model)
    assert backbone.group_names == ["network"]
    with torch.no_grad():
        embedding, cells = backbone(soft_images(2, 32))
    assert torch.allclose(cells.mean((2, 3)), embedding, atol=1e-6)


def test_a_backbone_of_ones_own_keeps_its_groups(tmp_path: Path) -> None:
    model = _write(
        tmp_path,
        "from holotype.architectures.torch_classifier import Backbone\n"
        "def build():\n"
        "    low, high = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)\n"
        "    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    return Backbone({'low': low, 'high': high}, pool)\n",
    )
    assert _built(model).group_names == ["low", "high"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def build():\n    return [1, 2]\n", "returned list; expected a torch.nn.Module"),
        ("def build():\n    return 1 / 0\n", r"ZeroDivisionError: division by zero \(line 4\)"),
        ("def build(:\n", r"SyntaxError: .*\(line 3\)"),
        ("import no_such_thing\n", "ModuleNotFoundError: .*no_such_thing"),
        ("def build(width):\n    return nn.Flatten()\n", "TypeError: .*width"),
        (
            "def build():\n    return nn.Linear(3, 3)\n",
            "fails on images of 32 pixels",
        ),
        ("def build():\n    return nn.Flatten(0)\n", r"into a tensor of shape \(6144,\)"),
    ],
)
def test_a_file_that_gives_no_network_costs_one_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=words) as refusal:
        _built(_write(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_missing_function_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no file at"):
        _built(str(tmp_path / "absent.py") + ":build")
    model = _write(tmp_path, "def build_it():\n    return nn.Flatten()\n")
    with pytest.raises(UnknownModel, match="did you mean 'build_it'"):
        _built(model)


def test_the_identity_of_a_file_changes_with_its_code(tmp_path: Path) -> None:
    """Two networks of equal weights may compute different things."""
    model = _write(tmp_path, "def build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3))\n")
    before = code_identity(model)
    assert code_identity(model) == before
    _write(tmp_path, "def build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n")
    assert code_identity(model) != before
    assert code_identity("mobilenetv2", {"alpha": 0.5}) != code_identity("mobilenetv2")


def test_of_a_width_that_timm_has_the_network_is_timms() -> None:
    backbone = _built("mobilenetv2", 32, alpha=0.5)
    torch.manual_seed(0)
    expected = timm.create_model("mobilenetv2_050", num_classes=0).eval()
    x = soft_images(2, 32)
    with torch.no_grad():
        assert torch.equal(backbone(x)[0], expected(x))


def test_every_source_is_asked_for_no_weights() -> None:
    assert {find_weights(name, NONE).kind for name in CATALOG} == {"none"}
