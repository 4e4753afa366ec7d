"""The answers of late, by request: what feedback is joined with. Older ones are in the log."""

import secrets
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from holotype.serving.request_log.feedback_store import FeedbackRow, seconds_of
from holotype.serving.request_log.log_row import hashed_key
from holotype.serving.request_log.read_log import LogQuery, read_log

MAX_ANSWERS = 20_000  # images, some 20 MB
# A request id begins with its time in milliseconds: the log need not be read from its beginning.
_TIME_DIGITS = 12
_SPAN_S = 600.0  # an answer comes so long after its request at most

_COLUMNS = ("image", "arm", "share", "experiment", "key", "model", "digest", "top_classes", "time")


class RecentAnswers:
    """The last answers, as feedback whose label is empty; not for two threads at once."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, int], FeedbackRow] = OrderedDict()

    def of(self, request_id: str, image: int) -> FeedbackRow:
        """The answer of an image, still empty where there was none."""
        return self._answers.get((request_id, image)) or FeedbackRow(request_id, image, "")

    def of_request(self, request_id: str) -> dict[int, FeedbackRow]:
        """The answers of a request by the place of the image; slow, as all are looked at."""
        return {image: row for (name, image), row in self._answers.items() if name == request_id}

    def keep(self, answer: FeedbackRow) -> None:
        self._answers[answer.request_id, answer.image] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)


def find_in_log(folder: Path, request_id: str) -> dict[int, FeedbackRow]:
    """The answers of a request that is no longer remembered, by the place of the image.

    Slow, as the log is read. An image that was refused has an empty one.

    Raises:
        DatasetError: the log cannot be read.
    """
    found: dict[int, FeedbackRow] = {}
    try:
        asked_s = int(request_id[:_TIME_DIGITS], 16) / 1000
    except ValueError:
        return found
    if asked_s > time.time() + _SPAN_S:
        return found
    query = LogQuery(_COLUMNS, equal={"request_id": request_id})
    rows = read_log(folder, asked_s - 1, asked_s + _SPAN_S, query)
    for n, arm in enumerate(rows["arm"]):
        image = int(rows["image"][n])
        known = found.get(image) or FeedbackRow(request_id, image, "")
        names = rows["top_classes"][n]
        predicted = str(names[0]) if len(names) else ""
        if arm == "shadow":
            digest = str(rows["digest"][n])
            found[image] = replace(known, shadow_digest=digest, shadow_predicted=predicted)
            continue
        found[image] = replace(
            known,
            arm=arm,
            share=float(rows["share"][n]),
            key=str(rows["key"][n]) or hashed_key(request_id),
            experiment=str(rows["experiment"][n]),
            model=str(rows["model"][n]),
            digest=str(rows["digest"][n]),
            predicted=predicted,
            answered_s=seconds_of(rows["time"][n]),
        )
    return found


def new_request_id() -> str:
    """32 hexadecimal digits that nobody can guess and that begin with the time in milliseconds."""
    return f"{int(time.time() * 1000):0{_TIME_DIGITS}x}{secrets.token_hex(10)}"
