"""A finished run explains itself with gradients: its network in torch is the one that ships."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holotype.architectures.gradient_attribution import logits_of
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import read_index_file
from holotype.errors import ParityFailed, UsageError
from holotype.explanation.available_methods import ExplainMethod
from holotype.explanation.compute_heatmap import heatmap
from holotype.explanation.torch_models import TorchModels, rebuild_classifier
from holotype.pipeline.explain import (
    explain,
    explain_method_for,
    training_file_lookup,
)
from holotype.pipeline.run import Run
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import predicted
from tests.conftest import Cli


@pytest.fixture
def image(finetuned: Run) -> Path:
    index = read_index_file(finetuned.files.index)
    return index.file(index.part("test").table["path"].iloc[0])


def test_the_network_built_again_gives_the_logits_of_the_bundle(finetuned: Run) -> None:
    bundle = load_bundle(finetuned.path)
    index = read_index_file(finetuned.files.index)
    paths = [index.file(path) for path in index.part("val").table["path"][:6]]
    inputs_NCHW = np.stack([bundle.preprocessing.load(path) for path in paths])
    found_NC = logits_of(rebuild_classifier(finetuned.files, bundle), inputs_NCHW)
    expected_NC = predicted(bundle, paths).logits_NC
    np.testing.assert_allclose(found_NC, expected_NC, atol=1e-3)
    assert np.ptp(expected_NC, axis=0).max() > 0.1


@pytest.mark.parametrize("stage", ["head", "finetune"])
def test_a_stage_has_its_network_too(finetuned: Run, stage: str) -> None:
    """The linear stage leaves its head in the bundle, and pretrained weights below it."""
    path = f"{finetuned.path}@{stage}"
    classifier = TorchModels(path)(load_bundle(path))  # refuses another one
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_grad_cam_of_a_run_is_its_class_activation_map_but_for_the_bias(
    finetuned: Run, image: Path
) -> None:
    bundle = load_bundle(finetuned.path)
    explain_method = explain_method_for(finetuned.path, "gradcam")
    found, expected = (
        heatmap(bundle, image, 0, explain_method=each)
        for each in (explain_method, ExplainMethod("cam"))
    )
    assert found.method == "Grad-CAM of top"
    correlation = np.corrcoef(found.values_hw.ravel(), expected.values_hw.ravel())[0, 1]
    assert correlation > 0.9


def test_a_run_is_explained_from_the_command_line(
    finetuned: Run, image: Path, tmp_path: Path, cli: Cli
) -> None:
    run, output = finetuned.path, tmp_path / "why.png"
    words = ["explain", run, image, "--output", output, "--method", "gradcam++"]
    code, said, _ = cli(*words, "--layer", "block6")
    assert code == 0
    assert f"{output} (Grad-CAM++ of block6)" in said
    code, _, complaint = cli(*words, "--layer", "blokc6")
    assert code == 2
    assert "did you mean 'block6'" in complaint


def test_a_bundle_within_its_run_finds_it_and_a_copy_elsewhere_does_not(
    finetuned: Run, image: Path, tmp_path: Path
) -> None:
    inside = finetuned.files.bundle
    (one,) = explain(inside, image, output=tmp_path / "why.png", method="gradcam")
    assert one.method == "Grad-CAM of top"
    copy = shutil.copytree(inside, tmp_path / "copy")
    with pytest.raises(UsageError, match=r"name the run.*auto, cam, occlusion"):
        explain(copy, image, output=tmp_path / "why.png", method="gradcam")


def test_without_its_weights_a_run_is_explained_in_other_ways(
    finetuned: Run, image: Path, tmp_path: Path
) -> None:
    run = _copied(finetuned.files, tmp_path)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UsageError, match=r"no longer holds the weights.*occlusion"):
        explain(run.path, image, output=tmp_path / "why.png", method="gradcam")
    assert explain(run.path, image, output=tmp_path / "why.png")[0].sheet


def test_weights_that_are_not_those_of_the_bundle_are_refused(
    finetuned: Run, tmp_path: Path
) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    run = _copied(finetuned.files, tmp_path)
    (file,) = run.checkpoints.glob("*.safetensors")
    with safe_open(file, framework="numpy") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        note = opened.metadata()
    tensors["head.weight"] = tensors["head.weight"][::-1].copy()
    del note["sha256"]  # of the tensors: that they were changed is not to be noticed before
    save_file(tensors, file, metadata=note)
    with pytest.raises(ParityFailed, match="its bundle and its weights in torch"):
        rebuild_classifier(run, load_bundle(run.path))


def test_a_bundle_of_another_run_has_no_network_here(finetuned: Run, tmp_path: Path) -> None:
    from tests.bundle.tiny import write_tiny

    with pytest.raises(UsageError, match=r"the run that made .* is not within"):
        TorchModels(finetuned.path)(write_tiny(tmp_path / "other"))


def test_images_of_a_run_are_found_where_its_index_says(finetuned: Run, tmp_path: Path) -> None:
    find_file = training_file_lookup(finetuned.path)
    name = read_index_file(finetuned.files.index).table["path"].iloc[3]
    found = find_file(name)
    assert found is not None
    assert found.is_file()
    assert find_file("disc/never.png") is None
    copy = shutil.copytree(finetuned.files.bundle, tmp_path / "copy")
    assert training_file_lookup(copy)(name) is None


def _copied(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(run.path, tmp_path / "run"))


def test_a_file_of_the_users_is_not_run_to_explain(finetuned: Run) -> None:
    bundle = load_bundle(finetuned.path)
    own = replace(bundle, manifest=replace(bundle.manifest, model="my_net.py:build"))
    with pytest.raises(UsageError, match="run only by `holotype train --model`"):
        rebuild_classifier(finetuned.files, own)
