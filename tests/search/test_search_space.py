"""The tables of what is searched, and what is refused in a table of one's own."""

from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml

from holotype.architectures.catalog import architecture
from holotype.errors import HolotypeError, UsageError
from holotype.progress import parse_duration
from holotype.search.asking import Asker
from holotype.search.median_pruning import is_below, thresholds
from holotype.search.running import Running
from holotype.search.search_space import family_space, read_space
from holotype.search.trial_recipe import trial_recipe
from holotype.search.trial_record import TrialRecord
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from tests.conftest import Cli

BASES = {
    "heads": {"recipe": "linear"},
    "pretrained": {"recipe": "finetune"},
    "scratch": {"model": "cnn_v1"},
    "classical": {"model": "hog+lbp"},
}


def _base(name: str) -> Recipe:
    return resolve_recipe(**BASES[name])


@pytest.mark.parametrize("name", BASES)
def test_whatever_a_table_draws_is_a_recipe_that_works(name: str) -> None:
    base = _base(name)
    space = family_space(name, base)
    seen: dict[str, set[str]] = {}
    for batch in range(12):
        for params in Asker(space, batch, 4).ask(0):
            recipe = trial_recipe(base, space, params)
            assert recipe.split == base.split
            for key, value in params.items():
                seen.setdefault(key, set()).add(str(value))
            if "stages.0.Cs" in params:
                assert recipe.stages[0].Cs == (params["stages.0.Cs"],)
            if params.get("model", base.model) != base.model:
                assert recipe.model == params["model"]
    assert all(len(seen[row.key]) > 1 for row in space.searched if len(row.choices or "ab") > 1)


def test_another_model_brings_its_own_head_and_image_size(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("- {key: model, choices: [cnn_v1, cnn_v2_dense]}")
    base = resolve_recipe(model="cnn_v1", image_size=96, overrides={"epochs": 3})
    space = read_space(file, base)
    same, other = (
        trial_recipe(base, space, {"model": model}) for model in ("cnn_v1", "cnn_v2_dense")
    )
    assert same.image_size == 96
    assert other.image_size == architecture("cnn_v2_dense").inputs.image_size
    assert other.head != base.head
    assert other.stages[0].epochs == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: hog", "a list of rows"),
        ("- {key: a}", "row 1: expected choices, or low and high"),
        ("- {key: a, choices: []}", "row 1: choices are empty"),
        ("- {key: a, low: 3, high: 1}", "low 3 is not below high 1"),
        ("- {key: a, low: 0, high: 1, log: true}", "log needs a low above 0"),
        ("- {key: a, lowest: 0, high: 1}", "row 1: lowest"),
        ("- {key: a, choices: [1]}", "nothing to search"),
        ("- {key: a, choices: [1, 2]}\n- {key: a, choices: [3, 4]}", "has two rows"),
        ("- {key: [", "not YAML"),
    ],
)
def test_a_wrong_table_is_one_clear_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_space(file, _base("heads"))
    assert "\n" not in str(caught.value)


def test_the_printed_table_can_be_edited_and_read_back(tmp_path: Path, cli: Cli) -> None:
    code, out, _ = cli("tune", "--heads", "--print-space")
    assert code == 0
    file = tmp_path / "space.yaml"
    file.write_text(out)
    base = _base("heads")
    assert read_space(file, base) == family_space("heads", base)
    assert len(yaml.safe_load(out)) == out.count("\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials", "0"], "--trials is 0"),
        (["--budget", "soon"], "no duration"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--on", "cloud"], "local, ray"),
        (["--space", "nowhere.yaml"], "cannot be read"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    words: list[str], said: str, tmp_path: Path, synthetic: Path, cli: Cli
) -> None:
    code, _, err = cli("tune", synthetic, "--output", tmp_path / "s", *words)
    assert code == 2
    assert said in err
    assert not (tmp_path / "s").exists()


def test_durations_are_read_as_people_write_them() -> None:
    assert parse_duration("90m") == 5400
    assert parse_duration("1h30m") == 5400
    assert parse_duration("45 s") == 45
    assert parse_duration(" 1.5H ") == 5400
    assert parse_duration("2w 7d") == 21 * 86400
    for odd in ("7", "week", "1h30", "", "-1h"):
        with pytest.raises(UsageError, match="is no duration"):
            parse_duration(odd)
    with pytest.raises(HolotypeError):
        Running(jobs=-1)


def test_the_median_rule_is_that_of_optuna() -> None:
    """On random histories of random lengths, at every epoch of every trial."""
    rng = np.random.default_rng(0)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3)
    decisions = []
    for _ in range(40):
        complete = [
            TrialRecord(n, "complete", accuracy=0.5, epochs=tuple(rng.random(rng.integers(1, 9))))
            for n in range(int(rng.integers(3, 12)))
        ]
        study = optuna.create_study(direction="maximize", pruner=pruner)
        for record in complete:
            values = dict(enumerate(record.epochs))
            study.add_trial(optuna.trial.create_trial(value=0.5, intermediate_values=values))
        trial, limits, epochs = study.ask(), thresholds(complete), []
        for step in range(9):
            epochs.append(float(rng.random()) / 2)
            trial.report(epochs[-1], step)
            decisions.append(trial.should_prune())
            assert is_below(epochs, limits) == decisions[-1]
    assert 0.1 < np.mean(decisions) < 0.9
