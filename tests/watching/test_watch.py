"""`holotype watch`: quiet stays quiet, a change is an alarm by name, and nothing counts twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import holotype
from holotype.errors import DatasetError, NotABundle, RunLocked, UsageError
from holotype.run_directory import RunDirectory
from holotype.watching import take_windows
from holotype.watching.diagnosis import diagnose
from holotype.watching.diagnosis.change_kind import KindOfChange, kind_of_change
from holotype.watching.take_windows import WindowTaker
from holotype.watching.telling.messages import Telling
from holotype.watching.watch import WatchOptions
from holotype.watching.watch_state import read_state
from holotype.watching.watch_status import WatchStatus, read_watch
from holotype.watching.watched_images import WatchedImages
from tests.conftest import Cli
from tests.watching.made_log import Answered, MadeLog, answered, png, write_watched_run

OPTIONS = WatchOptions(window="100")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return write_watched_run(tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def alike(run: RunDirectory) -> Answered:
    rng = np.random.default_rng(1)
    return answered(run, [png(rng) for _ in range(300)])


@pytest.fixture(scope="module")
def darker(run: RunDirectory) -> Answered:
    rng = np.random.default_rng(2)
    return answered(run, [png(rng, level=105.0) for _ in range(300)])


@pytest.fixture
def log(tmp_path: Path) -> MadeLog:
    return MadeLog(tmp_path / "log")


def look(run: RunDirectory, log: MadeLog, **changes: object) -> holotype.Watch:
    output = log.folder.parent / "watch"
    changes = {"options": OPTIONS, **changes}
    return holotype.watch(run.path, log=log.folder, output=output, **changes)


def test_quiet_then_an_alarm_then_all_clear(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog
) -> None:
    log.add(alike, seed=1, windows=6)
    found = look(run, log)
    assert (found.alarm, found.new_windows) == (False, 6)
    assert found.status.accuracy["estimated"]["value"] is not None

    log.add(darker, seed=2, windows=2)
    found = look(run, log)
    assert found.alarm
    assert found.kind == "input"
    assert "brightness" in found.status.changes["monitors"]
    assert "brightness" in repr(found)
    assert len(found.status.changes["images"]) == 12
    page = (found.path / "index.html").read_text("utf-8")
    assert "brightness" in page
    assert (
        'holotype_watch_alarm{model="run",kind="input"} 1'
        in (found.path / "watch.prom").read_text()
    )
    assert read_watch(found.path) == found.status
    assert len(found.to_frame()) == 8

    log.add(alike, seed=3, windows=3)
    found = look(run, log)
    assert not found.alarm
    assert found.status.windows[-1].quiet


def test_the_kind_is_asked_again_of_all_changed_images_until_these_are_enough(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog
) -> None:
    options = WatchOptions(window="200")
    log.add(alike, seed=1, windows=2)
    log.add(darker, seed=2, windows=2)
    first = look(run, log, options=options).status.changes
    assert first["named"] == [{"kind": "input", "windows": 1, "images": 200}]
    assert first["asked_again"]
    log.add(alike, seed=3, windows=2)  # quiet by itself: it says nothing of the change
    assert look(run, log, options=options).status.changes == first

    log.add(darker, seed=4, windows=8)
    found = look(run, log, options=options)
    assert [each["images"] for each in found.status.changes["named"]] == [200, 400, 600]
    assert found.status.changes["images_looked_at"] == 600
    assert not found.status.changes["asked_again"]
    for text in (repr(found), found.page.read_text("utf-8")):
        assert "Named by 600 images of 3 windows; input by 400; input by 200." in text


def test_windows_that_are_quiet_one_by_one_and_not_together_are_no_all_clear(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def in_small(scores: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> bool:
        return len(scores["brightness"]) <= 100

    log.add(alike, seed=1, windows=2)
    log.add(darker, seed=2, windows=1)
    assert look(run, log).alarm
    with monkeypatch.context() as patch:
        patch.setattr(take_windows, "are_quiet", in_small)
        log.add(alike, seed=3, windows=3)
        found = look(run, log)
    assert [window.quiet for window in found.status.windows[-3:]] == [True] * 3
    assert found.alarm
    log.add(alike, seed=4, windows=1)
    assert not look(run, log).alarm


def test_an_alarm_that_comes_and_ends_between_two_looks_is_told(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    said: list[tuple[bool, str | None]] = []
    reachable = False

    def tell(status: WatchStatus, _: object) -> list[str]:
        said.append((status.alarm, status.kind))
        return [] if reachable else ["nobody is there"]

    monkeypatch.setattr("holotype.watching.watch.tell", tell)
    log.add(alike, seed=1, windows=6)
    log.add(darker, seed=2, windows=2)
    log.add(alike, seed=3, windows=3)
    found = look(run, log)
    assert (found.alarm, found.new_windows) == (False, 11)
    assert "there was an alarm, which has ended: run: input has changed" in str(found)
    assert (said, found.not_told) == ([(True, "input")], ("nobody is there",))
    reachable = True
    look(run, log)
    assert said[1:] == [(True, "input"), (False, None)]
    assert not look(run, log).ended
    assert len(said) == 3


def test_a_channel_that_fails_repeats_no_other(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    said: list[tuple[str, bool]] = []
    is_down = True

    def tell(status: WatchStatus, telling: Telling) -> list[str]:
        if telling.email and is_down:
            return ["the mail server is down"]
        said.append(("mail" if telling.email else telling.webhook or "caller", status.alarm))
        return []

    monkeypatch.setattr("holotype.watching.watch.tell", tell)
    telling = Telling(webhook="http://hook", email="me@example.org")
    log.add(alike, seed=1, windows=2)
    log.add(darker, seed=2, windows=2)
    for _ in range(3):
        assert look(run, log, telling=telling).not_told == ("the mail server is down",)
    assert said == [("caller", True), ("http://hook", True)]
    log.add(alike, seed=3, windows=6)
    for _ in range(2):
        assert not look(run, log, telling=telling).ended  # the caller was told of it
    assert said[2:] == [("caller", False), ("http://hook", False)]
    is_down = False
    assert not look(run, log, telling=telling).not_told
    assert said[4:] == [("mail", True), ("mail", False)]
    assert not look(run, log, telling=telling).ended
    assert len(said) == 6


def test_another_name_is_told_and_holds_for_the_accuracy_too(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def by_number(images: WatchedImages, reference: WatchedImages) -> KindOfChange:
        found = kind_of_change(images, reference)
        return replace(found, kind="novelty" if len(images) == 200 else "input")

    monkeypatch.setattr(diagnose, "kind_of_change", by_number)
    log.add(alike, seed=1, windows=3)
    log.add(darker, seed=2, windows=1)
    assert look(run, log).kind == "input"
    assert read_state(log.folder.parent / "watch").told["caller"].kind == "input"
    log.add(darker, seed=3, windows=1)
    found = look(run, log)
    assert found.kind == "novelty"
    assert read_state(log.folder.parent / "watch").told["caller"].kind == "novelty"
    log.add(alike, seed=4, windows=1)
    found = look(run, log)
    assert found.kind == "novelty"
    assert found.status.accuracy["estimated"]["value"] is None
    assert "unlike any" in found.status.accuracy["estimated"]["reason"]


def test_looking_again_takes_nothing_twice_and_a_kill_costs_nothing(
    run: RunDirectory, alike: Answered, log: MadeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.add(alike, seed=1, windows=3)
    output = log.folder.parent / "watch"
    with monkeypatch.context() as patch:
        taken = []

        def die_in_the_third(*arguments: object) -> None:
            taken.append(arguments)
            if len(taken) == 3:
                raise KeyboardInterrupt
            take(*arguments)

        take = WindowTaker.take
        patch.setattr(WindowTaker, "take", die_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            look(run, log)
    assert read_state(output).monitors.windows == 2
    found = look(run, log)
    assert found.new_windows == 1
    assert look(run, log).new_windows == 0
    again = holotype.watch(
        run.path, log=log.folder, output=log.folder.parent / "other", options=OPTIONS
    )
    assert again.new_windows == 3
    assert again.status.monitors == found.status.monitors
    assert again.status.windows == found.status.windows


def test_images_of_one_request_key_count_once(
    run: RunDirectory, alike: Answered, log: MadeLog
) -> None:
    log.add(alike, seed=1, windows=1, key="one specimen")
    log.add(alike, seed=2, windows=1)
    groups = [window.groups for window in look(run, log).status.windows]
    assert groups == [1, 100]


def test_errors_and_slow_answers_are_alarms_of_the_service(
    run: RunDirectory, alike: Answered, log: MadeLog
) -> None:
    log.add(alike, seed=1, windows=2)
    refused = Answered(
        [{**row, "probabilities": (), "embedding_D": None, "facts": None} for row in alike.rows]
    )
    log.add(refused, seed=2, windows=1, outcome="truncated_image")
    found = look(run, log)
    assert found.kind == "service"
    assert found.status.service["error_share"] == 1.0


def test_without_validation_the_first_images_of_the_log_are_the_reference(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog
) -> None:
    log.add(alike, seed=1, windows=10)
    log.add(darker, seed=2, windows=2)
    found = holotype.watch(
        run.bundle.rename(log.folder.parent / "bundle"), log=log.folder,
        output=log.folder.parent / "watch", options=OPTIONS,
    )  # fmt: skip
    (log.folder.parent / "bundle").rename(run.bundle)
    assert found.kind == "input"
    assert found.status.accuracy["estimated"]["value"] is None


def test_the_command_exits_with_1_on_an_alarm(
    run: RunDirectory, alike: Answered, darker: Answered, log: MadeLog, cli: Cli
) -> None:
    log.add(alike, seed=1, windows=2)
    words = ["watch", run.path, "--log", log.folder, "--window", "100", "--json"]
    words += ["--output", log.folder.parent / "watch"]
    code, out, _ = cli(*map(str, words))
    assert code == 0
    assert json.loads(out)["alarm"] is False
    log.add(darker, seed=2, windows=2)
    code, out, _ = cli(*map(str, words))
    assert code == 1
    assert json.loads(out)["kind"] == "input"


def test_what_cannot_work_is_refused_in_words(run: RunDirectory, log: MadeLog) -> None:
    with pytest.raises(DatasetError, match="no request log"):
        look(run, log)
    for wrong in ({"window": "3"}, {"window": "often"}, {"since": "lately"}, {"max_errors": 0.0}):
        with pytest.raises(UsageError):
            WatchOptions(**wrong)
    log.folder.mkdir()
    with pytest.raises(UsageError, match="every"):
        look(run, log, every="often")
    with pytest.raises(NotABundle):
        holotype.watch(run.path / "none", log=log.folder, output=log.folder.parent / "none")
    assert not (log.folder.parent / "none").exists()
    (log.folder.parent / "watch").mkdir()
    with FileLock(log.folder.parent / "watch" / ".lock"), pytest.raises(RunLocked):
        look(run, log)
