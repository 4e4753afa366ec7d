"""Another version is taken while requests go on; one that must not answer is refused."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from holotype.bundle.bundle import load_bundle, write_bundle
from holotype.evaluation.build_report import build_report
from holotype.files import write_json
from holotype.pipeline.classifier import load
from holotype.predictions import read_predictions
from holotype.registry.registry import Registry
from holotype.run_directory import RunDirectory
from holotype.serving.traffic.version_check import VersionRefused, kept_images
from tests.bundle.tiny import backbone_model, head_model, manifest
from tests.comparison.made import write_class_folders, write_run
from tests.conftest import Cli
from tests.serving.clients import clients
from tests.serving.running import Running, running
from tests.serving.versions import DECISION, traffic, write_version

OPTIONS = ("--workers", 2)
REASON = "a test"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "registry"))
    return Registry()


def register(registry: Registry, bundle: Path) -> int:
    return registry.add(bundle, name="tiny").version


def promote(registry: Registry, version: int) -> None:
    registry.promote("tiny", version, force=True, reason=REASON)


def add_version(registry: Registry, folder: Path, seed: int) -> int:
    return register(registry, write_version(folder / f"version-{seed}", seed).path)


def add_corrupt(registry: Registry, folder: Path, seed: int) -> int:
    """A version whose file was damaged after it was registered."""
    version = add_version(registry, folder, seed)
    head = registry.version(f"tiny/{version}").bundle / "head.onnx"
    content = bytearray(head.read_bytes())
    content[len(content) // 2] ^= 1
    head.write_bytes(bytes(content))
    return version


def add_wrong_classes(registry: Registry, folder: Path, seed: int) -> int:
    classes = ("crack", "dark", f"other-{seed}")
    return register(registry, write_version(folder / f"v-{seed}", seed, classes=classes).path)


def add_slow(registry: Registry, folder: Path, seed: int, megabytes: int = 48) -> int:
    """A version that takes long to read, check and open."""
    backbone = backbone_model(seed)
    _add_weights(backbone, megabytes, seed)
    bundle = write_bundle(
        folder / f"slow-{seed}", backbone=backbone.SerializeToString(),
        head=head_model(seed).SerializeToString(), manifest=manifest(decision=DECISION),
    )  # fmt: skip
    return register(registry, bundle.path)


def _add_weights(model: ModelProto, megabytes: int, seed: int) -> None:
    """Weights that change nothing: the mean of a large array of zeros is added to the kernel."""
    large = np.zeros(megabytes << 18, np.float32)
    large[0] = seed * 1e-30
    model.graph.initializer.append(numpy_helper.from_array(large, "large"))
    model.graph.node.insert(0, helper.make_node("ReduceMean", ["large"], ["zero"], keepdims=0))
    model.graph.node.insert(1, helper.make_node("Add", ["kernel", "zero"], ["moved"]))
    model.graph.node[2].input[1] = "moved"


def wait_until(happened: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_champion(server: Running, version: int | None) -> None:
    wait_until(lambda: champion_of(server) == str(version))


def champion_of(server: Running) -> str:
    return str(traffic(server)["champion"]["version"])


def wait_for_refusal(server: Running, version: int) -> None:
    wait_until(lambda: str(version) in refused_of(server))


def refused_of(server: Running) -> dict[str, str]:
    return {one["version"]: one["reason"] for one in traffic(server)["refused"]}


KINDS = ("good", "corrupt", "good", "wrong", "slow", "good", "rollback", "corrupt", "good", "slow")


def make_swaps(registry: Registry, folder: Path, count: int) -> list[tuple[str, int]]:
    """(kind, version) of so many swaps."""
    makers = {
        "good": add_version, "corrupt": add_corrupt, "wrong": add_wrong_classes, "slow": add_slow,
    }  # fmt: skip
    swaps = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        made = makers[kind](registry, folder, number + 10) if kind in makers else 0
        swaps.append((kind, made))
    return swaps


@pytest.mark.parametrize(
    "count",
    [4, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_no_request_fails_while_versions_are_swapped(
    registry: Registry, images: list[Path], tmp_path: Path, count: int
) -> None:
    first = add_version(registry, tmp_path, 1)
    promote(registry, first)
    swaps = make_swaps(registry, tmp_path, count)
    seen = [first]
    with (
        running("registry://tiny@champion", *OPTIONS) as server,
        clients(server, images) as found,
    ):
        for kind, version in swaps:
            found.wait_for(20)
            answering = champion_of(server)
            if kind == "rollback":
                registry.rollback("tiny", reason=REASON)
                wait_for_champion(server, registry.current_version("tiny"))
                continue
            promote(registry, version)
            if kind in ("corrupt", "wrong"):
                wait_for_refusal(server, version)
                assert champion_of(server) == answering
                continue
            wait_for_champion(server, version)
            seen.append(version)
        found.wait_for(20)
        status = traffic(server)
    expected = {}
    for version in {*seen}:
        bundle = registry.version(f"tiny/{version}").bundle
        expected[load(bundle).digest] = load(bundle).predict(images)
    assert {reply.status for reply in found.replies} == {200}
    assert {reply.digest for reply in found.replies} == set(expected)
    for reply in found.replies:
        prediction = expected[reply.digest][reply.image]
        assert reply.label == prediction.label
        assert reply.probability == pytest.approx(prediction.probability, abs=1e-6)
    rollbacks = sum(kind == "rollback" for kind, _ in swaps)
    assert status["exchanges"] == len(seen) - 1 + rollbacks
    print(f"{count} swaps, {len(found.replies)} answers by {len(expected)} versions")


def test_a_refused_version_is_named_with_its_reason(
    registry: Registry, images: list[Path], tmp_path: Path
) -> None:
    good = add_version(registry, tmp_path, 1)
    promote(registry, good)
    with running("registry://tiny", *OPTIONS) as server:
        promote(registry, add_wrong_classes(registry, tmp_path, 2))
        wait_until(lambda: refused_of(server))
        assert "missing: fine; new: other-2" in refused_of(server)["2"]
        wait_until(lambda: any("tiny 2 was refused" in line for line in server.lines))
        promote(registry, good)  # which is in service
        wait_until(lambda: not refused_of(server))


def test_the_challenger_follows_its_alias_and_ends_with_it(
    registry: Registry, images: list[Path], tmp_path: Path
) -> None:
    versions = [add_version(registry, tmp_path, seed) for seed in range(3)]
    promote(registry, versions[0])
    options = ("--challenger", "registry://tiny@challenger", "--shadow")

    def challenger() -> Any:
        experiment = traffic(server)["experiment"]
        return experiment and experiment["challenger"]["version"]

    with running("registry://tiny@champion", *OPTIONS, *options) as server:
        assert challenger() is None
        registry.tag("tiny", versions[1], "challenger")
        wait_until(lambda: challenger() == str(versions[1]))
        registry.tag("tiny", versions[2], "challenger")
        wait_until(lambda: challenger() == str(versions[2]))
        promote(registry, versions[2])  # the challenger becomes the champion
        wait_for_champion(server, versions[2])
        assert challenger() is None
        registry.tag("tiny", versions[1], "challenger")
        wait_until(lambda: challenger() == str(versions[1]))
        registry.tag("tiny", None, "challenger")
        wait_until(lambda: challenger() is None)


def test_a_registry_that_is_gone_changes_nothing(
    registry: Registry, images: list[Path], tmp_path: Path
) -> None:
    promote(registry, add_version(registry, tmp_path, 1))
    with running("registry://tiny", *OPTIONS) as server, clients(server, images) as found:
        found.wait_for(5)
        shutil.move(tmp_path / "registry" / "registry.db", tmp_path / "gone.db")
        wait_until(lambda: any("cannot be asked" in line for line in server.lines))
        found.wait_for(20)
        shutil.move(tmp_path / "gone.db", tmp_path / "registry" / "registry.db")
        version = add_version(registry, tmp_path, 2)
        promote(registry, version)
        wait_for_champion(server, version)
    assert {reply.status for reply in found.replies} == {200}


def test_nothing_promoted_is_one_line(registry: Registry, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("serve", "registry://tiny@champion", "--port", 0)
    assert (code, err.count("\n")) == (1, 1)  # no registry at all
    add_version(registry, tmp_path, 1)
    code, _, err = cli("serve", "registry://tiny@champion", "--port", 0)
    assert code == 2
    assert "has no version there" in err
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with predictions of its validation images."""
    return write_finished_run(tmp_path_factory.mktemp("finished"), seed=3)


def write_finished_run(folder: Path, seed: int) -> RunDirectory:
    run = write_run(folder / "run", write_class_folders(folder / "noise"), seed=seed)
    report = build_report(read_predictions(run.predictions / "test.parquet"), part="test")
    write_json(run.report / "metrics.json", report.to_json())
    return run


def copy_with(run: RunDirectory, place: Path, change: float) -> RunDirectory:
    """A copy whose predictions say otherwise."""
    copied = RunDirectory(shutil.copytree(run.path, place))
    file = copied.predictions / "test.parquet"
    found = read_predictions(file)
    moved_NC = found.probabilities_NC * (1 - change) + change / len(found.classes)
    file.unlink()
    replace(found, probabilities_NC=moved_NC).write(file)
    return copied


def test_kept_images_are_those_that_are_still_at_hand(
    finished_run: RunDirectory, tmp_path: Path
) -> None:
    classes = load_bundle(finished_run.path).classes
    found = kept_images(finished_run.path, classes)
    assert len(found) >= 3
    own = load(finished_run.path)
    for image in found:
        np.testing.assert_allclose(
            own.predict(image.content).probabilities_NC[0], image.probabilities_C, atol=1e-6
        )
    with pytest.raises(VersionRefused, match="other classes"):
        kept_images(finished_run.path, ("a", "b"))
    assert kept_images(tmp_path, classes) == []
    copied = copy_with(finished_run, tmp_path / "broken", 0)
    (copied.predictions / "test.parquet").write_bytes(b"no table")
    with pytest.raises(VersionRefused, match="cannot be read"):
        kept_images(copied.path, classes)


def test_a_version_that_answers_otherwise_than_its_run_is_refused(
    finished_run: RunDirectory, registry: Registry, tmp_path: Path
) -> None:
    first = write_finished_run(tmp_path / "first", seed=4)
    changed = copy_with(finished_run, tmp_path / "changed", 0.3)
    for run in (first, changed):
        registry.add(run.path, name="noise")
    registry.promote("noise", 1, reason=REASON)
    with running("registry://noise", *OPTIONS) as server:
        registry.promote("noise", 2, force=True, reason=REASON)

        def refused() -> list[dict[str, str]]:
            status = httpx.get(f"{server.url}/v1/models/noise/traffic").json()
            found: list[dict[str, str]] = status["refused"]
            return found

        wait_until(refused)
        assert "otherwise than its own run did" in refused()[0]["reason"]
