"""Runs that hold nothing but a tiny classifier, one with classes that are scripts and markup."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import holotype
from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.conformal_scores import ConformalScores
from holotype.bundle.inference import ood_scores
from holotype.bundle.manifest import CalibrationSet, Decision, OODDetector
from holotype.dataset.atomic_directory import write_table
from tests.bundle.tiny import (
    EMBEDDING,
    backbone_model,
    embedded,
    head_model,
    manifest,
    write_images,
    write_tiny,
)
from tests.explanation.test_specimen_matching import draw

HOSTILE_CLASSES = (
    "<script>alert(1)</script>",
    "\u202egnp.exe\x1b[31m",
    '"><img src=x onerror=alert(1)>',
)
HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe", "a\x1b[31mred",
    "{{7*7}}", "javascript:alert(1)", "' onmouseover='alert(1)", "&lt;b&gt;", "%3Cscript%3E",
    "\u2066x\u2069", "</title><script>alert(1)</script>", "a\x07b", "\u200fend", "$(reboot)",
)  # fmt: skip


def hostile_names(count: int) -> list[str]:
    """So many different ones."""
    return [f"{HOSTILE[n % len(HOSTILE)]} {n}" for n in range(count)]


def write_hostile(folder: Path, names: Sequence[str]) -> None:
    """A classifier, slices and individuals of these names, one image each."""
    weight_CD = np.random.default_rng(0).normal(size=(len(names), EMBEDDING)).astype(np.float32)
    bundle = write_bundle(
        folder / "hostile" / "bundle",
        backbone=backbone_model().SerializeToString(),
        head=head_model(weight_CD=weight_CD).SerializeToString(),
        manifest=manifest(classes=tuple(names), cam="none"),
    )
    write_run(folder / "hostile", bundle)
    for place, kind, header in (
        ("hostile-slices", "disc", ("path", "label", "group")),
        ("hostile-seen", "cross", ("path", "individual", "encounter")),
    ):
        (folder / place).mkdir()
        rng, rows = np.random.default_rng(0), []
        for number, name in enumerate(names):
            file = f"{number:03d} {name.replace('/', '_')}.png"
            draw(kind, number % 12, (0, 0), rng).save(folder / place / file)
            rows.append((file, name, name))
        write_table(folder / place, header, rows)
    gallery = holotype.Gallery(folder / "hostile-gallery", folder / "one")
    gallery.add(folder / "hostile-seen" / "table.csv")


def write_classifiers(folder: Path) -> Path:
    """`one`: it says unknown of half of all images, and has sets. `two`: hostile class names."""
    write_run(folder / "one", sealed(folder / "one" / "bundle"))
    other = write_bundle(
        folder / "two" / "bundle",
        backbone=backbone_model().SerializeToString(),
        head=head_model(7).SerializeToString(),
        manifest=manifest(classes=HOSTILE_CLASSES, cam="none"),
    )
    write_run(folder / "two", other)
    write_scans(folder / "slices")
    return folder


def write_scans(folder: Path) -> None:
    """Two specimens of each of two shapes, with four slices each; one has a hostile name."""
    rng, rows = np.random.default_rng(0), []
    for shape in ("disc", "cross"):
        for number in range(2):
            name = f"{shape}-{number}"
            (folder / name).mkdir(parents=True)
            group = f"{name}{HOSTILE_CLASSES[0]}" if name == "disc-1" else name
            for z in range(4):
                draw(shape, z, (5 * number, 0), rng).save(folder / name / f"z-{z}.png")
                rows.append((f"{name}/z-{z}.png", shape, group))
    write_table(folder, ("path", "label", "group"), rows)


def write_run(run: Path, bundle: Bundle) -> None:
    """What makes a directory with a bundle a finished run, to whoever lists runs."""
    assert bundle.path == run / "bundle"
    (run / "recipe.yaml").write_text("model: tiny\n")


def sealed(directory: Path) -> Bundle:
    """40 images held back for prediction sets, and a threshold that half of all fall below."""
    rng = np.random.default_rng(0)
    targets_N = np.array([0] * 20 + [1] * 17 + [2] * 3)
    scores = ConformalScores(rng.random(40), rng.random(40), targets_N)
    calibration_set = CalibrationSet("cal", "1" * 64, num_images=40, penalty=0.01, k_reg=2)
    bundle = write_tiny(directory)
    seen = write_images(directory.parent / "seen", 10)
    energies_N = ood_scores(bundle, embedded(bundle, seen), "energy", 5)
    unknown = OODDetector("energy", float(np.median(energies_N)), 0.5, num_images=10, neighbours=5)
    decision = Decision(1.3, "0" * 64, 9, unknown=unknown, calibration_set=calibration_set)
    return bundle.with_decision(decision, scores)
