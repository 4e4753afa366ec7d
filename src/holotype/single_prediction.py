"""The prediction for one image."""

from dataclasses import dataclass

from holotype.notebook import html_result, html_table
from holotype.text_tables import short_text


@dataclass(frozen=True, repr=False)
class Prediction:
    """The prediction for one image.

    Attributes:
        file: its path, or its place such as `<image 3>` where it came as bytes or pixels.
        label: the class of the highest probability.
        probability: of that class.
        probabilities: of every class, in the classifier's order; they sum to 1.
        unknown: whether it is of no known class; None where the classifier does not say.
        set: the prediction set; None where no coverage was asked for.
        target: the true class; None where it is not known.
        request_id: of the request that a server answered, for feedback; "" where none did.
    """

    file: str
    label: str
    probability: float
    probabilities: dict[str, float]
    unknown: bool | None = None
    set: frozenset[str] | None = None
    target: str | None = None
    request_id: str = ""

    def __repr__(self) -> str:
        words = [f"{self.label} {self.probability:.3f}"]
        if self.unknown is not None:
            words.append("unknown" if self.unknown else "known")
        if self.set is not None:
            words.append(
                f"set: {', '.join(name for name in self.probabilities if name in self.set)}"
            )
        if self.target is not None:
            words.append(f"target: {self.target}")
        return short_text(f"Prediction({self.file}: {'; '.join(words)})")

    def _repr_html_(self) -> str:
        likeliest = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return html_result(repr(self), html_table(["class", "probability"], likeliest))
