"""Altered copies of every file that travels: refused with one line, or harmless.

Bits are flipped, files are cut, blocks are zeroed, values of JSON and YAML change their type or
become huge. Whatever is read after that is what was written, or a `HolotypeError` of one line.
"""

import random
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.bundle.combination import read_ensemble_weights
from holotype.bundle.manifest import read_manifest
from holotype.cache import ArrayCache, read_cached, write_cached
from holotype.dataset.index import read_index_file
from holotype.dataset.splitting.export_split import read_split_record
from holotype.ensembles.ensemble_recipe import EnsembleRecipe, MemberRecipe, read_ensemble_recipe
from holotype.ensembles.gain import (
    BestMemberComparison,
    DifferenceInterval,
    Gain,
    read_best_member_comparison,
)
from holotype.errors import DamagedCache, HolotypeError
from holotype.evaluation.report_data import read_report
from holotype.files import read_json, write_json, write_text
from holotype.predictions import read_predictions
from holotype.training.config.resolve import resolve_recipe
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.checkpoint import (
    read_stage_result,
    read_state,
    write_stage_result,
    write_state,
)
from holotype.training.finetuning.training_state import LoopState, StageResult

HUGE = ("1" + "0" * 400, "-1", "1e999", '"' + "x" * 100_000 + '"', "[" * 3000, "null", "true", "[]")


@dataclass(frozen=True)
class Travelling:
    """A file, and what is read from it.

    Attributes:
        file: below the folder.
        read: what was read, as a value that can be compared; raises a HolotypeError.
        exact: whether a changed value is a wrong one; else it is another file, and visibly so.
    """

    file: str
    read: Callable[[Path], object]
    exact: bool = True


def _index(folder: Path) -> object:
    index = read_index_file(folder / "run/index.parquet")
    return index.root, index.classes, index.table.to_csv()


def _predictions(folder: Path) -> object:
    found = read_predictions(folder / "run/predictions/test.parquet")
    return found.digest(), found.probabilities_NC.tobytes(), found.groups, found.folds_N.tobytes()


def _bundle(folder: Path) -> object:
    bundle = load_bundle(folder / "run")
    return bundle.sha256, bundle.conformal_scores is None, bundle.references is None


def _state(folder: Path) -> object:
    state = read_state(folder / "checkpoints", "top")
    assert state is not None
    return repr(state.trainable_state), repr(state.optimiser), state.epoch, repr(state.rows)


def _stage(folder: Path) -> object:
    found = read_stage_result(folder / "checkpoints", "head")
    assert found is not None
    return found[0].best_epoch, repr(found[0].rows), repr(found[1])


def _cache(folder: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedCache)
        cache = ArrayCache("features", "0" * 64)
        keys = [f"{n:064x}" for n in range(6)]
        found = {key: cache[key].tolist() for key in keys if key in cache}
        content = read_cached("graphs/one.onnx")
    # What is damaged is missing, and computed anew.
    if len(found) < len(keys) or content is None:
        raise HolotypeError("missing")
    return found, content


def _recipe(folder: Path) -> object:
    return resolve_recipe(folder / "run/recipe.yaml").to_yaml()


FILES = {
    "index": Travelling("run/index.parquet", _index),
    "predictions": Travelling("run/predictions/test.parquet", _predictions),
    "manifest": Travelling("run/bundle/manifest.json", _bundle),
    "manifest hash": Travelling("run/bundle/manifest.sha256", _bundle),
    "backbone": Travelling("run/bundle/backbone.onnx", _bundle),
    "head": Travelling("run/bundle/head.onnx", _bundle),
    "references": Travelling("run/bundle/references.npz", _bundle),
    "state": Travelling("checkpoints/top.state.safetensors", _state),
    "stage": Travelling("checkpoints/head.safetensors", _stage),
    "cached values": Travelling("cache/features/*/*.values.npy", _cache),
    "cached keys": Travelling("cache/features/*/*.keys", _cache),
    "cached graph": Travelling("cache/graphs/one.onnx", _cache),
    "recipe": Travelling("run/recipe.yaml", _recipe, exact=False),
    "ensemble recipe": Travelling(
        "ensemble.yaml", lambda folder: read_ensemble_recipe(folder / "ensemble.yaml"), exact=False
    ),
    "best member": Travelling(
        "best.json", lambda folder: read_best_member_comparison(folder / "best.json"), exact=False
    ),
    "metrics": Travelling(
        "run/report/metrics.json",
        lambda folder: str(read_report(folder / "run/report/metrics.json").metrics),
        exact=False,
    ),
    "environment": Travelling(
        "run/environment.json", lambda folder: read_json(folder / "run/environment.json"), False
    ),
    "split": Travelling(
        "split/split.json", lambda folder: read_split_record(folder / "split"), exact=False
    ),
    "manifest alone": Travelling("alone.json", lambda folder: _manifest(folder), exact=False),
    "weights": Travelling(
        "weights.json",
        lambda folder: _weights((folder / "weights.json").read_bytes()),
        exact=False,
    ),
}


def _manifest(folder: Path) -> object:
    return read_manifest((folder / "alone.json").read_bytes(), "it")


def _weights(content: bytes) -> object:
    try:
        return read_ensemble_weights(content, 2)
    except (ValueError, OverflowError, RecursionError) as error:  # as its one caller does
        raise HolotypeError(str(error).splitlines()[0]) from error


@pytest.fixture(scope="module")
def originals(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, a checkpoint, a cache and the other files, none of which may be changed."""
    import torch

    folder = tmp_path_factory.mktemp("travelling")
    holotype.train(
        synthetic, output=folder / "run", model="hog",
        overrides={"references": True, "stages.0.folds": 2},
    )  # fmt: skip
    shutil.copy(folder / "run/bundle/manifest.json", folder / "alone.json")
    metrics = EpochMetrics("top", 1, 0.5, 0.4, 0.9, 1e-3, 10)
    tensors = {"weight": torch.arange(600.0).reshape(20, 30), "bias": torch.zeros(20)}
    moments = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(20)}},
               "param_groups": [{"lr": 0.1, "params": [0]}]}  # fmt: skip
    state = LoopState(1, tensors, moments, {"last": 3}, metrics, tensors, 0.4, 1, [metrics])
    write_state(state, folder / "checkpoints", "top")
    write_stage_result(
        StageResult("head", 0, [metrics]), tensors, folder / "checkpoints", classes=["a", "b"]
    )
    member = MemberRecipe("runs/a", "0" * 64, "hog", {"a": 0.5, "b": 0.5})
    recipe = EnsembleRecipe("both", "auto", "greedy", "validation", "runs/a", (member, member))
    write_text(folder / "ensemble.yaml", recipe.to_yaml())
    gain = Gain("val", 9, DifferenceInterval(0.1, 0.0, 0.2), DifferenceInterval(0.1, 0.0, 0.2))
    comparison = BestMemberComparison("runs/a", gain, gain, 10.0, None)
    write_json(folder / "best.json", comparison.to_json())
    weights = {"format_version": 1, "num_members": 2, "weights": [[0.5, 0.5], [0.25, 0.75]]}
    write_json(folder / "weights.json", weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOTYPE_CACHE", str(folder / "cache"))
        cache = ArrayCache("features", "0" * 64)
        cache.add([f"{n:064x}" for n in range(6)], np.arange(60.0).reshape(6, 10))
        write_cached("graphs/one.onnx", bytes(range(256)) * 8)
    holotype.split(synthetic, output=folder / "split", link=True)
    return folder


def _altered(content: bytes, rng: random.Random) -> bytes:
    """One alteration of a file."""
    where = rng.randrange(len(content))
    kind = rng.choice(("bit", "bit", "cut", "zeros", "insert", "swap", "value"))
    if kind == "bit":
        return (
            content[:where] + bytes([content[where] ^ 1 << rng.randrange(8)]) + content[where + 1 :]
        )
    if kind == "cut":
        return content[:where]
    if kind == "zeros":
        return content[:where] + bytes(min(64, len(content) - where)) + content[where + 64 :]
    if kind == "insert":
        return content[:where] + rng.randbytes(rng.randint(1, 50)) + content[where:]
    if kind == "swap":
        return content[where:] + content[:where]
    values = list(re.finditer(rb'(?<=[:\[,]) *("[^"]*"|[-\d.e]+|null|true|false|\w+)', content))
    if not values:
        return content + b"\0" * 100
    value = rng.choice(values)
    other = rng.choice(HUGE).encode()
    return content[: value.start()] + b" " + other + content[value.end() :]


def _try(name: str, originals: Path, tmp_path: Path, count: int, seed: int) -> None:
    travelling = FILES[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOTYPE_CACHE", str(tmp_path / "cache"))
        folder = tmp_path
        shutil.copytree(originals, folder, symlinks=True, dirs_exist_ok=True)
        (file,) = folder.glob(travelling.file)
        (beside,) = originals.glob(travelling.file)
        expected = travelling.read(folder)
        content = file.read_bytes()
        rng = random.Random(f"{name} {seed}")
        for number in range(count):
            altered = _altered(content, rng)
            if travelling.read is _cache:  # damaged files were removed
                shutil.copytree(originals / "cache", folder / "cache", dirs_exist_ok=True)
            file.write_bytes(altered)
            said = ""
            try:
                found = travelling.read(folder)
            except HolotypeError as refusal:
                said = str(refusal)
            assert "\n" not in said, (name, number)
            assert len(said) < 2000, (name, number)
            if travelling.exact and not said:
                assert found == expected, (name, number)
        assert beside.read_bytes() == content


@pytest.mark.parametrize("name", FILES)
def test_an_altered_copy_is_refused_or_harmless(name: str, originals: Path, tmp_path: Path) -> None:
    _try(name, originals, tmp_path, count=15, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FILES)
def test_two_thousand_altered_copies_are_refused_or_harmless(
    name: str, originals: Path, tmp_path: Path
) -> None:
    _try(name, originals, tmp_path, count=2000, seed=1)


def test_aliases_cannot_use_up_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("\n".join(lines))
    for text in (bomb.read_text(), "a: &a [*a]", "", "\0\1\2", "- 1", "[" * 5000, "5: 6"):
        bomb.write_text(text)
        with pytest.raises(HolotypeError, match="bomb"):
            resolve_recipe(bomb)


@pytest.mark.parametrize(
    "setting",
    ["split=5", "stages.²=1", "stages.1.epochs=&a [*a]", "stages=5", "head=[]", "stages.0=x",
     "stages.0.Cs=.inf", "seed=!!python/object:os.system", f"seed={'1' * 5000}"],
)  # fmt: skip
def test_odd_settings_are_refused_with_one_line(setting: str) -> None:
    with pytest.raises(HolotypeError) as refusal:
        resolve_recipe("two_phase", overrides=[setting])
    assert "\n" not in str(refusal.value)
