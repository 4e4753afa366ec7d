"""`holotype.Client` answers as `Classifier` does."""

import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.bundle.bundle import Bundle
from holotype.errors import FileTooLarge, TruncatedImage, UsageError
from holotype.serving.client import Client
from holotype.serving.client_errors import ServerError
from holotype.serving.request_log.read_log import read_feedback
from holotype.serving.sent_feedback import SentLabel
from holotype.serving.server_status import ServerUnreachable, server_status
from tests.serving.running import Running, running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with holotype.Client(server.url) as found:
        yield found


def test_predictions_are_those_of_the_classifier(
    client: Client, tiny_bundle: Bundle, images: list[Path]
) -> None:
    expected, found = holotype.load(tiny_bundle.path).predict(images), client.predict(images)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-9)
    assert found.ids == expected.ids
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.bundle_sha256 == tiny_bundle.sha256
    assert client.classes == tiny_bundle.classes
    assert repr(found) == repr(expected)


def test_every_kind_of_image_may_be_sent(
    client: Client, tiny_bundle: Bundle, images: list[Path]
) -> None:
    opened = Image.open(images[0])
    opened.load()
    kinds = [images[0], str(images[0]), images[0].read_bytes(), opened, np.asarray(opened)]
    expected = holotype.load(tiny_bundle.path).predict_proba(kinds)
    np.testing.assert_allclose(client.predict_proba(kinds), expected, atol=1e-9)


def test_embeddings_and_maps_are_those_of_the_classifier(
    client: Client, tiny_bundle: Bundle, images: list[Path]
) -> None:
    classifier = holotype.load(tiny_bundle.path)
    np.testing.assert_allclose(client.embed(images), classifier.embed(images), atol=1e-6)
    overlay = classifier.explain(images[0], class_name="dark").overlay
    found = client.explain(images[0], class_name="dark")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(overlay))


def test_an_image_that_cannot_be_used_costs_itself(
    client: Client, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(images[0].read_bytes()[:-30])
    found = client.predict([images[0], tmp_path / "cut.png", images[1]])
    assert len(found) == 2
    assert isinstance(found.refused[0], TruncatedImage)
    with pytest.raises(TruncatedImage, match="cut"):
        client.predict_proba(tmp_path / "cut.png")


def test_labels_of_predictions_are_kept_and_what_is_no_class_is_said(
    tiny_bundle: Bundle, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(images[0].read_bytes()[:-30])
    with (
        running(tiny_bundle.path, "--workers", 1, "--log", tmp_path / "log") as server,
        holotype.Client(server.url) as client,
    ):
        assert client.models() == ["tiny"]
        found = client.predict([images[0], tmp_path / "cut.png", *images[1:4]])
        assert len(set(found.request_ids)) == len(found) == 4
        assert found.to_frame()["request_id"].tolist() == list(found.request_ids)
        found = pickle.loads(pickle.dumps(found))

        one = client.feedback(found[0], label="crack")
        assert one.kept[0].sent == SentLabel(found.request_ids[0], 0, "crack", str(images[0]))
        assert (one.kept[0].known, one.refused, one.new_classes) == (True, (), {})
        assert repr(one) == "Feedback: 1 label kept"
        several = client.feedback(found[1:], ["Crack", "dent", "dark"])
        assert several.new_classes == {"Crack": "crack", "dent": None}
        assert repr(several).splitlines() == [
            "Feedback: 3 labels kept",
            "'Crack' (1 image) is no class of the model; was 'crack' meant?",
            "'dent' (1 image) is no class of the model",
        ]
        by_id = client.feedback(found.request_ids[1], "crack")
        assert by_id.new_classes == {}

        elsewhere = [replace(found[0], request_id="f" * 32), found[2]]
        partly = client.feedback(elsewhere, "dark")
        assert [each.sent.file for each in partly.kept] == [found[2].file]
        assert f"{found[0].file!r}: {server.url}: No answered request" in str(partly.refused[0])
        with pytest.raises(ServerError, match=r"Answered were the images 0\.") as caught:
            client.feedback(found.request_ids[0], "dark", image=9)
        assert caught.value.problem == "no_such_image"
        server.terminate()
    labels = read_feedback(tmp_path / "log")["label"].tolist()
    assert labels == ["crack", "Crack", "dent", "dark", "crack", "dark"]


def test_labels_that_cannot_be_sent_are_refused_in_words(
    client: Client, tiny_bundle: Bundle, images: list[Path]
) -> None:
    found = client.predict(images[:2])
    with pytest.raises(ServerError, match=r"keeps no feedback.* 0 of 2 labels were kept"):
        client.feedback(found, "crack")
    with pytest.raises(UsageError, match="1 label for 2 images"):
        client.feedback(found, ["crack"])
    with pytest.raises(UsageError, match="was not answered by a server"):
        client.feedback(holotype.load(tiny_bundle.path).predict(images[:2]), "crack")
    with pytest.raises(UsageError, match="one label"):
        client.feedback(found.request_ids[0], ["crack", "dark"])
    with pytest.raises(UsageError, match="names its own image"):
        client.feedback(found[0], "crack", image=1)


def test_feedback_is_sent_again_where_the_disk_was_full() -> None:
    sent: list[bytes] = []

    class Full(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"classes": ["a"], "digest": "d"})

        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["content-length"])))
            self.answer(503 if len(sent) < 2 else 200, {"kept": True, "known": True})

        def answer(self, status: int, found: dict[str, object]) -> None:
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Full) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Client(f"http://127.0.0.1:{server.server_port}", "tiny") as client:
            assert len(client.feedback("0" * 32, "a", image=3).kept) == 1
        server.shutdown()
    assert sent == [json.dumps({"request_id": "0" * 32, "image": 3, "label": "a"}).encode()] * 2


def test_what_the_classifier_cannot_do_is_an_error(client: Client, images: list[Path]) -> None:
    with pytest.raises(ServerError, match="calibrate") as caught:
        client.predict_set(images[0])
    assert (caught.value.status, caught.value.problem) == (422, "not_possible")
    with pytest.raises(ServerError, match="references"):
        client.neighbours(images[0])


def test_no_server_is_one_line(images: list[Path]) -> None:
    with pytest.raises(ServerError, match="does not answer"):
        Client("http://127.0.0.1:9", "tiny", retries=0)
    with pytest.raises(UsageError, match="no URL"):
        Client("127.0.0.1:8000")


def test_a_busy_server_is_asked_again() -> None:
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            busy = len(asked) < 3
            body = b"{}" if busy else b'{"classes": ["a", "b"], "digest": "d"}'
            self.send_response(503 if busy else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            found = Client(f"http://127.0.0.1:{server.server_port}/below", "tiny")
            assert asked == ["/below/v1/models/tiny"] * 3
            assert found.classes == ("a", "b")
            found.close()
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("body", [b'{"object": "list", "data": []}', b"<html></html>"])
def test_another_kind_of_server_and_a_port_that_is_none_are_one_clear_line(body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        with pytest.raises(UsageError, match="no server of Holotype"):
            Client(url)
        with pytest.raises(UsageError, match="no server of Holotype"):
            server_status(url)
        other.shutdown()
    with pytest.raises(UsageError, match="Port could not be cast"):
        Client("http://localhost:80OO")
    with pytest.raises(ServerUnreachable, match="nonnumeric port"):
        server_status("http://localhost:80OO")
    with pytest.raises(UsageError, match="line break"):
        Client("http://localhost:8000", key="holotype_key\n")


def test_a_file_that_is_too_large_costs_itself(
    client: Client, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "large.png").write_bytes(images[0].read_bytes() + bytes(40 << 20))
    found = client.predict([images[0], tmp_path / "large.png"])
    assert len(found) == 1
    assert [type(each) for each in found.refused] == [FileTooLarge]


def test_a_redirect_gets_no_key() -> None:
    asked: list[str | None] = []

    class Moved(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["authorization"])
            self.send_response(302 if self.path.startswith("/v1") else 200)
            self.send_header("location", f"http://localhost:{self.server.server_address[1]}/login")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Moved) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UsageError):
            server_status(f"http://127.0.0.1:{server.server_port}", key="holotype_key")
        server.shutdown()
    assert asked == ["Bearer holotype_key", None]


def test_a_refusal_says_what_is_wrong_with_the_image(
    client: Client, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(images[0].read_bytes()[:-40])
    (tmp_path / "empty.png").touch()
    sent = [images[0], tmp_path / "cut.png", b"GIF89a" + bytes(30), tmp_path / "empty.png"]
    found = client.predict(sent)
    said = [str(each).partition(": ")[2] for each in found.refused]
    assert said == [
        "it is cut off or damaged; send the whole file again.",
        "the server does not read this format; send JPEG, PNG or WebP.",
        "it has 0 bytes; copy or export it again.",
    ]
