"""`holotype.Client`: a classifier behind HTTP, with the methods of `Classifier`.

It needs no more than the base installation. Images are sent as they are; decoding is the server's.
"""

import http.client
import io
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.image_sources import ImageLike, Images, ImageSource, image_sources
from holotype.errors import ImageError, UsageError
from holotype.identification.matching.gallery_calibration import DEFAULT_RATE
from holotype.identification.query_result import Identification, Identifications
from holotype.predictions import Predictions
from holotype.serving.answered_images import predictions_of
from holotype.serving.client_errors import ServerError, image_error, refusal
from holotype.serving.galleries.identified_over_http import (
    answers_of,
    identify_query,
    threshold_of,
)
from holotype.serving.image_upload import body_of
from holotype.serving.sent_feedback import (
    NOT_THIS_IMAGE,
    Feedback,
    KeptLabel,
    SentLabel,
    labels_to_send,
)
from holotype.serving.server_status import json_of, model_names
from holotype.single_prediction import Prediction

EXAMPLE_URL = "http://127.0.0.1:8000"
RETRIED = (429, 502, 503, 504)
LONGEST_WAIT_S = 30.0


class Client:
    """A classifier that a server holds; for one thread.

    Example:
        >>> client = holotype.Client("http://127.0.0.1:8000", "photos")  # doctest: +SKIP
        >>> client.predict("new.jpg").labels  # doctest: +SKIP

    A request that finds the server busy, or is not answered, is sent again, after the time that the
    server names or a growing random one.

    Args:
        url: of the server, with the path that a proxy adds.
        model: as the server calls it; may be left out where it serves one.
        key: a bearer key, where the server needs one.
        retries: how often a request is sent again.
        timeout: seconds to wait for an answer.

    Raises:
        ServerError: it cannot be reached, or serves several models and none was named.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        key: str | None = None,
        retries: int = 4,
        timeout: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is no URL of a server; expected such as {EXAMPLE_URL}.")
        try:
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is no URL of a server: {error}.") from None
        if key is not None and not key.isprintable():
            raise UsageError("the key holds a line break; take `key.strip()` of a file's text.")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, port, timeout=timeout)
        self._path = parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._retries = retries
        self.url = url
        self.model = model or self._only_model()
        self._details = self._json("GET", self._of_model(""))

    @property
    def classes(self) -> tuple[str, ...]:
        """The C class names, in the order of the columns of `predict_proba`."""
        return tuple(self._details["classes"])

    @property
    def digest(self) -> str:
        """Of the bundle that answered when the client was made."""
        return str(self._details["digest"])

    def models(self) -> list[str]:
        """The names of all models that the server answers with.

        Raises:
            ServerError: see `predict`.
        """
        return model_names(self._json("GET", "/v1/models"), self.url)

    def predict(self, images: Images, *, coverage: float | None = None) -> Predictions:
        """The class of every image, as `Classifier.predict`; one request for each image.

        `request_ids` of what is returned name the answers, for `feedback`.

        Raises:
            ServerError: a request was refused, or not answered; an image that cannot be used is in
                `refused`.
        """
        sources = image_sources(images)
        query = {} if coverage is None else {"coverage": coverage}
        answers: list[tuple[ImageSource, Mapping[str, Any]]] = []
        refused: list[ImageError] = []
        for source in sources:
            try:
                found = self._json("POST", self._of_model("/predict", query), source)
            except (ServerError, ImageError) as error:
                refused.append(refusal(error, source))
                continue
            answers.append((source, found))
        digest = answers[-1][1]["digest"] if answers else self.digest
        predictions = predictions_of(self.classes, answers, coverage)
        return replace(predictions, refused=tuple(refused), bundle_sha256=digest)

    def feedback(
        self,
        answered: Sequence[Prediction] | Prediction | str,
        label: str | Sequence[str],
        *,
        image: int = 0,
    ) -> Feedback:
        """Tell the server the true class of images that it answered.

        Example:
            >>> found = client.predict(["a.jpg", "b.jpg"])  # doctest: +SKIP
            >>> client.feedback(found[0], label="disc")  # doctest: +SKIP
            >>> client.feedback(found, ["disc", "cube"])  # doctest: +SKIP

        A label may be sent again, and corrects the one before. One that is no class of the model
        is kept too, and said in `new_classes`.

        Args:
            answered: one prediction or several of `predict`, or the id of a request.
            label: the true class; of several predictions a list, or one class that all have.
            image: of a request id: the place of the image in its request, from 0.

        Raises:
            UsageError: a prediction that no server gave, or another number of labels.
            ServerError: the server does not know the image, of which several have `refused`
                instead; it keeps no feedback; and see `predict`. What was kept by then is said.
        """
        sent = labels_to_send(answered, label, image)
        kept: list[KeptLabel] = []
        refused: list[ServerError] = []
        for one in sent:
            try:
                kept.append(self._send_label(one))
            except ServerError as error:
                said = f"{one.of}: {error}"
                is_of_all = error.problem not in NOT_THIS_IMAGE
                if is_of_all and len(sent) > 1:
                    said = f"{error} {len(kept)} of {len(sent)} labels were kept."
                named = ServerError(error.status, error.problem, said, error.advice)
                if is_of_all or len(sent) == 1:
                    raise named from None
                refused.append(named)
        return Feedback(tuple(kept), tuple(refused))

    def predict_proba(self, images: Images) -> NDArray[np.float64]:
        """The probabilities (N, C); rows sum to 1.

        Raises:
            ImageError: an image cannot be used; and see `predict`.
        """
        return self._all(self.predict(images)).probabilities_NC

    def predict_set(self, images: Images, coverage: float = 0.95) -> list[frozenset[str]]:
        """For every image the classes that hold the true one as often as `coverage`.

        Raises:
            ImageError: an image cannot be used; and see `predict`.
        """
        found = self._all(self.predict(images, coverage=coverage)).sets
        assert found is not None
        return found

    def embed(self, images: Images) -> NDArray[np.float32]:
        """The embeddings (N, D).

        Raises:
            ServerError: see `predict`; an image that cannot be used is one too.
        """
        path = self._of_model("/embed")
        rows = [
            self._json("POST", path, source)["embeddings"][0] for source in image_sources(images)
        ]
        return np.array(rows, np.float32).reshape(len(rows), self._details["embedding_size"])

    def explain(
        self, image: ImageLike, *, class_name: str | None = None, method: str = "auto"
    ) -> PillowImage.Image:
        """The image with the evidence for a class over it: what `Explanation.overlay` is.

        Raises:
            ServerError: see `predict`.
        """
        (source,) = image_sources(image)
        query = {"method": method} | ({"class": class_name} if class_name else {})
        content = self._send("POST", self._of_model("/explain", query), source)
        return PillowImage.open(io.BytesIO(content)).convert("RGB")

    def neighbours(self, image: ImageLike, count: int = 5) -> list[dict[str, Any]]:
        """The training images most like an image: `file`, `class` and `cosine` of each.

        Raises:
            ServerError: the bundle keeps no references; and see `predict`.
        """
        (source,) = image_sources(image)
        found = self._json("POST", self._of_model("/neighbours", {"count": count}), source)
        return list(found["neighbours"])

    def identify(
        self,
        images: Images,
        *,
        encounter: str | None = None,
        attributes: Mapping[str, str] | None = None,
        top: int = 5,
        new_rate: float = DEFAULT_RATE,
    ) -> Identifications:
        """Who is this? As `Gallery.query`, of the gallery that the server holds.

        An image is a question of its own, and a request; with an encounter all images are one.

        Args:
            images: images and folders.
            encounter: a name: all the images are of one encounter, and so one question.
            attributes: such as {"side": "left"}; those of the gallery are needed.
            top: how many individuals are named at most.
            new_rate: how often a known individual may be called new; between 0 and 1.

        Raises:
            UsageError: no image was named.
            ServerError: the model has no gallery, an option is refused, no image of an encounter
                can be used; and see `predict`.
        """
        sources = image_sources(images)
        if not sources:
            raise UsageError("no image was named; expected at least one.")
        path = self._of_model("/identify", identify_query(attributes, encounter, top, new_rate))
        answers: list[Identification] = []
        refused: list[ImageError] = []
        notes, threshold = dict[str, None](), None
        for asked in [sources] if encounter else [[source] for source in sources]:
            try:
                found = self._json("POST", path, *asked)
            except (ServerError, ImageError) as error:
                if len(asked) > 1:
                    raise
                refused.append(refusal(error, asked[0]))
                continue
            answers += answers_of(found, [source.id for source in asked])
            refused += [
                image_error(asked[one["image"]], one["problem"], one["detail"])
                for one in found["refused"]
            ]
            notes.update(dict.fromkeys(found["notes"]))
            threshold = threshold_of(found)
        return Identifications(tuple(answers), threshold, tuple(notes), tuple(refused))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url}: {self.model}, {len(self.classes)} classes)"

    def _only_model(self) -> str:
        names = self.models()
        if len(names) != 1:
            raise UsageError(
                f"{self.url} serves {', '.join(names) or 'nothing'}; name one of them."
            )
        return names[0]

    def _of_model(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        found = f"/v1/models/{quote(self.model, safe='')}{path}"
        return f"{found}?{urlencode(query)}" if query else found

    def _json(self, method: str, path: str, *sources: ImageSource) -> Any:
        return json_of(self._send(method, path, *sources), self.url)

    def _send(self, method: str, path: str, *sources: ImageSource) -> bytes:
        content, kind = body_of(sources) if sources else (None, "")
        return self._answer(method, path, content, kind)

    def _send_label(self, sent: SentLabel) -> KeptLabel:
        body = {"request_id": sent.request_id, "image": sent.image, "label": sent.label}
        answer = self._answer("POST", "/v1/feedback", json.dumps(body).encode(), "application/json")
        found = json_of(answer, self.url)
        return KeptLabel(sent, found.get("known"), found.get("similar_class"))

    def _answer(self, method: str, path: str, content: bytes | None, kind: str) -> bytes:
        """The body of the answer, after so many attempts as are allowed.

        Args:
            content: the body to send, and `kind` its type; None for none.

        Raises:
            ServerError: it is none, or a refusal.
        """
        headers = {**self._headers, **({"content-type": kind} if kind else {})}
        for attempt in range(self._retries + 1):
            status, wait, body = self._attempt(method, path, content, headers)
            if status < 400 and status:
                return body
            if status not in (0, *RETRIED) or attempt == self._retries:
                break
            backoff = 0.2 * 2**attempt * (1 + random.random())
            time.sleep(min(LONGEST_WAIT_S, wait + backoff if wait else backoff))
        raise self._error(status, body)

    def _attempt(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, float, bytes]:
        """Status (0 without an answer), what the server asks to wait, and the body."""
        try:
            self._connection.request(method, self._path + path, content, dict(headers))
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return 0, 0.0, str(error).encode()
        wait = answer.headers.get("retry-after", "")
        return answer.status, float(wait) if wait.isdecimal() else 0.0, body

    def _error(self, status: int, body: bytes) -> ServerError:
        if not status:
            reason = body.decode("utf-8", "replace")
            return ServerError(0, "no_answer", f"{self.url} does not answer: {reason}.")
        try:
            found = json.loads(body)
            problem, advice = str(found["type"]), str(found["detail"])
            said = f"{found['title']}. {advice}"
        except (ValueError, KeyError, TypeError):
            problem, said, advice = "unknown", "what answered is no server of Holotype.", ""
        return ServerError(status, problem, f"{self.url}: {said} (HTTP {status})", advice)

    def _all(self, found: Predictions) -> Predictions:
        if found.refused:
            raise found.refused[0]
        return found
