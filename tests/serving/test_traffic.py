"""Two versions in service: who answers, what is logged, and what feedback says of them."""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from holotype.errors import UsageError
from holotype.pipeline.classifier import load
from holotype.serving.deployment import AnsweredImage, ModelVersion, Route
from holotype.serving.engine.frames import BACKGROUND
from holotype.serving.request_log.log_row import embeddings_ND
from holotype.serving.request_log.read_log import LogQuery, read_feedback, read_log
from holotype.serving.server_status import ServerUnreachable, server_status
from holotype.serving.traffic.experiment import Experiment, ExperimentPlan
from holotype.serving.traffic.rollout import Rollout, RolloutPlan, percentages
from holotype.serving.traffic.traffic_options import TrafficOptions
from tests.bundle.tiny import manifest, write_images
from tests.conftest import Cli
from tests.serving.load_generator import Load, http_request
from tests.serving.running import Running, running
from tests.serving.slow_bundle import write_slow
from tests.serving.versions import ask, ask_often, tell, traffic, write_version


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Champion and challenger, as bundles."""
    folder = tmp_path_factory.mktemp("versions")
    return write_version(folder / "0", 0).path, write_version(folder / "1", 1).path


def log_of(folder: Path, *columns: str, rows: int) -> dict[str, np.ndarray]:
    """The log once it has so many rows, which is soon."""
    deadline = time.monotonic() + 10
    while True:
        found = read_log(folder, 0, time.time() + 1, LogQuery(columns=columns))
        if len(found[columns[0]]) >= rows or time.monotonic() > deadline:
            assert len(found[columns[0]]) == rows
            return found
        time.sleep(0.05)


def digest_of(path: Path) -> str:
    return load(path).digest


def test_keys_stay_on_one_arm_and_both_arms_answer_as_themselves(
    versions: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    expected = {digest_of(path): load(path).predict(images) for path in versions}
    log = tmp_path / "log"
    with running(
        versions[0], "--workers", 1, "--challenger", versions[1], "--share", 50, "--log", log
    ) as server:
        keys = [f"client-{number}" for number in range(40)]
        arms: dict[str, set[str]] = {}
        answers = ask_often(server, images, [*keys, *keys])
        for number, (key, answer) in enumerate(zip([*keys, *keys], answers, strict=True)):
            found = answer.json()
            arms.setdefault(key, set()).add(found["digest"])
            prediction = expected[found["digest"]][number % len(images)]
            assert found["predictions"][0]["class"] == prediction.label
            assert found["predictions"][0]["probability"] == pytest.approx(
                prediction.probability, abs=1e-6
            )
        assert all(len(digests) == 1 for digests in arms.values())
        assert 8 <= sum(digests == {digest_of(versions[1])} for digests in arms.values()) <= 32

        for answer in answers[:40]:
            assert tell(server, answer, "crack").status_code == 200
        assert tell(server, answers[0], "dark").status_code == 200  # counts no second time
        status = traffic(server)
        experiment = status["experiment"]
        arm_counts = experiment["arms"]
        assert sum(arm["requests"] for arm in arm_counts.values()) == 80
        assert sum(arm["labelled"] for arm in arm_counts.values()) == 40
        right = sum(a.json()["predictions"][0]["class"] == "crack" for a in answers[:40])
        assert sum(arm["right"] for arm in arm_counts.values()) == right
        assert arm_counts["challenger"]["latency_ms"]["p50"] > 0
        (ratio,) = experiment["sample_ratio"]["requests"]
        assert ratio["champion"] + ratio["challenger"] == 40  # a key counts once
        assert not experiment["sample_ratio"]["mismatch"]
        difference = arm_counts["challenger"]["accuracy"] - arm_counts["champion"]["accuracy"]
        test = experiment["test"]
        assert test["difference_low"] <= difference <= test["difference_high"]
        text = httpx.get(f"{server.url}/metrics").text
        assert "holotype_log_alive 1.0" in text

        found = log_of(log, "digest", "arm", "key", "request_id", "experiment", rows=80)
        assert list(found["digest"]) == [answer.json()["digest"] for answer in answers]
        assert set(found["experiment"]) == {experiment["id"]}
        assert len(set(found["key"])) == 40
        server.terminate()
    feedback = read_feedback(log)
    assert len(feedback["label"]) == 41
    joined = read_log(log, 0, time.time() + 1, LogQuery(columns=("label",)))
    assert sum(label is not None for label in joined["label"]) == 40
    assert joined["label"][0] == "dark"


def test_a_row_of_the_log_says_what_was_answered(
    versions: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with running(versions[0], "--workers", 1, "--log", log, "--image-days", 1) as server:
        answer = ask(server, images[0])
        refused = httpx.post(
            f"{server.url}/v1/models/tiny/predict", content=images[1].read_bytes()[:-50],
            headers={"content-type": "image/png"},
        )  # fmt: skip
        assert refused.status_code == 422
        log_of(log, "outcome", rows=2)
        server.terminate()
    found = read_log(log, 0, time.time() + 1)
    assert found["outcome"].tolist() == ["answered", "truncated_image"]
    assert found["request_id"][0] == answer.json()["request_id"]
    assert found["top_classes"][0][0] == answer.json()["predictions"][0]["class"]
    expected = load(versions[0]).predict(images[0])
    np.testing.assert_allclose(found["probabilities"][0], expected.probabilities_NC[0], atol=1e-6)
    embedding = embeddings_ND([found["embedding"][0]])
    np.testing.assert_allclose(embedding, load(versions[0]).embed(images[0]), rtol=2e-3, atol=1e-3)
    assert found["image_format"][0] == "PNG"
    assert found["image_width"][0] == 40
    assert 0 < found["image_brightness"][0] < 1
    assert (log / found["image_file"][0]).read_bytes() == images[0].read_bytes()
    assert found["key"].tolist() == ["", ""]
    assert found["total_ms"][0] >= found["inference_ms"][0] > 0


def ask_until_shadowed(server: Running, image: Path) -> httpx.Response:
    """The first answer for an image that the challenger, which is shed first, predicted too."""
    before = traffic(server)["experiment"]["answered_by_both"]
    for _ in range(20):
        answer = ask(server, image)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            counts = traffic(server)["experiment"]
            if counts["answered_by_both"] > before:
                return answer
            if counts["arms"]["shadow"]["requests"] >= counts["arms"]["champion"]["requests"]:
                break  # it was shed
            time.sleep(0.05)
        time.sleep(0.3)
    raise AssertionError("the challenger never had time")


def test_shadow_answers_are_logged_and_never_seen(
    versions: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    champion, challenger = map(digest_of, versions)
    log = tmp_path / "log"
    options = ("--workers", 1, "--challenger", versions[1], "--shadow", "--log", log)
    with running(versions[0], *options) as server:
        answers = []
        for image in images:
            answers.append(ask_until_shadowed(server, image))
        assert {answer.json()["digest"] for answer in answers} == {champion}
        for answer in answers:
            tell(server, answer, "fine")
        experiment = traffic(server)["experiment"]
        assert experiment["answered_by_both"] == 12
        names = [load(path).predict(images).labels for path in versions]
        agree = sum(a == b for a, b in zip(*names, strict=True))
        assert experiment["agreement"] == pytest.approx(agree / 12)
        assert [experiment["arms"][arm]["labelled"] for arm in ("champion", "shadow")] == [12, 12]
        before = experiment["test"]
        server.terminate()
    found = read_log(log, 0, time.time() + 1, LogQuery(("arm", "digest", "request_id", "outcome")))
    answered = found["outcome"] == "answered"
    assert set(zip(found["arm"][answered], found["digest"][answered], strict=True)) == {
        ("champion", champion), ("shadow", challenger),
    }  # fmt: skip
    assert len(found["arm"][answered & (found["arm"] == "shadow")]) == 12
    # Another process goes on with what is known.
    with running(versions[0], *options) as server:
        assert traffic(server)["experiment"]["test"] == before


@pytest.mark.skipif(sys.platform != "linux", reason="a process is only stopped on Linux")
def test_the_shadow_stands_still_while_requests_are_answered(tmp_path: Path) -> None:
    paths = [write_slow(tmp_path / str(seed), seed, name="tiny").path for seed in range(2)]
    files = write_images(tmp_path / "images", 3)
    requests = [http_request("/v1/models/tiny/predict", file.read_bytes()) for file in files]
    options = ("--workers", 1, "--challenger", paths[1], "--shadow", "--log", tmp_path / "log")
    with running(paths[0], *options) as server:
        ask_until_shadowed(server, files[0])
        (shadow,) = [one for one in server.workers if BACKGROUND in one.cmdline()]

        def stops(within_s: float = 10.0) -> bool:
            deadline = time.monotonic() + within_s
            while shadow.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
                time.sleep(0.002)
            return shadow.status() == psutil.STATUS_STOPPED

        with ThreadPoolExecutor() as pool:
            load = pool.submit(asyncio.run, Load(server.port, requests).closed_loop(4, 3))
            assert stops()
            assert load.result().statuses.keys() == {200}
            ask_until_shadowed(server, files[1])
            load = pool.submit(asyncio.run, Load(server.port, requests).closed_loop(4, 3))
            assert stops()
            server.process.kill()
            shadow.wait(10)
        assert not shadow.is_running()


def test_feedback_for_an_answer_of_another_process_is_found_in_the_log(
    versions: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with running(versions[0], "--workers", 1, "--log", log) as server:
        answer = ask(server, images[0])
        server.terminate()
    with running(versions[0], "--workers", 1, "--log", log) as server:
        assert tell(server, answer, "fine").status_code == 200
        unknown = httpx.post(
            f"{server.url}/v1/feedback", json={"request_id": "f" * 32, "label": "fine"}
        )
        assert unknown.status_code == 404
        assert unknown.json()["type"] == "no_such_request"
        server.terminate()
    feedback = read_feedback(log)
    assert feedback["predicted"].tolist() == [answer.json()["predictions"][0]["class"]]
    assert not np.isnat(feedback["answered"][0])


def test_feedback_says_which_label_is_no_class_and_which_image_was_not_answered(
    versions: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    parts = [images[0].read_bytes(), images[1].read_bytes()[:-30], images[2].read_bytes()]
    with running(versions[0], "--workers", 1, "--log", tmp_path) as server:
        url = f"{server.url}/v1/models/tiny/predict"
        answer = httpx.post(url, files=[("images", (str(n), one)) for n, one in enumerate(parts)])
        assert [one["image"] for one in answer.json()["refused"]] == [1]

        def told(image: int, label: str) -> dict[str, Any]:
            body = {"request_id": answer.json()["request_id"], "image": image, "label": label}
            found: dict[str, Any] = httpx.post(f"{server.url}/v1/feedback", json=body).json()
            return found

        for image, label, known, similar in (
            (0, "crack", True, None),
            (0, " Crack", False, "crack"),
            (2, "dent", False, None),
        ):
            found = told(image, label)
            assert (found["kept"], found["image"]) == (True, image)
            assert (found["known"], found["similar_class"]) == (known, similar)
        for image in (1, 9):
            found = told(image, "crack")
            assert (found["type"], found["status"]) == ("no_such_image", 404)
            assert found["detail"] == "Answered were the images 0, 2. Places count from 0."
        server.terminate()
    assert read_feedback(tmp_path)["label"].tolist() == ["crack", " Crack", "dent"]


def test_a_damaged_rollout_begins_anew_and_says_so(
    versions: tuple[Path, Path], images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "rollout-tiny.json").write_text('{"experiment": ')
    options = ("--workers", 1, "--challenger", versions[1], "--rollout", "5,100")
    with running(versions[0], *options, "--log", tmp_path) as server:
        assert ask(server, images[0]).status_code == 200
        assert traffic(server)["experiment"]["rollout"]["stage"] == 0
    assert any("begins anew" in line and "rollout-tiny.json" in line for line in server.lines)


def test_a_server_without_a_log_keeps_no_feedback(server: Running, images: list[Path]) -> None:
    answer = tell(server, ask(server, images[0]), "crack")
    assert (answer.status_code, answer.json()["type"]) == (404, "no_feedback")


def test_the_status_is_printed_and_errors_are_one_line(server: Running, cli: Cli) -> None:
    code, out, _ = cli("serve", "status", "--url", server.url)
    assert code == 0
    assert out.startswith("tiny: version ")
    code, out, _ = cli("serve", "status", "tiny", "--url", server.url, "--json")
    assert json.loads(out)[0]["model"] == "tiny"
    code, _, err = cli("serve", "status", "other", "--url", server.url)
    assert (code, err.count("\n")) == (1, 1)
    code, _, err = cli("serve", "status", "--url", "http://127.0.0.1:1")
    assert (code, err.count("\n")) == (1, 1)
    with pytest.raises(UsageError, match="expected such as"):
        server_status("127.0.0.1:8000")
    with pytest.raises(ServerUnreachable):
        server_status("http://127.0.0.1:1")


def test_a_rollout_grows_holds_and_stops() -> None:
    rollout = Rollout(RolloutPlan((5, 25, 100), stage_hours=0, stage_requests=10))
    assert rollout.share == 0.05
    assert not rollout.decide(is_worse=False, is_mismatch=False)  # too few requests
    rollout.requests = 10
    assert rollout.decide(is_worse=False, is_mismatch=False)
    assert (rollout.share, rollout.requests) == (0.25, 0)
    rollout.requests = 10
    assert rollout.decide(is_worse=False, is_mismatch=True)
    assert rollout.share == 0.25
    assert rollout.decide(is_worse=False, is_mismatch=False)
    assert rollout.share == 1.0
    other = Rollout(rollout.plan)
    other.restore(json.loads(json.dumps(rollout.to_json())))
    assert other.share == 1.0
    for damage in ({"stage": 3}, {"state": "fine"}, {"since_s": None}):
        untouched = Rollout(rollout.plan, since_s=0.0)
        with pytest.raises((ValueError, TypeError)):
            untouched.restore({**rollout.to_json(), **damage})
        assert untouched == Rollout(rollout.plan, since_s=0.0)
    rollout.requests = 10
    rollout.decide(is_worse=False, is_mismatch=False)
    assert rollout.state == "complete"
    assert other.decide(is_worse=True, is_mismatch=False)
    assert (other.share, other.state) == (0.0, "stopped")
    assert not other.decide(is_worse=False, is_mismatch=False)


@pytest.mark.parametrize(("outcome", "share"), [("worker_died", 0.05), ("answered", 1.0)])
def test_a_rollout_counts_the_requests_that_the_challenger_answered_and_no_others(
    outcome: str, share: float
) -> None:
    plan = ExperimentPlan(rollout=RolloutPlan((5, 100), stage_hours=0, stage_requests=10))
    champion, challenger = (
        ModelVersion("tiny", digest, digest, Path(), manifest()) for digest in ("a", "b")
    )
    experiment = Experiment(plan, champion, challenger)
    route = Route(challenger, "challenger", None, 0.05, experiment.id)
    for number in range(10):
        request = f"r{number}"
        experiment.count_answer(
            AnsweredImage(request, 0, request, "", route, challenger, 0.0, outcome), "challenger"
        )
    assert experiment.rollout is not None
    # Only the requests are looked at here: the sample ratio would hold the rollout.
    experiment.rollout.decide(is_worse=False, is_mismatch=False)
    assert experiment.share == share


def test_a_stage_lasts_its_time() -> None:
    rollout = Rollout(RolloutPlan((5, 100), stage_hours=1, stage_requests=1), requests=5)
    assert not rollout.decide(is_worse=False, is_mismatch=False)
    rollout.since_s -= 3601
    assert rollout.decide(is_worse=False, is_mismatch=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "--share is 0"),
        ({"share": 100}, "--share is 100"),
        ({"shadow": True}, "name it by --challenger"),
        ({"challenger": "x", "shadow": True, "rollout": (5, 100)}, "exclude each other"),
        ({"challenger": "x", "rollout": (25, 5)}, "rising percentages"),
        ({"challenger": "x", "rollout": (5, 200)}, "at most 100"),
        ({"image_days": 3}, "give --log"),
        ({"log": "x", "log_days": 0}, "above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrafficOptions(**options)


def test_percentages_are_numbers() -> None:
    assert percentages("5,25,100") == (5, 25, 100)
    assert percentages("") == ()
    with pytest.raises(UsageError, match="expected rising percentages"):
        percentages("5,much")


def test_a_wrong_sample_ratio_is_not_forgotten_by_a_restart(tmp_path: Path) -> None:
    plan = ExperimentPlan(rollout=RolloutPlan((5, 100), stage_hours=0, stage_requests=1))
    champion, challenger = (
        ModelVersion("tiny", digest, digest, Path(), manifest()) for digest in ("a", "b")
    )
    experiment = Experiment(plan, champion, challenger)
    route = Route(challenger, "challenger", None, 0.05, experiment.id)
    for number in range(100):  # requests of the champion are lost
        request = f"r{number}"
        experiment.count_answer(
            AnsweredImage(request, 0, request, "", route, challenger, 0.0, "answered"), "challenger"
        )
    assert experiment.decide()
    assert experiment.share == 0.05
    again = Experiment(plan, champion, challenger)
    again.restore(json.loads(json.dumps(experiment.state())))
    assert not again.decide()
    assert (again.share, again.is_mismatch) == (0.05, True)
    assert again.to_json()["sample_ratio"]["mismatch"]
