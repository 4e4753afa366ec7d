"""The images of a request log that one classifier answered and that are kept.

Shape suffixes: N images, C classes, D embedding.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.serving.request_log.log_row import embeddings_ND as as_array
from holotype.serving.request_log.read_log import LogQuery, read_log

MAX_ROWS = 100_000  # of more, a random sample is looked at
_COLUMNS = (
    "time", "request_id", "image", "arm", "key", "probabilities", "embedding", "unknown",
    "image_file", "image_sha256", "label", "label_time",
)  # fmt: skip


@dataclass(frozen=True)
class LoggedImage:
    """One image that was answered.

    Attributes:
        request_id, image: what feedback names it by.
        file: where it is kept.
        sha256: of its bytes.
        group: of images that are not independent: those of one request key, or of one request.
        time: when it was answered, ISO 8601 in UTC.
        label: the latest feedback, also for another answer to this file, or what a sheet says; ""
            without.
    """

    request_id: str
    image: int
    file: Path
    sha256: str
    group: str
    time: str
    label: str


@dataclass(frozen=True, eq=False)
class LoggedImages:
    """The kept images of one classifier in a span of time, each file once, the latest answer.

    Attributes:
        images: N.
        probabilities_NC: float32.
        embeddings_ND: float32; (N, 0) where the log keeps none.
        unknown_N: whether each is of no known class; None where the classifier does not say.
        num_answered: rows of the log that were looked at.
        num_not_kept: of these, rows whose image is not on disk.
    """

    images: tuple[LoggedImage, ...]
    probabilities_NC: NDArray[np.float32]
    embeddings_ND: NDArray[np.float32]
    unknown_N: NDArray[np.bool_] | None
    num_answered: int
    num_not_kept: int

    def __len__(self) -> int:
        return len(self.images)

    def with_labels(self, labels: Mapping[str, str]) -> "LoggedImages":
        """The same with labels that came elsewhere, by the SHA-256 of an image."""
        images = tuple(
            replace(image, label=labels.get(image.sha256, image.label)) for image in self.images
        )
        return replace(self, images=images)


def read_logged_images(log: Path, digest: str, *, days: float, seed: int = 0) -> LoggedImages:
    """What a classifier answered in the last days, where the image is kept.

    Args:
        digest: of its bundle. Answers of others are left out, since embeddings of two classifiers
            cannot be compared.
        seed: of the sample of a log with more than `MAX_ROWS` rows.

    Raises:
        DatasetError: there is no log.
    """
    now = time.time()
    query = LogQuery(_COLUMNS, {"digest": digest, "outcome": "answered"}, MAX_ROWS, seed)
    rows = read_log(log, now - days * 86_400, now + 1, query)
    seen = np.flatnonzero(rows["arm"] != "shadow")
    is_kept = [
        bool(rows["image_file"][n]) and (log / rows["image_file"][n]).is_file() for n in seen
    ]
    kept = seen[np.array(is_kept, np.bool_)]
    latest = sorted({rows["image_sha256"][n]: int(n) for n in kept}.values())
    in_time = kept[np.argsort(rows["label_time"][kept], kind="stable")]
    label_of = {rows["image_sha256"][n]: rows["label"][n] for n in in_time if rows["label"][n]}
    group_of = groups_of_requests(rows["key"][kept], rows["request_id"][kept])
    images = tuple(
        LoggedImage(
            request_id=rows["request_id"][n],
            image=int(rows["image"][n]),
            file=log / rows["image_file"][n],
            sha256=rows["image_sha256"][n],
            group=group_of[rows["request_id"][n]],
            time=f"{np.datetime_as_string(rows['time'][n], unit='s')}Z",
            label=label_of.get(rows["image_sha256"][n], ""),
        )
        for n in latest
    )
    embeddings = [rows["embedding"][n] for n in latest]
    has_embeddings = bool(latest) and all(embeddings)
    unknown = [rows["unknown"][n] for n in latest]
    says_unknown = bool(latest) and not any(each is None or each != each for each in unknown)
    return LoggedImages(
        images=images,
        probabilities_NC=np.array([rows["probabilities"][n] for n in latest], np.float32),
        embeddings_ND=(
            as_array(embeddings).astype(np.float32)
            if has_embeddings
            else np.empty((len(latest), 0), np.float32)
        ),
        unknown_N=np.array(unknown, np.bool_) if says_unknown else None,
        num_answered=len(seen),
        num_not_kept=len(seen) - len(kept),
    )


def groups_of_requests(keys: Iterable[str], request_ids: Iterable[str]) -> dict[str, str]:
    """Request -> the group of its images; "" where one stands for itself.

    Args:
        keys, request_ids: of every kept image.
    """
    key_of, count_of = dict[str, str](), Counter[str]()
    for key, request_id in zip(keys, request_ids, strict=True):
        key_of[request_id] = key
        count_of[request_id] += 1
    return {
        name: f"key {key}" if key else f"request {name}" if count_of[name] > 1 else ""
        for name, key in key_of.items()
    }
