"""Match the slices of a specimen with those of known specimens.

For every slice the most similar slice of every reference specimen, by three measures (see
`pixel_similarity`), and the means over the slices of a specimen.

Slices are cropped to their foreground and padded to one square frame first, so that neither
position nor size counts. They are not rotated.

Shape suffixes: Q slices that are asked about, R reference slices, S side of the frame.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.bundle.image_sources import ImageFile, image_sources
from holotype.bundle.inference import predict_images
from holotype.dataset.index import TABLE_EXTENSIONS, read_index
from holotype.errors import DatasetError, EmptyDataset, ImageError
from holotype.explanation.pixel_similarity import dice_QR, ncc_QR, otsu_mask, ssim
from holotype.imaging.decode import Image, decode
from holotype.imaging.preprocessing import Preprocessing
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import ProgressCallback, pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

SIDE = 64  # pixels of the frame
FRAME = Preprocessing(
    SIDE, SIDE, "pad", "bilinear", (0.0,) * 3, (1.0,) * 3, background=(0, 0, 0), content="crop"
)
COLUMNS = (
    "specimen", "class", "probability", "rank", "reference", "reference_label",
    "specimen_ssim", "specimen_ncc", "specimen_dice",
    "slice", "reference_slice", "ssim", "ncc", "dice",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of one specimen.

    Attributes:
        name: its path as it was found.
        file: its path.
        specimen: its group.
        label: its class; "" where it is not known.
    """

    name: str
    file: Path
    specimen: str
    label: str = ""


@dataclass(frozen=True)
class SlicePair:
    """A slice and the slice of one reference specimen that it looks most like."""

    slice: Slice
    reference: Slice
    ssim: float
    ncc: float
    dice: float


@dataclass(frozen=True)
class RankedReference:
    """How much a specimen looks like one reference specimen: means over the best pairs.

    Attributes:
        specimen, label: of the reference.
        ssim, ncc, dice: each the mean, over the slices, of the best value that any slice of the
            reference gets.
        pairs: for every slice the partner with the highest SSIM.
    """

    specimen: str
    label: str
    ssim: float
    ncc: float
    dice: float
    pairs: tuple[SlicePair, ...]

    @property
    def score(self) -> float:
        """The mean of the three, by which references are ranked."""
        return (self.ssim + self.ncc + self.dice) / 3


@dataclass(frozen=True)
class SpecimenMatch:
    """What was found of one specimen.

    Attributes:
        class_name, probability: the classifier's answer for all its slices, by the mean of their
            probabilities.
        ranked: reference specimens, the most alike first; itself is never among them.
    """

    specimen: str
    class_name: str
    probability: float
    ranked: tuple[RankedReference, ...]


@dataclass(frozen=True, repr=False)
class SliceMatches:
    """The matches of all specimens that were asked about."""

    specimens: tuple[SpecimenMatch, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows for a terminal: the most alike reference of every specimen."""
        rows = [
            [s.specimen, s.class_name, best.specimen, best.label]
            + [f"{value:.3f}" for value in (best.ssim, best.ncc, best.dice)]
            for s in self.specimens
            for best in s.ranked[:1]
        ]
        return ["specimen", "class", "most like", "label", "ssim", "ncc", "dice"], rows

    def columns(self) -> dict[str, list[Any]]:
        """What `matches.csv` holds, by column: a row for each slice and reference specimen."""
        rows = [
            (
                one.specimen, one.class_name, one.probability, rank,
                other.specimen, other.label, other.ssim, other.ncc, other.dice,
                pair.slice.name, pair.reference.name, pair.ssim, pair.ncc, pair.dice,
            )
            for one in self.specimens
            for rank, other in enumerate(one.ranked, start=1)
            for pair in other.pairs
        ]  # fmt: skip
        return {name: [row[n] for row in rows] for n, name in enumerate(COLUMNS)}

    def to_frame(self) -> "pd.DataFrame":
        """The columns of `matches.csv`."""
        return data_frame(self.columns())

    @property
    def _title(self) -> str:
        return f"Matches of {pluralize(len(self.specimens), 'specimen')}"

    def __repr__(self) -> str:
        return short_text(self._title, text_table(*self.table(), max_rows=TEXT_ROWS))

    def _repr_html_(self) -> str:
        return html_result(self._title, html_table(*self.table()))

    def to_json(self) -> dict[str, Any]:
        """For `--json`: the ranking of every specimen, without the pairs."""
        return {
            "specimens": [
                {
                    "specimen": one.specimen,
                    "class": one.class_name,
                    "probability": one.probability,
                    "ranked": [
                        {"specimen": r.specimen, "label": r.label, "score": r.score,
                         "ssim": r.ssim, "ncc": r.ncc, "dice": r.dice}
                        for r in one.ranked
                    ],
                }
                for one in self.specimens
            ]
        }  # fmt: skip


def read_reference_slices(data: str | Path) -> list[Slice]:
    """The slices of a labelled index with groups; the table of a folder where it has one.

    Raises:
        DatasetError: there are no groups.
    """
    index = read_index(_table_in(Path(data)))
    table = index.table
    if (table["group"] == "").all():
        raise DatasetError(
            f"{str(data)!r} names no specimens; expected a table with the columns path, label and "
            "group, as `holotype slice` writes it."
        )
    named = zip(table["path"], table["group"], table["label"], strict=True)
    return _sorted_by_scan(
        [Slice(path, index.file(path), group, label) for path, group, label in named]
    )


def read_slices(paths: Sequence[Path]) -> list[Slice]:
    """Slices to ask about: tables and folders with one give groups; of other images the folder
    that they lie in is the specimen.

    Raises:
        EmptyDataset, UsageError: there are none.
    """
    found: list[Slice] = []
    for path in paths:
        source = _table_in(path)
        if source.suffix.lower() in TABLE_EXTENSIONS:
            found += read_reference_slices(source)
        else:
            found += [
                Slice(file.id, file.path, file.path.absolute().parent.name)
                for file in image_sources(path)
                if isinstance(file, ImageFile)
            ]
    return _sorted_by_scan(found)


def match_specimens(
    bundle: Bundle,
    slices: Sequence[Slice],
    references: Sequence[Slice],
    *,
    on_progress: ProgressCallback = lambda done, total: None,
) -> SliceMatches:
    """The reference specimens most like each specimen; slices that cannot be read are left out.

    Every slice is compared with every reference slice but those of its own specimen.

    Raises:
        EmptyDataset: nothing can be read, or there is no other specimen to compare with.
    """
    predictions = predict_images(bundle, image_sources([one.file for one in slices]))
    probabilities_of = dict(zip(predictions.ids, predictions.probabilities_NC, strict=True))
    framed_R = FramedSlices.decoded(references)
    of_specimen: dict[str, list[Slice]] = {}
    for one in slices:
        of_specimen.setdefault(one.specimen, []).append(one)
    specimens, done = [], 0
    for name, own in of_specimen.items():
        ranked = ranked_references(name, FramedSlices.decoded(own), framed_R)
        done += len(own)
        on_progress(done, len(slices))
        answers_QC = [
            probabilities_of[str(one.file)] for one in own if str(one.file) in probabilities_of
        ]
        mean_C = np.mean(answers_QC, axis=0)
        best = int(mean_C.argmax())
        specimens.append(SpecimenMatch(name, bundle.classes[best], float(mean_C[best]), ranked))
    return SliceMatches(tuple(specimens))


def ranked_references(
    specimen: str, framed_Q: "FramedSlices", references: "FramedSlices"
) -> tuple[RankedReference, ...]:
    """The specimens among the references most like one, without itself.

    Raises:
        EmptyDataset: there are no slices of it, or none of others.
    """
    others = references.without_specimen(specimen)
    if not framed_Q.slices or not others.slices:
        raise EmptyDataset(
            f"specimen {specimen!r}: {pluralize(len(framed_Q.slices), 'slice')} could be read, and "
            f"{len(others.slices)} reference slices of other specimens; expected some of both."
        )
    return _rank_references(framed_Q.slices, others.slices, _score_pairs(framed_Q, others))


def framed_grey(image: Image, side: int = SIDE) -> NDArray[np.uint8]:
    """A slice as it is compared: cropped to what is bright, in a square frame (side, side)."""
    frame = replace(FRAME, height=side, width=side)
    return np.asarray(frame.frame(image).convert("L"))


@dataclass(frozen=True, eq=False)
class FramedSlices:
    """Slices that could be read, in the common frame: grey in [0, 1], and what is bright."""

    slices: list[Slice]
    grey_QSS: NDArray[np.float32]
    bright_QSS: NDArray[np.bool_]

    @classmethod
    def of(cls, framed: Sequence[tuple[Slice, NDArray[np.uint8]]]) -> "FramedSlices":
        """Slices with what `framed_grey` makes of them."""
        grey = [np.asarray(grey_SS, np.float32) / 255 for _, grey_SS in framed]
        grey_QSS = np.array(grey, np.float32).reshape(len(framed), SIDE, SIDE)
        bright_QSS = np.array([otsu_mask(one_SS) for one_SS in grey_QSS], bool)
        return cls([one for one, _ in framed], grey_QSS, bright_QSS.reshape(grey_QSS.shape))

    @classmethod
    def decoded(cls, slices: Sequence[Slice]) -> "FramedSlices":
        """Slices from their files, without those that cannot be read."""
        framed = []
        for one in slices:
            with suppress(ImageError):
                framed.append((one, framed_grey(decode(one.file, name=one.name))))
        return cls.of(framed)

    def without_specimen(self, specimen: str) -> "FramedSlices":
        """Those of all other specimens."""
        kept = [row for row, one in enumerate(self.slices) if one.specimen != specimen]
        slices = [self.slices[row] for row in kept]
        return FramedSlices(slices, self.grey_QSS[kept], self.bright_QSS[kept])


@dataclass(frozen=True, eq=False)
class _PairScores:
    ssim_QR: NDArray[np.float64]
    ncc_QR: NDArray[np.float64]
    dice_QR: NDArray[np.float64]


def _score_pairs(first: FramedSlices, second: FramedSlices) -> _PairScores:
    ssim_QR = np.empty((len(first.slices), len(second.slices)))
    for row, one_SS in enumerate(first.grey_QSS):
        ssim_QR[row] = [ssim(one_SS, other_SS) for other_SS in second.grey_QSS]
    return _PairScores(
        ssim_QR,
        ncc_QR(first.grey_QSS, second.grey_QSS),
        dice_QR(first.bright_QSS, second.bright_QSS),
    )


def _rank_references(
    slices: Sequence[Slice], references: Sequence[Slice], scores: _PairScores
) -> tuple[RankedReference, ...]:
    columns_of: dict[str, list[int]] = {}
    for column, reference in enumerate(references):
        columns_of.setdefault(reference.specimen, []).append(column)
    ranked = []
    for specimen, columns in columns_of.items():
        partners_Q = np.array(columns)[scores.ssim_QR[:, columns].argmax(axis=1)]
        pairs = tuple(
            SlicePair(
                one, references[column], float(scores.ssim_QR[row, column]),
                float(scores.ncc_QR[row, column]), float(scores.dice_QR[row, column]),
            )
            for row, (one, column) in enumerate(zip(slices, partners_Q.tolist(), strict=True))
        )  # fmt: skip
        best_ssim, best_ncc, best_dice = (
            float(each_QR[:, columns].max(axis=1).mean())
            for each_QR in (scores.ssim_QR, scores.ncc_QR, scores.dice_QR)
        )
        label = references[columns[0]].label
        ranked.append(RankedReference(specimen, label, best_ssim, best_ncc, best_dice, pairs))
    return tuple(sorted(ranked, key=lambda one: (-one.score, one.specimen)))


def _table_in(path: Path) -> Path:
    """The table that `holotype slice` put into a folder; else the path itself."""
    return path / "table.csv" if (path / "table.csv").is_file() else path


def _sorted_by_scan(slices: list[Slice]) -> list[Slice]:
    """By specimen and name, so that pairs stand in the order of the scan."""
    return sorted(slices, key=lambda one: (one.specimen, one.name))
