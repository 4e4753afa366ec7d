"""Pictures -> index -> audit -> split -> train -> bundle -> predictions -> report."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holotype.errors import DatasetError, EmptyDataset
from holotype.narration import Narrator
from holotype.run import Run, next_run_path

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.dataset.findings import Findings
    from holotype.dataset.index import Index
    from holotype.evaluation.report import Report
    from holotype.predictions import Predictions
    from holotype.training.recipe import Recipe
    from holotype.training.train import Trained

Published = Sequence[tuple[str, float, str]]  # who, accuracy as a fraction, what differs


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `train` leaves in memory; all of it is on disk too.

    Attributes:
        run: the directory.
        metrics: the report on the test part, or on validation where test has no pictures.
        findings: of the audit.
    """

    run: Run
    metrics: "Report"
    findings: "Findings"

    def summary(self) -> dict[str, Any]:
        """For `--json`: where things are, and the numbers."""
        return {
            "run": str(self.run.path),
            "bundle": str(self.run.bundle),
            "report": str(self.run.report / "index.html"),
            "refused": sorted(self.findings.broken),
            "metrics": self.metrics.to_json(),
        }


def train(
    data: str | Path,
    *,
    output: str | Path | None = None,
    model: str | None = None,
    recipe: str | Path = "finetune",
    seed: int | None = None,
    weights: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    overrides: Mapping[str, str] | None = None,
    ratios: Sequence[float] | None = None,
    split_seed: int | None = None,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    device: str = "auto",
    narrator: Narrator | None = None,
    published: Published = (),
    notes: Sequence[str] = (),
) -> TrainedRun:
    """Audit, split, train, ship, and read the test part once.

    Args:
        data: a folder with one folder per class, split folders, or a CSV or Parquet table.
        output: the run directory; `runs/NAME-1`, `-2`, … unless said otherwise.
        recipe: a name or a YAML file; the other arguments change single fields of it, see
            `resolve_recipe`.
        label_pattern, group_pattern: where the file's path tells label and group.
        published: figures of others to print beside the score.
        notes: caveats to print near the score.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    from holotype.dataset.audit import audit
    from holotype.dataset.index import read_index, require_classes
    from holotype.dataset.split import missing_classes, split
    from holotype.models.weights import find_weights
    from holotype.training.device import resolve_device
    from holotype.training.recipe import resolve_recipe

    narrator = narrator or Narrator()
    resolved = resolve_recipe(
        recipe, model=model, weights=weights, seed=seed, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, image_size=image_size, ratios=ratios,
        split_seed=split_seed, overrides=overrides,
    )  # fmt: skip
    resolved_device = resolve_device(device)
    find_weights(resolved.model, resolved.weights)  # asked first: a refusal should cost no time
    run = Run.free(output or next_run_path(Path(data).resolve().stem))
    index = read_index(data, label_pattern=label_pattern, group_pattern=group_pattern)
    require_classes(index)
    narrator.say(f"{len(index):,} pictures of {len(index.classes)} classes in {index.root}")
    with narrator.progress("auditing") as progress:
        findings = audit(index, on_progress=progress)
    index = _usable(index, findings, narrator)
    index = split(
        index, ratios=resolved.split.ratios, seed=resolved.split.seed, together=findings.copies
    )
    lacking = _lacking(missing_classes(index))
    with run.create():
        narrator = replace(narrator, log=run.log)
        for line in lacking:
            narrator.say(line)
        run.write_recipe(resolved.to_yaml())
        index.write(run.index)
        findings.write(run.audit)
        _write_environment(run, resolved_device)
        trained, bundle = _train_and_ship(
            resolved, index, Path(data).resolve().stem, run, resolved_device, narrator
        )
        report = _report(
            index, run, bundle, trained, findings, narrator, resolved,
            data=str(data), published=published, notes=[*notes, *_leaks(findings), *lacking],
            command=_command(data, run, label_pattern, group_pattern),
        )  # fmt: skip
    return TrainedRun(run, report, findings)


def _usable(index: "Index", findings: "Findings", narrator: Narrator) -> "Index":
    """The pictures that can be read; the others are named and left out."""
    from holotype.dataset.index import require_classes

    for refusal in findings.refusals:
        narrator.say(f"left out: {refusal.path!r}: {refusal.reason}")
    usable = index.without(findings.broken)
    if len(usable) == 0:
        raise EmptyDataset(
            f"none of the {len(index)} pictures in {str(index.root)!r} can be read; the first: "
            f"{findings.refusals[0].reason}."
        )
    present = set(usable.table["label"])
    usable = replace(usable, classes=tuple(c for c in usable.classes if c in present))
    require_classes(usable)
    for name in sorted(set(index.classes) - present):
        narrator.say(f"class {name!r} is left out: none of its pictures can be read")
    return usable


def _lacking(missing: Mapping[Any, Sequence[str]]) -> list[str]:
    """What each part lacks, in words; too few pictures of a class are no reason to stop."""
    return [
        f"The {part} part has no picture of: {', '.join(names)} (too few pictures to divide)."
        for part, names in missing.items()
        if names
    ]


def _leaks(findings: "Findings") -> list[str]:
    """What to say of a split that came with the data and does not keep apart what it should."""
    if not findings.leaks:
        return []
    return [
        f"The split came with the data, and {len(findings.leaks)} sets of copies, or groups, stand "
        "on both sides of it: the score flatters. audit/issues.csv names them."
    ]


def _train_and_ship(
    recipe: "Recipe", index: "Index", name: str, run: Run, device: str, narrator: Narrator
) -> "tuple[Trained, Bundle]":
    """Train, write the bundle, and seal the decision that validation makes."""
    from holotype.bundle.bundle import write_bundle
    from holotype.bundle.inference import predict
    from holotype.evaluation.decision import decide
    from holotype.training.history import write_history
    from holotype.training.train import train as train_stages

    trained = train_stages(
        recipe, index, name=name, checkpoints=run.checkpoints, device=device,
        narrator=narrator,
    )  # fmt: skip
    write_history(trained.history, run.history)
    bundle = write_bundle(
        run.bundle, backbone=trained.backbone, head=trained.head, manifest=trained.manifest
    )
    validation = index.part("val")
    if len(validation):
        predictions, _ = predict(bundle, validation)
        bundle = bundle.with_decision(decide(predictions))
    return trained, bundle


def _predictions_of(
    part: Literal["val", "test"], index: "Index", bundle: "Bundle", run: Run, narrator: Narrator
) -> "Predictions | None":
    """Predictions of one part, written; None where it has no pictures."""
    from holotype.bundle.inference import predict

    pictures = index.part(part)
    if len(pictures) == 0:
        return None
    with narrator.progress(f"predicting {part}") as progress:
        predictions, refused = predict(
            bundle, pictures, on_progress=lambda done: progress(done, len(pictures))
        )
    if refused:
        raise DatasetError(f"a picture became unreadable while training ran: {refused[0]}")
    predictions.write(run.predictions / f"{part}.parquet")
    return predictions


def _report(
    index: "Index",
    run: Run,
    bundle: "Bundle",
    trained: "Trained",
    findings: "Findings",
    narrator: Narrator,
    recipe: "Recipe",
    *,
    data: str,
    published: Published,
    notes: Sequence[str],
    command: str,
) -> "Report":
    """The first and only look at test, and what it says, written down."""
    from dataclasses import asdict

    from holotype.dataset.listing import PARTS
    from holotype.evaluation.report import ReportContext, evaluate, write_report
    from holotype.explanation.gallery import gallery

    validation = _predictions_of("val", index, bundle, run, narrator)
    test = _predictions_of("test", index, bundle, run, narrator)
    shown = test if test is not None else validation
    part: Literal["val", "test"] = "test" if test is not None else "val"
    if shown is None:
        raise DatasetError(
            "neither validation nor test has a picture, so nothing can be reported; "
            "add pictures, or change --ratios."
        )
    if test is None:
        notes = [
            *notes,
            "The test part has no pictures: this is validation, which chose the model.",
        ]
    report = evaluate(shown, part=part)
    narrator.say("writing the report")
    write_report(
        report, run.report, predictions=shown,
        context=ReportContext(
            title=run.path.name,
            run_name=run.path.name,
            model=recipe.model,
            recipe=recipe.name,
            data=f"{len(index):,} pictures of {len(index.classes)} classes in {data}",
            split_sizes={name: len(index.part(name)) for name in PARTS},
            audit=findings.summary_rows(),
            notes=[*notes, *trained.notes],
            bundle_hash=bundle.sha256,
            temperature=bundle.temperature,
            command=command,
            published=published,
        ),
        exhibits=gallery(bundle, index.part(part), shown),
        history=[asdict(row) for row in trained.history],
        validation=evaluate(validation, part="val") if validation is not None else None,
    )  # fmt: skip
    return report


def _write_environment(run: Run, device: str) -> None:
    import os
    import platform

    from holotype.files import write_json
    from holotype.training.train import made_by

    write_json(
        run.environment,
        {
            "command": shlex.join(sys.argv),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "device": device,
            "versions": made_by(),
        },
    )


def _command(
    data: str | Path, run: Run, label_pattern: str | None, group_pattern: str | None
) -> str:
    """What repeats the run."""
    words = ["holotype", "train", str(data), "--recipe", str(run.recipe)]
    for option, value in (("--label-pattern", label_pattern), ("--group-pattern", group_pattern)):
        words += [option, value] if value else []
    return shlex.join(words)
