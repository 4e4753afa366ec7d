"""Which logged images are worth a look: chosen ones, and a random share beside them."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holotype.bundle.bundle import load_bundle
from holotype.errors import DatasetError, RunExists, UsageError
from holotype.files import require_writable
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import Progress, default_progress, pluralize
from holotype.registry.resolve_registered import registered_path
from holotype.text_tables import TEXT_ROWS, short_text, text_table
from holotype.watching.labelling.gradient_embeddings import gradient_embeddings, kmeans_plus_plus
from holotype.watching.labelling.label_sheet import (
    COLUMNS,
    IMAGES,
    LABELS,
    Purpose,
    SheetRow,
    labels_of_sheets,
    write_sheet,
)
from holotype.watching.labelling.logged_images import LoggedImages, read_logged_images

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("image", "purpose", "answered", "probability", "unknown")
_MAX_CENTRES = 256  # labelled images that new ones are to be unlike; of more, a random sample


@dataclass(frozen=True, eq=False, repr=False)
class ImagesToLabel:
    """Images that a person should label.

    Attributes:
        path: the folder; `labels.csv` in it has the rows.
        rows: the random ones first.
        notes: what was left out, in sentences.
    """

    path: Path
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many images there are of each purpose."""
        found = Counter(row.purpose for row in self.rows)
        return {"chosen": found["chosen"], "random": found["random"]}

    def to_frame(self) -> "pd.DataFrame":
        """The rows of labels.csv."""
        return data_frame({name: [getattr(row, name) for row in self.rows] for name in COLUMNS})

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path), "counts": self.counts, "notes": list(self.notes),
            "images": [vars(row) for row in self.rows],
        }  # fmt: skip

    def table(self) -> list[list[object]]:
        """What a terminal shows; see `HEADER`."""
        return [
            [row.path.rpartition("/")[2][:16], row.purpose, row.predicted, row.probability,
             row.unknown]
            for row in self.rows
        ]  # fmt: skip

    @property
    def title(self) -> str:
        counts = self.counts
        return (
            f"{pluralize(len(self.rows), 'image')} to label in {self.path}: {counts['chosen']} "
            f"chosen, {counts['random']} random"
        )

    def __repr__(self) -> str:
        table = text_table(HEADER, self.table(), max_rows=TEXT_ROWS - len(self.notes))
        return short_text(self.title, table, *self.notes)

    def _repr_html_(self) -> str:
        return html_result(self.title, html_table(HEADER, self.table()), notes=self.notes)


def label_next(
    champion: str | os.PathLike[str],
    *,
    log: str | os.PathLike[str],
    budget: int = 50,
    random_share: float = 0.3,
    days: float = 30.0,
    labelled: Sequence[str | os.PathLike[str]] = (),
    output: str | os.PathLike[str] = "to-label",
    seed: int = 0,
    progress: Progress | None = None,
) -> ImagesToLabel:
    """Choose logged images that are uncertain, novel and unlike each other, and some at random.

    Chosen images train the next version; random ones never do: they are a random sample of what was
    answered, so that the accuracy on them is honest. Labels come back in `labels.csv`, or as
    feedback for the request.

    Example:
        >>> holotype.label_next("registry://cells@champion", log="log")  # doctest: +SKIP
        50 images to label in to-label: 35 chosen, 15 random

    Args:
        champion: whose answers; a run, a bundle or `registry://NAME`, which is its champion.
        log: the folder of the request log; only images that it keeps (`--image-days`) can be
            labelled.
        budget: how many images at most.
        random_share: of them, drawn at random; in [0, 1].
        days: how far back.
        labelled: earlier folders or their labels.csv. What has a label in one of them is not
            chosen, as what has feedback is not.
        output: the folder that is written; it must be new.
        seed: of what is drawn.

    Raises:
        UsageError: a number out of range.
        RunExists: the output holds something.
        DatasetError: there is no log, no kept image of this classifier, or no embedding of one.
        InvalidTable: an earlier folder has no labels.csv that can be read.

    Source:
        Ash et al. 2020; see `gradient_embeddings`.
    """
    if budget < 1 or not 0 <= random_share <= 1 or days <= 0:
        raise UsageError(
            f"--budget {budget}, --random-share {random_share:g} and --days {days:g}; expected at "
            "least one image, a share from 0 to 1, and a time above 0."
        )
    folder = Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunExists(
            f"{str(folder)!r} already holds something, perhaps labels; name another --output."
        )
    labels = labels_of_sheets([Path(each) for each in labelled])
    require_writable(folder / LABELS)
    bundle = load_bundle(registered_path(champion))
    with (progress or default_progress()).busy("reading the request log"):
        logged = read_logged_images(Path(log), bundle.sha256, days=days, seed=seed)
    logged = logged.with_labels(labels)
    _require_some(logged, Path(log), bundle.manifest.name)
    chosen = choose(logged, budget, random_share, seed)
    rows = [_row(logged, n, purpose, bundle.classes) for n, purpose in chosen]
    found = ImagesToLabel(folder, tuple(rows), _notes(logged, len(rows), budget))
    selection = {
        "log": os.path.abspath(log), "classifier": os.fspath(champion), "digest": bundle.sha256,
        "budget": budget, "random_share": random_share, "days": days, "seed": seed,
        "labelled": [os.path.abspath(each) for each in labelled],
        "classes": list(bundle.classes), "answered": logged.num_answered,
        "not_kept": logged.num_not_kept, "kept": len(logged), **found.counts,
    }  # fmt: skip
    write_sheet(folder, rows, [logged.images[n].file for n, _ in chosen], selection)
    return found


def choose(
    logged: LoggedImages, budget: int, random_share: float, seed: int
) -> list[tuple[int, Purpose]]:
    """Rows and what each is for: the random ones first, then the others as they were drawn.

    The random ones are drawn from all, labelled or not, since what has no label yet is no random
    sample: what was uncertain has been labelled. The others are unlike these, and unlike what is
    labelled.
    """
    rng = np.random.default_rng(seed)
    count = min(round(budget * random_share), len(logged))
    random = sorted(rng.choice(len(logged), size=count, replace=False).tolist())
    labelled = [n for n, image in enumerate(logged.images) if image.label]
    known = labelled
    if len(known) > _MAX_CENTRES:
        known = rng.choice(labelled, size=_MAX_CENTRES, replace=False).tolist()
    gradients = gradient_embeddings(logged.probabilities_NC, logged.embeddings_ND, logged.unknown_N)
    chosen = kmeans_plus_plus(
        gradients, budget - count, seed=seed,
        centres=list(dict.fromkeys([*random, *known])), excluded=labelled,
    )  # fmt: skip
    return [*((n, "random") for n in random), *((n, "chosen") for n in chosen)]


def _require_some(logged: LoggedImages, log: Path, name: str) -> None:
    """Refuse a log that nothing can be chosen from.

    Raises:
        DatasetError: see `label_next`.
    """
    if len(logged) and logged.embeddings_ND.shape[1]:
        return
    if not logged.num_answered:
        raise DatasetError(
            f"the request log {str(log)!r} has no answer of {name} in this time; name the "
            "classifier that is served, or more --days."
        )
    if len(logged):
        raise DatasetError(
            f"the request log {str(log)!r} keeps no embeddings, by which images are told apart."
        )
    raise DatasetError(
        f"of {pluralize(logged.num_answered, 'answered image')} in {str(log)!r} none is kept; "
        "serve with --image-days 30, so that there is something to look at."
    )


def _row(logged: LoggedImages, n: int, purpose: Purpose, classes: Sequence[str]) -> SheetRow:
    image, probabilities_C = logged.images[n], logged.probabilities_NC[n]
    predicted = int(probabilities_C.argmax())
    unknown = "" if logged.unknown_N is None else str(bool(logged.unknown_N[n])).lower()
    return SheetRow(
        path=f"{IMAGES}/{image.sha256}{image.file.suffix}",
        purpose=purpose,
        group=image.group,
        predicted=classes[predicted],
        probability=f"{probabilities_C[predicted]:.4f}",
        unknown=unknown,
        time=image.time,
        request_id=image.request_id,
        image=str(image.image),
        sha256=image.sha256,
    )


def _notes(logged: LoggedImages, found: int, budget: int) -> tuple[str, ...]:
    notes = []
    if logged.num_not_kept:
        notes.append(
            f"{logged.num_not_kept:,} of {logged.num_answered:,} answered images are not kept, so "
            "nobody can label them: the random ones are a sample of those that are."
        )
    if found < budget:
        notes.append(f"{found} images instead of {budget}: the others are like these.")
    if logged.unknown_N is None:
        notes.append(
            "The classifier does not say which images are unknown (recipe: unknown), so novelty "
            "counts by the embedding alone."
        )
    return tuple(notes)
