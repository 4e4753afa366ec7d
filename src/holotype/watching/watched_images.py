"""Images of the reference or of a window, as columns: what the log keeps of them.

Shape suffixes: N images, D embedding, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.image_facts import FACTS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WatchedImages:
    """What is known of images; every array has a row an image.

    Attributes:
        probabilities_NC: of all classes.
        embeddings_ND: None where they were not kept.
        unknown_N, set_size_N: nan where the classifier does not say.
        facts: `brightness`, `sharpness`, `width`, `height` and `bytes` as numbers, nan where they
            are not known.
        format_N: as Pillow names it; "" where it is not known.
        targets_N: true classes; -1 where they are not known.
        groups_N: images of one group are not independent.
        names_N: of the images, where there are any.
    """

    probabilities_NC: Floats
    embeddings_ND: NDArray[np.float32] | None
    unknown_N: Floats
    set_size_N: Floats
    facts: Mapping[str, Floats]
    format_N: NDArray[np.str_]
    targets_N: NDArray[np.int64]
    groups_N: NDArray[np.str_]
    names_N: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.probabilities_NC)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "WatchedImages":
        """Some of the images."""
        embeddings_ND = self.embeddings_ND
        return WatchedImages(
            probabilities_NC=self.probabilities_NC[rows],
            embeddings_ND=None if embeddings_ND is None else embeddings_ND[rows],
            unknown_N=self.unknown_N[rows],
            set_size_N=self.set_size_N[rows],
            facts={name: fact_N[rows] for name, fact_N in self.facts.items()},
            format_N=self.format_N[rows],
            targets_N=self.targets_N[rows],
            groups_N=self.groups_N[rows],
            names_N=self.names_N[rows],
        )

    def one_of_each_group(self, seed: int) -> NDArray[np.int64]:
        """The rows of one image of each group, drawn at random, in the order of the table.

        Images of one group say little more than one of them, and their distribution is that of
        one image whatever they have in common.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        _, first = np.unique(self.groups_N[order], return_index=True)
        return np.sort(order[first])

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        return np.asarray(self.probabilities_NC.argmax(axis=1), np.int64)

    @property
    def confidence_N(self) -> Floats:
        return np.asarray(self.probabilities_NC.max(axis=1, initial=0.0), np.float64)

    @property
    def fact_scores(self) -> dict[str, Floats]:
        """The facts as they are compared, some as logarithms; nan where one is not known."""
        facts = self.facts
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels_N = facts["width"] * facts["height"]
            return {
                "brightness": facts["brightness"],
                "sharpness": np.log(facts["sharpness"]),
                "size": np.log2(pixels_N),
                "bytes per pixel": np.log2(facts["bytes"] / pixels_N),
            }

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Arrays without objects; `from_arrays` takes them."""
        arrays: dict[str, NDArray[np.generic]] = {
            "probabilities": self.probabilities_NC,
            "unknown": self.unknown_N,
            "set_size": self.set_size_N,
            "format": self.format_N,
            "targets": self.targets_N,
            "groups": self.groups_N,
            "names": self.names_N,
            **self.facts,
        }
        if self.embeddings_ND is not None:
            arrays["embeddings"] = self.embeddings_ND.astype(np.float16)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "WatchedImages":
        """The table of `to_arrays`."""
        embeddings_ND = arrays["embeddings"].astype(np.float32) if "embeddings" in arrays else None
        return cls(
            probabilities_NC=arrays["probabilities"].astype(np.float64),
            embeddings_ND=embeddings_ND,
            unknown_N=arrays["unknown"].astype(np.float64),
            set_size_N=arrays["set_size"].astype(np.float64),
            facts={name: arrays[name].astype(np.float64) for name in FACTS},
            format_N=arrays["format"].astype(np.str_),
            targets_N=arrays["targets"].astype(np.int64),
            groups_N=arrays["groups"].astype(np.str_),
            names_N=arrays["names"].astype(np.str_),
        )


def joined(tables: Sequence[WatchedImages]) -> WatchedImages:
    """The images of several tables; without embeddings where one has none."""
    columns = [table.to_arrays() for table in tables]
    shared = set.intersection(*(set(each) for each in columns))
    return WatchedImages.from_arrays(
        {name: np.concatenate([each[name] for each in columns]) for name in sorted(shared)}
    )
