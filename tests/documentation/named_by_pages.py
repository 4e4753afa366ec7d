"""The images, runs, logs and tables that pages name."""

import hashlib
import shutil
import time
import zipfile
from pathlib import Path

import pandas as pd
from PIL import Image

import holotype
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.dataset.sources.synthetic_animals import make_turtles
from holotype.run_directory import RunDirectory
from holotype.serving.request_log.kept_images import KeptImages
from holotype.serving.request_log.log_row import LogRow, Timing
from holotype.serving.request_log.log_writer import LogSettings, LogWriter
from tests.test_docs import ROOT
from tests.test_examples import write_volumes
from tests.watching.made_log import answered

SWEEP = "data: [photos]\nrecipes: [linear]\nmodels: [hog, lbp]\nsettings: {image_size: 32}\n"
ANSWERED = 240  # rows of the request log: more than one window of a watch


def make_what_pages_name(folder: Path) -> None:
    """Fill a new folder.

    `photos`, `cells`, `shapes`, `others`, `new-photos`, `images` and `turtles` are class folders;
    `known` and `new` photos of individuals; `runs` has classifiers of photos, cells and turtles;
    `log` is a request log of `runs/cells-1`.
    """
    make_synthetic(folder / "photos", classes=2, images=60, image_size=48)
    shutil.copyfile(  # a copy under another label, for the audit to find
        folder / "photos" / "disc" / "0000.png", folder / "photos" / "square" / "0990.png"
    )
    make_synthetic(folder / "cells", classes=2, images=160, image_size=32, seed=3)
    make_synthetic(folder / "shapes", classes=4, images=80, image_size=48)
    make_synthetic(folder / "others", classes=4, images=80, image_size=48, seed=5)
    make_synthetic(folder / "new-photos", classes=2, images=24, image_size=48, seed=7)
    shutil.copytree(folder / "new-photos", folder / "images")
    for name, shape in (("cat", "disc"), ("dog", "square")):
        Image.open(folder / "photos" / shape / "0000.png").save(folder / f"{name}.jpg")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for file in (folder / "new-photos").rglob("*.png"):
            archive.write(file, file.relative_to(folder))
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "examples").symlink_to(ROOT / "examples")
    write_volumes(folder / "volumes")
    _make_individuals(folder)
    _train(folder)
    write_log(folder / "log", folder / "runs" / "cells-1", folder / "cells")


def _make_individuals(folder: Path) -> None:
    """`known/table.csv`, two later photos in `new`, and all of them as folders, `turtles`."""
    table = pd.read_csv(make_turtles(folder / "known", classes=10))
    table["label"] = "t" + table["label"].str[-2:].astype(int).add(10).astype(str)
    shot = table["group"].str[-1].astype(int)
    table = table.rename(columns={"group": "encounter"}).assign(
        date="2026-0" + shot.add(1).astype(str) + "-01", side="left"
    )
    later = table[shot == 4]
    table[shot < 4].to_csv(folder / "known" / "table.csv", index=False)
    (folder / "new").mkdir()
    for number, path in enumerate(later["path"][:8:2], start=1):
        Image.open(folder / "known" / path).save(folder / "new" / f"IMG_{number}.jpg")
    for row in table.itertuples():
        to = folder / "turtles" / str(row.label) / str(row.path).replace("/", "-")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "known" / str(row.path), to)


def _train(folder: Path) -> None:
    for data, number in (("photos", 1), ("photos", 2), ("cells", 1), ("cells", 2)):
        holotype.train(
            folder / data, output=folder / "runs" / f"{data}-{number}", model="hog",
            recipe="linear", image_size=32, overrides={"seed": number},
        )  # fmt: skip
    shutil.copytree(folder / "runs" / "cells-1", folder / "runs" / "cells")
    holotype.train(
        folder / "known" / "table.csv", output=folder / "runs" / "turtles-1", model="hog",
        recipe="linear", image_size=32,
    )  # fmt: skip


def write_log(log: Path, run: Path, images: Path) -> None:
    """What a server would have logged that was asked about these images, and kept them."""
    contents = [file.read_bytes() for file in sorted(images.rglob("*.png"))]
    rows = answered(RunDirectory(run), contents).rows
    writer = LogWriter(log, LogSettings(images=KeptImages()))
    for number in range(ANSWERED):
        fields: dict[str, object] = {
            "request_id": f"r{number:06d}", "model": run.name.partition("-")[0], "version": "1",
            "outcome": "answered", "timing": Timing(12.0, 1.0, 4.0, 7.0),
            "time_s": time.time() - ANSWERED + number, **rows[number % len(rows)],
        }  # fmt: skip
        writer.append(LogRow(**fields), contents[number % len(rows)])
    writer.close()


def label_as_in(sheet: Path, images: Path) -> None:
    """Fill the column `label` of a labels.csv as a person would who knows these class folders."""
    truth = {
        hashlib.sha256(file.read_bytes()).hexdigest(): file.parent.name
        for file in images.rglob("*.png")
    }
    rows = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    rows["label"] = [truth[sha256] for sha256 in rows["sha256"]]
    rows.to_csv(sheet, index=False)
