"""Labels that a client sends for images that a server answered, and what became of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from holotype.errors import UsageError
from holotype.notebook import html_result
from holotype.progress import pluralize
from holotype.serving.client_errors import ServerError
from holotype.single_prediction import Prediction
from holotype.text_tables import short_text

NOT_THIS_IMAGE = ("no_such_request", "no_such_image")  # refusals that other labels do not share


@dataclass(frozen=True)
class SentLabel:
    """The true class of an image that was answered.

    Attributes:
        request_id: of the answer.
        image: its place in the request, from 0.
        label: the true class.
        file: as its prediction calls it; "" where only the request was named.
    """

    request_id: str
    image: int
    label: str
    file: str = ""

    @property
    def of(self) -> str:
        """Which image, in words."""
        return repr(self.file) if self.file else f"image {self.image} of {self.request_id}"


@dataclass(frozen=True)
class KeptLabel:
    """A label that is on the server's disk.

    Attributes:
        sent: what was sent.
        known: whether it is a class of the model; None where that is no longer served.
        similar_class: the class that it was perhaps meant for; None without one.
    """

    sent: SentLabel
    known: bool | None
    similar_class: str | None


@dataclass(frozen=True, repr=False)
class Feedback:
    """What became of labels that were sent.

    Attributes:
        kept: the labels on the server's disk, in their order; a correction is one more.
        refused: why the others are not.
    """

    kept: tuple[KeptLabel, ...]
    refused: tuple[ServerError, ...] = ()

    @property
    def new_classes(self) -> dict[str, str | None]:
        """Labels that are no class of the model -> the class that each was perhaps meant for."""
        return {one.sent.label: one.similar_class for one in self.kept if one.known is False}

    @property
    def _lines(self) -> list[str]:
        refused = f", {len(self.refused)} refused" if self.refused else ""
        counts = Counter(one.sent.label for one in self.kept)
        new = [
            f"{label!r} ({pluralize(counts[label], 'image')}) is no class of the model"
            + ("" if meant is None else f"; was {meant!r} meant?")
            for label, meant in self.new_classes.items()
        ]
        title = f"Feedback: {pluralize(len(self.kept), 'label')} kept{refused}"
        return [title, *new, *(f"refused: {one}" for one in self.refused)]

    def __repr__(self) -> str:
        return short_text(*self._lines)

    def _repr_html_(self) -> str:
        title, *notes = self._lines
        return html_result(title, notes=notes)


def labels_to_send(
    answered: Sequence[Prediction] | Prediction | str, label: str | Sequence[str], image: int
) -> list[SentLabel]:
    """The labels of answered images, each with the id of its request.

    Raises:
        UsageError: an image without a request, or another number of labels than of images.
    """
    if isinstance(answered, str):
        if not isinstance(label, str):
            raise UsageError("a request id takes one label; send those of its images one by one.")
        return [SentLabel(answered, image, label)]
    if image:
        raise UsageError("image= goes with a request id; a prediction names its own image.")
    found = [answered] if isinstance(answered, Prediction) else list(answered)
    labels = [label] * len(found) if isinstance(label, str) else [str(one) for one in label]
    if len(labels) != len(found):
        raise UsageError(
            f"{pluralize(len(labels), 'label')} for {pluralize(len(found), 'image')}; "
            "expected one for each, or one for all."
        )
    for one in found:
        if not isinstance(one, Prediction) or not one.request_id:
            raise UsageError(
                f"{getattr(one, 'file', one)!r} was not answered by a server, so no label can be "
                "sent for it; expected what Client.predict returned, or a request id."
            )
    return [SentLabel(one.request_id, 0, text, one.file)
            for one, text in zip(found, labels, strict=True)]  # fmt: skip
