"""Retraining: a champion of upright digits, and labels of digits that a turned camera saw."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.dataset.index import read_index_file
from holotype.errors import DatasetError, RunExists, RunLocked, UsageError
from holotype.registry.registry import Registry
from holotype.watching.retraining import retrain as module
from holotype.watching.retraining import retraining_steps
from holotype.watching.watch_status import WatchedModel, WatchStatus, watch_folder
from tests.conftest import Cli
from tests.watching.digits import train_champion, write_folder, write_labels

CHAMPION = "registry://digits"
MARGIN = 0.2  # the test part is small


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a champion, and labels of turned digits."""
    root = tmp_path_factory.mktemp("retraining")
    run = train_champion(write_folder(root / "digits", range(120)), root / "runs" / "digits-1")
    registry = Registry(root / "registry")
    registry.add(run.path, name="digits")
    registry.promote("digits", 1, reason="the first")
    registry.close()
    write_labels(root / "labels", range(300, 380))
    return root


@pytest.fixture(autouse=True)
def registry(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A copy of the registry for each test; relative paths lie in a directory of its own."""
    shutil.copytree(place / "registry", tmp_path / "registry", symlinks=True)
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.chdir(tmp_path)
    return Registry(tmp_path / "registry")


@pytest.fixture(scope="module")
def retrained(place: Path, tmp_path_factory: pytest.TempPathFactory) -> holotype.Retraining:
    """A whole retraining, promoted; tests copy its directory."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("retrained")
        shutil.copytree(place / "registry", root / "registry", symlinks=True)
        patch.setenv("HOLOTYPE_REGISTRY", str(root / "registry"))
        patch.chdir(root)
        found = holotype.retrain(
            CHAMPION, labels=place / "labels", promote=True, margin=MARGIN, output=root / "out"
        )
        events = Registry(root / "registry").history("digits").events
        (root / "events.json").write_text(json.dumps([event.change for event in events]))
    return found


def test_a_candidate_that_has_proved_itself_is_promoted(retrained: holotype.Retraining) -> None:
    assert retrained.outcome == "promoted", retrained
    assert (retrained.champion, retrained.candidate) == (1, 2)
    assert retrained.decision is not None
    assert retrained.path is not None
    assert retrained.decision.fresh.candidate > retrained.decision.fresh.champion + 0.2
    assert retrained.decision.old.low > -MARGIN
    assert not retrained.failed
    events = json.loads((retrained.path.parent / "events.json").read_text())
    assert events[-3:] == ["tag challenger none → 2", "promote 1 → 2", "untag challenger 2 → none"]
    assert "promoted" in repr(retrained)
    assert "fresh labels" in retrained._repr_html_()
    assert json.dumps(retrained.to_json())


def test_old_images_keep_their_parts_and_random_ones_train_nothing(
    retrained: holotype.Retraining, place: Path
) -> None:
    assert retrained.path is not None
    old = read_index_file(place / "runs" / "digits-1" / "index.parquet").table
    now = read_index_file(retrained.path / "run" / "index.parquet").table
    parts = dict(zip(now["sha256"], now["split"], strict=True))
    assert {sha256: parts[sha256] for sha256 in old["sha256"]} == dict(
        zip(old["sha256"], old["split"], strict=True)
    )
    fresh = read_index_file(retrained.path / "fresh.parquet").table
    assert len(fresh) == retrained.images["fresh"]
    assert not set(fresh["sha256"]) & set(parts)
    assert retrained.images["train"] > retrained.images["val"] > 0


def test_the_same_words_change_nothing(
    retrained: holotype.Retraining, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retrained.path is not None
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(retrained.path.parent / "registry"))
    again = holotype.retrain(
        CHAMPION, labels=place / "labels", promote=True, margin=MARGIN, output=retrained.path
    )
    assert again.to_json() == retrained.to_json()
    with pytest.raises(RunExists, match="other words"):
        holotype.retrain(CHAMPION, labels=place / "labels", margin=0.5, output=retrained.path)


@pytest.mark.parametrize("last", ["result.json", "decision.json", "placement.json"])
def test_killed_before_a_step_it_goes_on(
    retrained: holotype.Retraining, place: Path, tmp_path: Path, last: str
) -> None:
    assert retrained.path is not None
    out = shutil.copytree(retrained.path, tmp_path / "out")
    names = ["placement.json", "decision.json", "result.json"]
    for name in names[names.index(last) :]:
        (out / name).unlink(missing_ok=True)
    found = holotype.retrain(
        CHAMPION, labels=place / "labels", promote=True, margin=MARGIN, output=out
    )
    assert found.outcome == "promoted"
    assert found.decision == retrained.decision
    assert Registry().current_version("digits") == 2


def test_killed_between_promotion_and_the_result_it_says_promoted(
    retrained: holotype.Retraining, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retrained.path is not None
    out = shutil.copytree(retrained.path, tmp_path / "out")
    (out / "result.json").unlink()
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(retrained.path.parent / "registry"))
    found = holotype.retrain(
        CHAMPION, labels=place / "labels", promote=True, margin=MARGIN, output=out
    )
    assert (found.outcome, found.champion, found.candidate) == ("promoted", 1, 2)


def test_without_promote_it_waits_as_challenger_and_is_promoted_later(
    retrained: holotype.Retraining, place: Path, tmp_path: Path, cli: Cli
) -> None:
    assert retrained.path is not None
    out = shutil.copytree(retrained.path, tmp_path / "out")
    (out / "result.json").unlink()
    words = ("retrain", CHAMPION, "--with", place / "labels", "--margin", MARGIN, "--output", out)
    code, said, told = cli(*words)
    assert code == 0
    assert "challenger" in said
    assert "--shadow" in told
    registry = Registry()
    assert registry.current_version("digits", "challenger") == 2
    assert registry.current_version("digits") == 1
    code, said, _ = cli(*words, "--promote", "--json")
    assert json.loads(said)["outcome"] == "promoted"
    assert registry.current_version("digits") == 2


def test_a_candidate_that_is_worse_is_registered_and_no_challenger(
    retrained: holotype.Retraining, place: Path, tmp_path: Path
) -> None:
    assert retrained.path is not None
    out = shutil.copytree(retrained.path, tmp_path / "out")
    (out / "result.json").unlink()
    decision = json.loads((out / "decision.json").read_text())
    decision["judgement"], decision["reasons"] = "reject", ["It is surely worse."]
    (out / "decision.json").write_text(json.dumps(decision))
    found = holotype.retrain(
        CHAMPION, labels=place / "labels", promote=True, margin=MARGIN, output=out
    )
    assert found.outcome == "rejected"
    assert found.failed
    assert Registry().current_version("digits", "challenger") is None
    assert Registry().current_version("digits") == 1


def test_a_burst_of_wrong_labels_is_refused_with_the_images(place: Path, cli: Cli) -> None:
    labels = write_labels(Path("wrong").absolute(), range(300, 420), wrong=0.15)
    code, said, _ = cli("retrain", CHAMPION, "--with", labels, "--promote")
    assert code == 1
    assert "refused" in said
    assert f"probably wrong: {labels}" in said
    out = Path("retrained/digits-1")
    issues = (out / "label_issues.csv").read_text()
    assert issues.count("label_error") >= 8
    assert not (out / "run").exists()
    assert Registry().current_version("digits", "challenger") is None


def test_a_label_that_misspells_a_class_is_refused(place: Path, cli: Cli) -> None:
    labels = write_labels(Path("misspelt").absolute(), range(300, 380))
    sheet = labels / "labels.csv"
    rows = sheet.read_text().splitlines()
    at = next(n for n, row in enumerate(rows) if row.endswith("chosen"))
    path, label, purpose = rows[at].split(",")
    rows[at] = ",".join([path, f"{label}\u200b", purpose])  # a zero-width space
    sheet.write_text("\n".join(rows) + "\n")
    code, said, _ = cli("retrain", CHAMPION, "--with", labels)
    assert code == 1
    assert f"'{label}\\u200b'), which the champion does not know, beside '{label}'." in said
    assert not Path("retrained/digits-1/run").exists()


def test_a_candidate_of_another_class_says_so_and_is_not_to_be_compared_by_a_server(
    place: Path, cli: Cli
) -> None:
    labels = write_labels(Path("more").absolute(), range(300, 380))
    sheet = labels / "labels.csv"
    rows = sheet.read_text().splitlines()
    at = next(n for n, row in enumerate(rows) if row.endswith("chosen"))
    rows[at] = ",".join([rows[at].split(",")[0], "letter", "chosen"])
    sheet.write_text("\n".join(rows) + "\n")
    code, said, more = cli("retrain", CHAMPION, "--with", labels, "--promote", "--margin", MARGIN)
    assert code == 0
    assert "outcome       challenger" in said
    assert "new classes   'letter'" in said
    assert "It knows 'letter' too, which the champion does not" in said
    assert "Next: holotype serve registry://digits@champion digits-2=registry://" in more
    assert "--challenger" not in more


def test_without_an_alarm_nothing_is_done(place: Path, registry: Registry) -> None:
    digest = registry.version("digits/1").bundle_sha256
    model = WatchedModel("digits", 1, digest, CHAMPION)
    WatchStatus(model, "log", "2026-11-26T00:00:00Z").write(Path("watch"))
    schedule = holotype.RetrainingSchedule(when="alarm", watch="watch")
    found = holotype.retrain(CHAMPION, labels="nowhere", schedule=schedule)
    assert found.outcome == "no alarm"
    assert not Path("retrained").exists()
    WatchStatus(model, "log", "2026-11-26T00:00:00Z").write(watch_folder("digits"))
    by_default = holotype.RetrainingSchedule(when="alarm")  # where `holotype watch` writes
    assert holotype.retrain(CHAMPION, labels="nowhere", schedule=by_default).outcome == "no alarm"
    WatchStatus(model, "log", "2026-11-26T00:00:00Z", alarm=True, kind="input").write(Path("watch"))
    with pytest.raises(DatasetError, match="holds no labels"):
        holotype.retrain(CHAMPION, labels="nowhere", schedule=schedule)


def test_only_one_retrains_a_name(place: Path, registry: Registry) -> None:
    with module._only_one(registry, "digits"), pytest.raises(RunLocked, match="another process"):
        holotype.retrain(CHAMPION, labels=place / "labels")


def test_a_budget_ends_a_training_and_the_next_call_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = holotype.RetrainingSchedule(budget="0.01s")
    with pytest.raises(holotype.HolotypeError, match="budget is used up"):
        holotype.retrain(CHAMPION, labels=place / "labels", margin=MARGIN, schedule=schedule)
    directory = Path("retrained/digits-1")
    assert (directory / "placement.json").is_file()
    monkeypatch.setattr(retraining_steps, "train_candidate", _stop)
    with pytest.raises(_Reached):
        holotype.retrain(CHAMPION, labels=place / "labels", margin=MARGIN)
    assert sorted(path.name for path in Path("retrained").iterdir()) == ["digits-1"]


class _Reached(Exception):
    pass


def _stop(*_: object, **__: object) -> None:
    raise _Reached


def test_refusals_say_what_to_do(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="starts from the champion"):
        holotype.retrain("registry://digits/1", labels=place / "labels")
    empty = write_labels(tmp_path / "empty", range(300, 304))
    (empty / "labels.csv").write_text("path,label\n0300.png,\n")
    with pytest.raises(DatasetError, match="no label came back: 1 images wait"):
        holotype.retrain(CHAMPION, labels=empty)
    only_random = write_labels(tmp_path / "random", range(300, 310), random=1.0)
    with pytest.raises(DatasetError, match="label chosen images too"):
        holotype.retrain(CHAMPION, labels=only_random)
    with pytest.raises(UsageError, match="trained only a head"):
        holotype.retrain(CHAMPION, labels=place / "labels", start="champion")


def test_labels_that_were_added_after_a_refusal_are_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = write_labels(tmp_path / "labels", range(300, 330), random=1.0)
    with pytest.raises(DatasetError, match="label chosen images too"):
        holotype.retrain(CHAMPION, labels=labels)
    sheet = labels / "labels.csv"
    sheet.write_text(sheet.read_text().replace("random", "chosen", 20))
    monkeypatch.setattr(retraining_steps, "train_candidate", _stop)
    with pytest.raises(_Reached):
        holotype.retrain(CHAMPION, labels=labels)
    assert (Path("retrained/digits-2") / "placement.json").is_file()


def test_an_old_image_that_changed_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sorted((place / "digits" / "0").iterdir())[0]
    content = first.read_bytes()
    try:
        first.write_bytes(sorted((place / "digits" / "1").iterdir())[0].read_bytes())
        with pytest.raises(DatasetError, match=rf"such as '0/{first.name}'"):
            holotype.retrain(CHAMPION, labels=place / "labels")
    finally:
        first.write_bytes(content)


def test_answers_of_both_are_on_disk(retrained: holotype.Retraining) -> None:
    import pandas as pd

    assert retrained.path is not None
    assert retrained.decision is not None
    for part, found in (("old_test", retrained.decision.old), ("fresh", retrained.decision.fresh)):
        table = pd.read_csv(retrained.path / f"{part}.csv")
        right = (table["candidate"] == table["label"]).mean()
        assert np.isclose(right, found.candidate)


def test_again_and_again_goes_on_after_an_error(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be done this time is said, and tried again after the pause."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise _Reached

    monkeypatch.setattr("time.sleep", pause)
    schedule = holotype.RetrainingSchedule(every="1h")
    with pytest.raises(_Reached):
        holotype.retrain(CHAMPION, labels="nowhere", schedule=schedule)
    assert all(3500 < seconds <= 3600 for seconds in pauses)
    with pytest.raises(UsageError, match="no duration"):
        holotype.RetrainingSchedule(every="soon")
    with pytest.raises(UsageError, match="above 0"):  # it would never pause
        holotype.RetrainingSchedule(every="0s")
