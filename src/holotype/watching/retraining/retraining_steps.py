"""The steps of a retraining; each reads what the one before wrote, and is done once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.embedding import Embeddings
from holotype.bundle.inference import combined_logits, embed_index
from holotype.dataset.auditing.issues_csv import Issue, write_issues
from holotype.dataset.class_names import class_name, quoted_names, similar_class_names
from holotype.dataset.index import Index, read_index_file
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.errors import ChampionMoved, DatasetError, PromotionRefused
from holotype.files import csv_text, read_json, write_json, write_text
from holotype.predictions import softmax
from holotype.progress import Progress, default_progress
from holotype.registry.registry import Registry
from holotype.watching.retraining.candidate_training import train_candidate
from holotype.watching.retraining.champion import Champion
from holotype.watching.retraining.flipped_labels import (
    MAX_OLD,
    LabelledEmbeddings,
    check_new_labels,
)
from holotype.watching.retraining.promotion_decision import (
    PairedAccuracy,
    PromotionDecision,
    decide,
    paired_accuracy,
)
from holotype.watching.retraining.retraining_data import (
    RetrainingData,
    read_retraining_data,
    write_data,
)
from holotype.watching.retraining.retraining_directory import RetrainingDirectory
from holotype.watching.retraining.retraining_result import (
    Outcome,
    Retraining,
    suspected_sentence,
)

CHALLENGER = "challenger"
Start = Literal["anew", "champion"]


@dataclass(frozen=True)
class RetrainingChoices:
    """What decides a retraining beside its labels; see `retrain`."""

    start: Start
    margin: float
    accept_labels: bool
    promote: bool
    device: str


@dataclass(frozen=True, eq=False)
class RetrainingJob:
    """One retraining under way.

    Attributes:
        deadline_s: of `time.monotonic()`; None without a budget.
    """

    registry: Registry
    champion: Champion
    directory: RetrainingDirectory
    choices: RetrainingChoices
    deadline_s: float | None = None
    progress: Progress = field(default_factory=default_progress)

    @property
    def new_classes(self) -> tuple[str, ...]:
        """Classes of the new labels that the champion does not know, once these were checked."""
        check = self.directory.label_check
        return tuple(read_json(check).get("new_classes", ())) if check.is_file() else ()

    def ended(self, outcome: Outcome, reasons: Sequence[str], **more: Any) -> Retraining:
        """The result, written."""
        check, placement = self.directory.label_check, self.directory.placement
        result = Retraining(
            name=self.champion.name,
            outcome=outcome,
            reasons=tuple(reasons),
            champion=self.champion.version.version,
            path=self.directory.path,
            labels=read_json(check) if check.is_file() else {},
            new_classes=self.new_classes,
            images=read_json(placement)["counts"] if placement.is_file() else {},
            **more,
        )
        write_json(self.directory.result, result.to_json())
        return result


def prepare_data(job: RetrainingJob) -> None:
    """Read and audit all images, look at the new labels, and write what trains."""
    directory = job.directory
    if directory.placement.is_file():
        return
    data = read_retraining_data(job.champion, directory, job.progress)
    check_labels(job, data)
    notes = {name: read_json(directory.request)[name] for name in ("unlabelled", "not_kept")}
    write_data(data, job.champion, notes, directory)


def check_labels(job: RetrainingJob, data: RetrainingData) -> None:
    """Write what is to be suspected of the new labels."""
    index = _sample_of_old(data)
    with job.progress.bar("looking at the new labels") as update:
        embeddings = embed_index(
            job.champion.bundle, index, on_progress=lambda done: update(done, len(index))
        )
    if embeddings.refused:
        raise DatasetError(f"an image became unreadable: {embeddings.refused[0]}")
    bundle, table = job.champion.bundle, index.table
    classes = tuple(map(class_name, bundle.classes))
    classes += tuple(sorted(set(table["label"]) - set(classes)))
    number_of = {name: number for number, name in enumerate(classes)}
    held_out = ["test"] if bundle.trained_on_validation else ["val", "test"]
    check = check_new_labels(
        LabelledEmbeddings(
            paths=[data.source_of.get(path, path) for path in table["path"]],
            embeddings_ND=embeddings.embeddings_ND,
            probabilities_NC=_probabilities(bundle, embeddings),
            targets_N=np.array([number_of[label] for label in table["label"]], np.int64),
            is_new_N=table["path"].isin(data.new).to_numpy(),
            is_held_out_N=table["split"].isin(held_out).to_numpy(),
            groups=atomic_group_names(table, data.findings.duplicate_clusters),
            classes=classes,
        )
    )
    issues = [
        Issue(each.path, "label_error", each.evidence, f"is it {each.suggested!r}?")
        for each in check.suspected
    ]
    write_issues(issues, job.directory.label_issues)
    new_classes = list(classes[len(bundle.classes) :])
    write_json(job.directory.label_check, check.to_json() | {"new_classes": new_classes})


def require_right_labels(job: RetrainingJob) -> Retraining | None:
    """The refusal where new labels are a burst of wrong ones, or misspell a class; else None."""
    if job.choices.accept_labels:
        return None
    reasons = _misspelt_classes(job)
    found = read_json(job.directory.label_check)
    if found["is_burst"]:
        reasons.append(
            f"{found['suspected_units']} of {found['units']} new labels are probably wrong: "
            f"{suspected_sentence(found)}. Correct them where they came from, or say "
            "--accept-labels where they are right."
        )
    return job.ended("refused", reasons) if reasons else None


def _misspelt_classes(job: RetrainingJob) -> list[str]:
    """A sentence for each new class whose name differs from another's by its form only.

    One such label would make a candidate of other classes than the champion's, which no server
    takes in its place.
    """
    new = job.new_classes
    names = {*map(class_name, job.champion.bundle.classes), *new}
    return [
        f"The new labels have the class {quoted_names([name], alike)}, which the champion does not "
        f"know, beside {quoted_names([other for other in alike if other != name], alike)}. Correct "
        "the label where it came from, or say --accept-labels where it is a class of its own."
        for alike in similar_class_names(names)
        for name in alike
        if name in new
    ]


def train(job: RetrainingJob) -> None:
    """See `candidate_training`."""
    with job.progress.busy(f"training; see {job.directory.jobs / 'train.log'}"):
        train_candidate(
            job.champion, job.directory, warm=job.choices.start == "champion",
            device=job.choices.device, deadline_s=job.deadline_s,
        )  # fmt: skip


def judge(job: RetrainingJob) -> PromotionDecision:
    """Champion against candidate on the old test and on fresh labels; written, read if it is."""
    directory = job.directory
    if directory.decision.is_file():
        return PromotionDecision.from_json(read_json(directory.decision))
    candidate = load_bundle(directory.run.path)
    known = set(job.champion.index.part("test").table["sha256"])
    everything = read_index_file(directory.data(job.champion.name))
    in_old_test = everything.table["sha256"].isin(known) & (everything.table["split"] == "test")
    old = Index(everything.root, everything.table[in_old_test].reset_index(drop=True),
                everything.classes)  # fmt: skip
    parts = {"old_test": old, "fresh": read_index_file(directory.fresh)}
    found = {
        part: _compare(job, candidate, index, directory.answers(part))
        for part, index in parts.items()
    }
    decision = decide(found["old_test"], found["fresh"], margin=job.choices.margin)
    write_json(directory.decision, decision.to_json())
    return decision


def register(job: RetrainingJob, decision: PromotionDecision) -> Retraining:
    """Register the candidate, make it the challenger unless it is worse, and promote it if asked.

    What is done already is not done again.
    """
    registry, champion = job.registry, job.champion
    name, old = champion.name, champion.version.version
    counts = read_json(job.directory.placement)["counts"]
    trained = counts.get("train", 0) + counts.get("val", 0)
    version = registry.add(
        job.directory.run.path, name=name, reason=f"{name}/{old} retrained on {trained} new labels"
    ).version
    more: dict[str, Any] = {"candidate": version, "decision": decision}
    reasons = (*decision.reasons, *_new_classes_sentence(job))
    if registry.current_version(name) == version:
        return job.ended("promoted", reasons, **more)
    if decision.judgement == "reject":
        return job.ended("rejected", reasons, **more)
    if registry.current_version(name, CHALLENGER) != version:
        registry.tag(name, version, CHALLENGER, reason=" ".join(reasons))
    if decision.judgement != "promote":
        return job.ended("challenger", reasons, **more)
    if not job.choices.promote:
        advice = "Say --promote, or let it prove itself in a shadow first."
        return job.ended("challenger", reasons if job.new_classes else (*reasons, advice), **more)
    why = f"old test {decision.old}; fresh labels {decision.fresh}"
    try:
        registry.promote(name, version, if_champion=old, reason=why)
    except (PromotionRefused, ChampionMoved) as error:
        return job.ended("challenger", (*reasons, str(error)), **more)
    registry.tag(name, None, CHALLENGER, reason="it is the champion")
    return job.ended("promoted", reasons, **more)


def _new_classes_sentence(job: RetrainingJob) -> tuple[str, ...]:
    """That the candidate has other classes than what it would follow, where it does."""
    if not job.new_classes:
        return ()
    known = job.champion.bundle.classes
    return (
        f"It knows {quoted_names(job.new_classes, known)} too, which the champion does not: a "
        "server takes it under another name only.",
    )


def _sample_of_old(data: RetrainingData) -> Index:
    """New images and old ones, of which at most `MAX_OLD`; sorted by path."""
    table = data.index.table
    is_new = table["path"].isin(data.new)
    old = table[~is_new & (table["weight"] > 0)]
    if len(old) > MAX_OLD:
        old = old.sample(MAX_OLD, random_state=0)
    kept = {*data.new, *old["path"]}
    return data.index.without(set(table["path"]) - kept)


def _probabilities(bundle: Bundle, embeddings: Embeddings) -> NDArray[np.float64]:
    return softmax(combined_logits(bundle, embeddings), bundle.temperature)


def _compare(job: RetrainingJob, candidate: Bundle, index: Index, file: Path) -> PairedAccuracy:
    """Both on the images of an index; what they say is written."""
    table = index.table
    labels = table["label"].tolist()
    said = {
        "champion": _answers(job, job.champion.bundle, index),
        "candidate": _answers(job, candidate, index),
    }
    columns = {name: table[name].tolist() for name in ("path", "label", "group", "weight")}
    write_text(file, csv_text({**columns, **said}))
    right = {
        name: np.array([a == b for a, b in zip(answers, labels, strict=True)], np.bool_)
        for name, answers in said.items()
    }
    return paired_accuracy(
        right["champion"], right["candidate"], table["weight"].to_numpy(np.float64),
        table["group"].tolist(),
    )  # fmt: skip


def _answers(job: RetrainingJob, bundle: Bundle, index: Index) -> list[str]:
    """The class of every image."""
    if not len(index):
        return []
    with job.progress.bar(f"predicting {len(index)} images") as update:
        embeddings = embed_index(bundle, index, on_progress=lambda done: update(done, len(index)))
    if embeddings.refused:
        raise DatasetError(f"an image became unreadable: {embeddings.refused[0]}")
    classes = list(map(class_name, bundle.classes))
    return [classes[c] for c in _probabilities(bundle, embeddings).argmax(axis=1)]


def choices_as_json(choices: RetrainingChoices) -> dict[str, Any]:
    """What may not differ where a retraining goes on."""
    found = asdict(choices)
    return {name: found[name] for name in ("start", "margin", "accept_labels")}
