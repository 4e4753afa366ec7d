"""`holotype train`: the recipe that is printed is the recipe that is used."""

from pathlib import Path

import pytest
import yaml

from holotype.cli.app import run


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
    assert kept["split"] == {"ratios": [0.5, 0.25, 0.25], "seed": 8}
