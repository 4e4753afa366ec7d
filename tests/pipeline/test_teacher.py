"""Distillation and pruning: what is learnt from a teacher, what is refused, what is cut."""

from pathlib import Path

import numpy as np
import pytest
import torch

import holotype
from holotype.errors import InvalidRecipe, SplitLeakage, UsageError
from holotype.pipeline.run import Run
from holotype.training.config.resolve import resolve_recipe
from holotype.training.finetuning.distillation import distillation_loss
from tests.conftest import Cli

SCRATCH = ["stages.0.epochs=2", "stages.0.views=1", "stages.0.augmentation=null"]


def _train(data: Path, output: Path, *more: str, seed: int = 0) -> Run:
    return holotype.train(
        data, output=output, model="cnn_baseline", recipe="scratch", image_size=32, seed=seed,
        overrides=[*SCRATCH, *more],
    )  # fmt: skip


def test_the_loss_is_smallest_where_the_student_says_what_the_teacher_says() -> None:
    teacher = torch.tensor([[0.7, 0.2, 0.1]])
    logits = torch.zeros(1, 3, requires_grad=True)
    for _ in range(400):
        (gradient,) = torch.autograd.grad(distillation_loss(logits, teacher, 3.0).sum(), logits)
        logits = (logits - 0.5 * gradient).detach().requires_grad_()
    assert torch.allclose((logits / 3.0).softmax(dim=1), teacher, atol=1e-3)
    # As large as the gradient of plain cross-entropy, whatever the temperature: section 2.
    sizes = []
    for temperature in (1.0, 8.0):
        start = torch.tensor([[0.1, 0.0, -0.1]], requires_grad=True)
        soft = (torch.tensor([[0.5, 0.0, -0.5]]) / temperature).softmax(dim=1)
        loss = distillation_loss(start, soft, temperature)
        sizes.append(float(torch.autograd.grad(loss.sum(), start)[0].norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)


@pytest.fixture(scope="module")
def teacher(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _train(synthetic, tmp_path_factory.mktemp("teacher") / "teacher", seed=5)


def test_a_student_learns_from_a_run_whose_digest_its_recipe_keeps(
    teacher: Run, synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, err = cli(
        "train", synthetic, "--model", "cnn_baseline", "--recipe", "scratch", "--image-size", 32,
        "--teacher", teacher.path, "--output", tmp_path / "student", "--set", "seed=5",
        *(word for each in SCRATCH for word in ("--set", each)),
    )  # fmt: skip
    assert code == 0, err
    student = Run(tmp_path / "student")
    assert isinstance(student.recipe, holotype.Recipe)
    assert student.recipe.teacher is not None
    assert student.recipe.teacher.sha256 == teacher.classifier.digest
    # Trained as its teacher was but for the teacher, and yet another network.
    assert student.recipe.seed == 5
    assert student.classifier.digest != teacher.classifier.digest
    assert "learning from" in (student.path / "train.log").read_text()


def test_a_teacher_that_saw_the_images_of_the_test_is_refused(
    teacher: Run, synthetic: Path, tmp_path: Path
) -> None:
    with pytest.raises(SplitLeakage, match=r"was trained on \d+ images"):
        _train(synthetic, tmp_path / "x", f"teacher.run={teacher.path}", "split_seed=7")
    with pytest.raises(UsageError, match="folds tests every image once"):
        holotype.train(
            synthetic, output=tmp_path / "x", model="cnn_baseline", recipe="scratch", folds=3,
            overrides=[*SCRATCH, f"teacher.run={teacher.path}"],
        )  # fmt: skip
    with pytest.raises(InvalidRecipe, match="no stage trains so"):
        resolve_recipe("linear", overrides={"teacher.run": str(teacher.path)})
    with pytest.raises(InvalidRecipe, match="holds the bundle"):
        _train(
            synthetic, tmp_path / "x", f"teacher.run={teacher.path}", f"teacher.sha256={'a' * 64}"
        )
    assert not (tmp_path / "x" / "recipe.yaml").exists()


def test_a_pruned_run_is_smaller_resumes_and_is_compared(
    teacher: Run, synthetic: Path, tmp_path: Path
) -> None:
    pruned = holotype.train(
        synthetic, output=tmp_path / "pruned", recipe="pruned",
        resuming=holotype.Resuming(init_from=teacher.path),
        overrides=["stages.0.epochs=1", "stages.0.views=1", "stages.0.augmentation=null"],
    )  # fmt: skip
    comparison = holotype.compare([teacher.path, pruned.path], output=tmp_path / "compared")
    before, after = (one.cost.parameters for one in comparison.candidates)
    assert before is not None
    assert after is not None
    assert after < 0.75 * before
    probabilities = pruned.classifier.predict_proba(synthetic)
    assert np.allclose(probabilities.sum(axis=1), 1)
    log = (pruned.path / "train.log").read_text()
    assert "pruned 30% of the channels" in log
    # The network can be built again, for gradients and exports in torch.
    found = holotype.export(pruned.path, formats=["pt2"], output=tmp_path / "exported")
    assert found.exports[0].parity is not None


def test_pruning_needs_a_stage_that_trains_everything() -> None:
    with pytest.raises(InvalidRecipe, match="trainable: all"):
        resolve_recipe("finetune", overrides={"pruning": 0.3})
    recipe = resolve_recipe("pruned", model="cnn_baseline")
    assert recipe.pruning == 0.3
