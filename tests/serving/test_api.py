"""The API answers as the classifier does, and refuses in one shape."""

from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from holotype.bundle.bundle import Bundle
from holotype.imaging.truncated_images import CUT_OFF
from holotype.pipeline.classifier import load
from tests.bundle.tiny import PREPROCESSING, write_tiny
from tests.serving.running import Running, running

PREDICT = "/v1/models/tiny/predict"


def send(server: Running, path: str, content: bytes, kind: str = "image/png") -> httpx.Response:
    return httpx.post(server.url + path, content=content, headers={"content-type": kind})


def test_an_answer_is_that_of_the_classifier(
    server: Running, tiny_bundle: Bundle, images: list[Path]
) -> None:
    expected = load(tiny_bundle.path).predict(images)
    for row, image in enumerate(images):
        answer = send(server, PREDICT, image.read_bytes())
        assert answer.status_code == 200
        found = answer.json()
        (prediction,) = found["predictions"]
        assert prediction["class"] == expected[row].label
        assert prediction["unknown"] == expected[row].unknown
        for name, probability in expected[row].probabilities.items():
            assert prediction["probabilities"][name] == pytest.approx(probability, abs=1e-9)
        assert found["digest"] == tiny_bundle.sha256
        assert found["request_id"] == answer.headers["x-request-id"]


def test_several_images_come_as_files_and_a_bad_one_costs_itself(
    server: Running, images: list[Path]
) -> None:
    good = [image.read_bytes() for image in images[:3]]
    files = [("images", ("a.png", content)) for content in (*good[:2], good[2][:-40], b"no image")]
    answer = httpx.post(server.url + PREDICT, files=files)
    assert answer.status_code == 200
    found = answer.json()
    assert [one["image"] for one in found["predictions"]] == [0, 1]
    assert [(one["image"], one["problem"]) for one in found["refused"]] == [
        (2, "truncated_image"),
        (3, "not_an_image"),
    ]


def test_a_cut_upload_is_read_only_where_the_bundle_says_so(
    images: list[Path], tmp_path: Path
) -> None:
    tolerant = replace(PREPROCESSING, tolerate_truncated=True)
    bundle = write_tiny(tmp_path / "tiny", preprocessing=tolerant)
    cut = images[0].read_bytes()[:-400]
    with running(bundle.path, "--workers", "1") as server:
        answer = send(server, PREDICT, cut)
        assert answer.status_code == 200
        (prediction,) = answer.json()["predictions"]
        assert prediction["warnings"] == [CUT_OFF]
        expected = load(bundle.path).predict(cut)[0]
        for name, probability in expected.probabilities.items():
            assert prediction["probabilities"][name] == pytest.approx(probability, abs=1e-9)
        assert send(server, PREDICT, cut[:60]).json()["type"].endswith("truncated_image")


def test_top_k_gives_the_likeliest_classes_first(server: Running, images: list[Path]) -> None:
    answer = send(server, PREDICT + "?top_k=2", images[0].read_bytes())
    probabilities = list(answer.json()["predictions"][0]["probabilities"].values())
    assert len(probabilities) == 2
    assert probabilities[0] >= probabilities[1]


def test_embeddings_are_those_of_the_classifier(
    server: Running, tiny_bundle: Bundle, images: list[Path]
) -> None:
    found = send(server, "/v1/models/tiny/embed", images[0].read_bytes()).json()["embeddings"]
    np.testing.assert_allclose(found, load(tiny_bundle.path).embed(images[0]), atol=1e-6)


def test_a_heatmap_is_a_png(server: Running, images: list[Path]) -> None:
    answer = send(server, "/v1/models/tiny/explain?class=dark", images[0].read_bytes())
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    told = send(server, PREDICT + "?explain=true", images[0].read_bytes()).json()
    assert told["predictions"][0]["explanation"]["method"] == "class activation map"


@pytest.mark.parametrize(
    ("path", "content", "kind", "status", "problem"),
    [
        (PREDICT, b"", "image/png", 422, "no_image"),
        (PREDICT, b"GIF89a" + bytes(30), "image/gif", 415, "unsupported_media_type"),
        (PREDICT, b"GIF89a" + bytes(30), "image/png", 422, "unsupported_format"),
        (PREDICT, b"x", "application/json", 415, "unsupported_media_type"),
        (PREDICT, b"x", "multipart/form-data", 415, "unsupported_media_type"),
        (PREDICT, b"x", "multipart/form-data; boundary=b", 422, "invalid_body"),
        (PREDICT + "?coverage=0.9", b"x", "image/png", 422, "not_possible"),
        (PREDICT + "?coverage=7", b"x", "image/png", 422, "invalid_parameter"),
        (PREDICT + "?top_k=0", b"x", "image/png", 422, "invalid_parameter"),
        ("/v1/models/other/predict", b"x", "image/png", 404, "no_such_model"),
        ("/v1/models/..%2F..%2Fetc/predict", b"x", "image/png", 404, "no_such_path"),
        ("/v1/models/tiny/explain?class=nobody", b"x", "image/png", 422, "invalid_parameter"),
        ("/v1/models/tiny/neighbours", b"x", "image/png", 422, "not_possible"),
        ("/v1/models/tiny", b"x", "image/png", 405, "method_not_allowed"),
        ("/elsewhere", b"x", "image/png", 404, "no_such_path"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(
    server: Running, path: str, content: bytes, kind: str, status: int, problem: str
) -> None:
    answer = send(server, path, content, kind)
    assert (answer.status_code, answer.json()["type"]) == (status, problem)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_models_are_listed_and_described(server: Running, tiny_bundle: Bundle) -> None:
    (listed,) = httpx.get(server.url + "/v1/models").json()["models"]
    described = httpx.get(server.url + "/v1/models/tiny").json()
    assert listed["digest"] == described["digest"] == tiny_bundle.sha256
    assert described["classes"] == list(tiny_bundle.classes)
    assert described["heatmap"] == "class activation map"


def test_a_trace_goes_on_and_a_broken_one_does_not(server: Running) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for sent, kept in [(f"00-{trace}-00f067aa0ba902b7-01", True), ("00-zz-11-01", False)]:
        answer = httpx.get(server.url + "/healthz", headers={"traceparent": sent})
        assert answer.headers.get("traceparent", "").startswith(f"00-{trace}-") == kept


def test_metrics_count_images_by_outcome(server: Running, images: list[Path]) -> None:
    send(server, PREDICT, images[0].read_bytes())
    text = httpx.get(server.url + "/metrics").text
    assert 'holotype_images_total{arm="champion",model="tiny",outcome="answered"' in text
    assert "holotype_queue_images 0.0" in text
    assert "holotype_workers 2.0" in text


def test_no_library_that_trains_is_in_the_processes(server: Running) -> None:
    for process in (server.process.pid, *(worker.pid for worker in server.workers)):
        mapped = Path(f"/proc/{process}/maps").read_text()
        assert "onnxruntime" in mapped or process == server.process.pid
        for library in ("torch", "pandas", "sklearn", "matplotlib", "scipy"):
            assert f"/{library}/" not in mapped


def test_a_field_of_the_body_that_does_not_fit_is_named(server: Running) -> None:
    url = server.url + "/v1/feedback"
    for body, said in (
        ({"request_id": "abc", "label": "dark"}, "body request_id: string_pattern_mismatch."),
        ({"request_id": "0" * 32}, "body label: missing."),
        (
            {"request_id": "0" * 32, "label": "dark", "theirs": 1},
            "The body does not fit its schema.",
        ),
    ):
        answer = httpx.post(url, json=body)
        assert (answer.status_code, answer.json()["detail"]) == (422, said)
    answer = httpx.post(url, content=b"{", headers={"content-type": "application/json"})
    assert answer.json()["detail"] == "The body does not fit its schema."
