"""What `/identify` answers, as the value that `Gallery.query` gives; and its options as a query."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from holotype.identification.new_individual import NewIndividualThreshold
from holotype.identification.query_result import Identification, MatchedImages


def identify_query(
    attributes: Mapping[str, str] | None, encounter: str | None, top: int, new_rate: float
) -> dict[str, object]:
    """The query of a request; what is not said is left out."""
    said = ",".join(f"{name}={value}" for name, value in (attributes or {}).items())
    texts = {"attributes": said, "encounter": encounter or ""}
    return {**{name: text for name, text in texts.items() if text}, "top": top,
            "new_rate": new_rate}  # fmt: skip


def answers_of(found: Mapping[str, Any], names: Sequence[str]) -> list[Identification]:
    """The answers to a request, with its images by their names.

    Args:
        found: the JSON, which calls images by their place: `image 0`.
        names: of the images of the request.
    """
    name_of = {f"image {place}": name for place, name in enumerate(names)}

    def named(pair: MatchedImages) -> MatchedImages:
        return replace(pair, asked=name_of[pair.asked])

    answers = []
    for question in found["questions"]:
        one = Identification.from_json(question)
        ranked = tuple(replace(each, best_pair=named(each.best_pair)) for each in one.ranked)
        images = tuple(name_of[image] for image in one.images)
        name = name_of.get(one.name, one.name)
        answers.append(replace(one, name=name, images=images, ranked=ranked))
    return answers


def threshold_of(found: Mapping[str, Any]) -> NewIndividualThreshold | None:
    """Below which score somebody is called new; None where the gallery cannot say."""
    said = found["threshold"]
    return None if said is None else NewIndividualThreshold.from_json(said)
