"""`holotype.Client`: a classifier behind HTTP, with the methods of `Classifier`.

It needs no more than the base installation. Images are sent as they are; decoding is the server's.
"""

import http.client
import io
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.image_sources import ImageLike, Images, ImageSource, image_sources
from holotype.errors import EmptyFile, FileTooLarge, HolotypeError, ImageError, UsageError
from holotype.identification.matching.gallery_calibration import DEFAULT_RATE
from holotype.identification.query_result import Identification, Identifications
from holotype.predictions import UNLABELLED, Predictions, PredictionSets
from holotype.serving.galleries.identified_over_http import (
    answers_of,
    identify_query,
    threshold_of,
)
from holotype.serving.image_upload import body_of
from holotype.serving.server_status import json_of, model_names

EXAMPLE_URL = "http://127.0.0.1:8000"
IMAGE_PROBLEMS: dict[str, type[ImageError]] = {
    "no_image": EmptyFile,
    "body_too_large": FileTooLarge,
    **{kind("", "", "").problem: kind for kind in ImageError.__subclasses__()},
}
_REASONS = {
    "no_image": "it has 0 bytes",
    "empty_file": "it has 0 bytes",
    "body_too_large": "the server takes no file as large",
    "not_an_image": "the server reads it as no image",
    "unsupported_format": "the server does not read this format",
    "unsupported_mode": "the server does not read this kind of pixel",
    "truncated_image": "it is cut off or damaged",
    "too_many_pixels": "it has more pixels than the server takes",
    "unreadable_file": "the server cannot read it",
}
RETRIED = (429, 502, 503, 504)
LONGEST_WAIT_S = 30.0


class ServerError(HolotypeError):
    """The server refused a request, or could not be reached.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        problem: what the server calls it, such as ``overloaded``.
        advice: what the server says to do.
    """

    def __init__(self, status: int, problem: str, message: str, advice: str = "") -> None:
        self.status = status
        self.problem = problem
        self.advice = advice
        super().__init__(message)


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

    def predict(self, images: Images, *, coverage: float | None = None) -> Predictions:
        """The class of every image, as `Classifier.predict`; one request for each image.

        Raises:
            ServerError: a request was refused, or not answered; an image that cannot be used is in
                `refused`.
        """
        sources = image_sources(images)
        query = {} if coverage is None else {"coverage": coverage}
        answers: list[tuple[ImageSource, Mapping[str, Any]]] = []
        refused: list[ImageError] = []
        digest, notes = self.digest, dict[str, None]()
        for source in sources:
            try:
                found = self._json("POST", self._of_model("/predict", query), source)
            except (ServerError, ImageError) as error:
                refused.append(_refusal(error, source))
                continue
            answers.append((source, found["predictions"][0]))
            digest = found["digest"]
            notes.update(dict.fromkeys(found["notes"]))
        return self._predictions(answers, refused, coverage, tuple(notes), digest)

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
                refused.append(_refusal(error, asked[0]))
                continue
            answers += answers_of(found, [source.id for source in asked])
            refused += [
                _image_error(asked[one["image"]], one["problem"], one["detail"])
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
        names = model_names(self._json("GET", "/v1/models"), self.url)
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
        """The body of the answer, after so many attempts as are allowed.

        Raises:
            ServerError: it is none, or a refusal.
        """
        content, kind = None, ""
        if sources:
            content, kind = body_of(sources)
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

    def _predictions(
        self,
        answers: Sequence[tuple[ImageSource, Mapping[str, Any]]],
        refused: Iterable[ImageError],
        coverage: float | None,
        notes: tuple[str, ...],
        digest: str,
    ) -> Predictions:
        N, C = len(answers), len(self.classes)
        probabilities = [
            [one["probabilities"][name] for name in self.classes] for _, one in answers
        ]
        probabilities_NC = np.array(probabilities, np.float64).reshape(N, C)
        sets = None
        if coverage is not None:
            rows = [[name in one["set"] for name in self.classes] for _, one in answers]
            included_NC = np.array(rows, np.bool_).reshape(N, C)
            sets = PredictionSets(included_NC, coverage, "lac", False, 0)
        said = [one["unknown"] for _, one in answers]
        return Predictions(
            classes=self.classes,
            ids=tuple(source.id for source, _ in answers),
            sha256=("",) * N,
            targets_N=np.full(N, UNLABELLED, np.int64),
            weights_N=np.ones(N),
            groups=("",) * N,
            folds_N=np.full(N, -1, np.int64),
            logits_NC=np.log(np.maximum(probabilities_NC, 1e-300)).astype(np.float32),
            probabilities_NC=probabilities_NC,
            unknown_N=None if None in said or not said else np.array(said, np.bool_),
            prediction_sets=sets,
            refused=tuple(refused),
            warnings={s.id: tuple(one["warnings"]) for s, one in answers if one["warnings"]},
            notes=notes,
            bundle_sha256=digest,
        )

    def _all(self, found: Predictions) -> Predictions:
        if found.refused:
            raise found.refused[0]
        return found


def _image_error(source: ImageSource, problem: str, advice: str) -> ImageError:
    reason = _REASONS.get(problem, "the server refused it")
    if problem == "no_image":  # what the server says of it is for who writes requests
        advice = "copy or export it again"
    return IMAGE_PROBLEMS[problem](source.id, reason, f"{advice[:1].lower()}{advice[1:]}")


def _refusal(error: ServerError | ImageError, source: ImageSource) -> ImageError:
    """The error of an image, which may have been found here; one of the request is raised again."""
    if isinstance(error, ImageError):
        return error
    if error.problem not in IMAGE_PROBLEMS:
        raise error
    return _image_error(source, error.problem, error.advice)
