"""Accuracy with groups ignored and with groups kept whole: synthetic micro-CT, and cells by blocks.

    python benchmarks/group_leakage_gap.py --figure docs/images/group_leakage.png

Each set is scored twice out of fold, by the same linear head on the same features of the frozen
network: once with images assigned at random, once with every group in one fold. Nothing is tuned.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import fetch
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.pipeline.audit import Audit
from holotype.pipeline.training_run.group_leakage_report import measure_group_leakage
from holotype.pipeline.training_run.train import make_runtime
from holotype.pipeline.training_run.training_job import TrainingJob, TrainingRequest
from holotype.progress import to_stderr
from holotype.reporting.plot_style import save
from holotype.reporting.plots import group_leakage_figure
from holotype.training.config.resolve import resolve_recipe
from holotype.training.interruption import StopSignal

SETS = {
    "micro-ct": "synthetic micro-CT, by specimen",
    "elpv-blocks": "solar cells, by blocks of 60",
}


def measured(name: str, directory: Path) -> GroupLeakage:
    """Both accuracies on one sample set; all its images take part."""
    progress = to_stderr()
    data = fetch(name, directory / name)
    index = read_index(data)
    with progress.bar("auditing") as update:
        findings = audit(index, on_progress=update)
    recipe = resolve_recipe("linear")
    request = TrainingRequest(data=data, recipe=recipe, progress=progress, name=name)
    runtime = make_runtime(request, recipe, directory / "checkpoints", StopSignal())
    job = TrainingJob(request, recipe, runtime, Audit(index, findings, name))
    found = measure_group_leakage(job, index)
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    found: dict[str, GroupLeakage] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, label in SETS.items():
            began = time.perf_counter()
            found[label] = measured(name, Path(scratch))
            print(json.dumps(_row(name, found[label], time.perf_counter() - began)), flush=True)
    if options.figure:
        save(group_leakage_figure(found), options.figure)


def _row(name: str, found: GroupLeakage, seconds: float) -> dict[str, object]:
    return {
        "set": name,
        "images": found.num_images,
        "groups": found.num_groups,
        "groups_ignored": found.random_split.to_json(),
        "groups_kept_whole": found.grouped_split.to_json(),
        "gap": found.gap,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
