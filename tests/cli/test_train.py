"""`holotype train`: the recipe that is printed is the recipe that is used."""

from pathlib import Path

import pytest
import yaml

from holotype.cli.app import run
from holotype.cli.options import ratios_as_one_word
from holotype.errors import InvalidRatios
from holotype.training.config.resolve import resolve_recipe


def printed_recipe(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["train", "--print-recipe", *words]) == 0
    return capsys.readouterr().out


def test_a_printed_recipe_resolves_to_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = printed_recipe(capsys, "--recipe", "finetune", "--seed", "7", "--epochs", "2")
    (tmp_path / "mine.yaml").write_text(first)
    assert printed_recipe(capsys, "--recipe", str(tmp_path / "mine.yaml")) == first


@pytest.mark.parametrize(
    ("words", "keys", "value"),
    [
        (["--set", "stages.1.epochs=3"], ("stages", 1, "epochs"), 3),
        (["--epochs", "3"], ("stages", 1, "epochs"), 3),
        (["--set", "seed=9", "--set", "image_size=96"], ("image_size",), 96),
        (["--ratios", "0.6", "0.2", "0.2"], ("split", "ratios"), [0.6, 0.2, 0.2]),
        (["--ratios", "0.5", "0.2", "0.2", "0.1"], ("split", "ratios"), [0.5, 0.2, 0.2, 0.1]),
        (["--split-seed", "3"], ("split", "seed"), 3),
    ],
)
def test_an_option_changes_its_field(
    words: list[str],
    keys: tuple[str | int, ...],
    value: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    field = yaml.safe_load(printed_recipe(capsys, *words))
    for key in keys:
        field = field[key]
    assert field == value


def test_a_recipe_of_ones_own_keeps_its_split_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = printed_recipe(capsys, "--ratios", "0.5", "0.25", "0.25", "--split-seed", "8")
    (tmp_path / "mine.yaml").write_text(own)
    kept = yaml.safe_load(printed_recipe(capsys, "--recipe", str(tmp_path / "mine.yaml")))
    assert kept["split"] == {"ratios": [0.5, 0.25, 0.25], "seed": 8, "unseen": 0.0}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--set", "stages.1.epoch=3"], "did you mean 'epochs'"),
        (["--set", "stages.1.epochs=many"], "stages.1.epochs"),
        (["--recipe", "linear", "--weights", "none"], "trains only the head"),
        (
            ["--model", "hog", "--recipe", "finetune",
             "--set", "stages.1.mixup={alpha: 1, probability: 1}"],
            "nothing to train by gradient_descent",
        ),
        (["--image-size", "8"], "image_size 8 is refused"),
        (["--recipe", "linear", "--set", "head.hidden=[512]"], "fits a linear head"),
        (["--model", "NET:build"], "returned int; expected a torch.nn.Module"),
        (["--model", "NET:biuld"], "did you mean 'build'"),
        (["--recipe", "scratch", "--disk-budget", "lots"], "lots"),
    ],
)  # fmt: skip
def test_a_bad_recipe_is_one_clear_line(
    words: list[str],
    reason: str,
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    net = tmp_path / "net.py"
    net.write_text("def build():\n    return 3\n")
    words = [word.replace("NET", str(net)) for word in words]
    code = run(["train", str(synthetic), "--output", str(tmp_path / "run"), *words])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert reason in " ".join(lines[-1:])
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["train", "a", "--ratios", "0.6", "0.2", "0.2"], ["train", "a", "--ratios=0.6,0.2,0.2"]),
        (["train", "--ratios", ".5", "0", "-1", "a"], ["train", "--ratios=.5,0,-1", "a"]),
        (["train", "--ratios", "a", "--epochs", "3"], ["train", "--ratios", "a", "--epochs", "3"]),
        (["predict", "--", "--ratios", "1", "1"], ["predict", "--", "--ratios", "1", "1"]),
        (["train", "--ratios=0.6,0.2,0.2", "1"], ["train", "--ratios=0.6,0.2,0.2", "1"]),
    ],
)
def test_the_numbers_after_ratios_are_one_word_and_nothing_else_is(
    words: list[str], read: list[str]
) -> None:
    assert ratios_as_one_word(words) == read


@pytest.mark.parametrize("count", [0, 2, 5])
def test_another_number_of_ratios_is_refused_from_python_too(count: int) -> None:
    with pytest.raises(InvalidRatios, match=rf"got {count} ratios; .* or a fourth for cal"):
        resolve_recipe("linear", ratios=(1.0,) * count)
    assert resolve_recipe("linear", ratios=(0.5, 0.2, 0.2, 0.1)).split.ratios[3] == 0.1
