"""Finished runs of tiny networks made with onnx.helper: an ensemble needs no torch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle, load_bundle, write_bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageFile
from holotype.bundle.inference import predict_index
from holotype.bundle.manifest import Manifest
from holotype.dataset.index import Index, read_index
from holotype.dataset.splitting.splitter import split
from holotype.evaluation.fit_decision import fit_decision
from holotype.evaluation.report_data import Report
from holotype.files import write_json
from holotype.imaging.preprocessing import Preprocessing
from holotype.pipeline.ensemble_report import EnsembleJob
from holotype.predictions import read_predictions, softmax
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import EMBEDDING, head_model, model_of

WIDTH, STRIDE = EMBEDDING // 2, 4


def backbone_model(side: int, seed: int, width: int = WIDTH) -> ModelProto:
    """A convolution of random numbers, ReLU, and mean and largest over its cells."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 0.3, (width, 3, STRIDE, STRIDE)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 2 * width])
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], strides=[STRIDE, STRIDE]),
        helper.make_node("Relu", ["conv"], ["cells"]),
        helper.make_node("ReduceMean", ["cells", "axes"], ["mean"], keepdims=0),
        helper.make_node("ReduceMax", ["cells", "axes"], ["largest"], keepdims=0),
        helper.make_node("Concat", ["mean", "largest"], ["embedding"], axis=1),
    ]
    numbers = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
    ]
    return model_of(helper.make_graph(nodes, "backbone", [image], [embedding], numbers))


def make_run(
    path: Path,
    index: Index,
    *,
    side: int = 32,
    seed: int = 0,
    forgets: Sequence[str] = (),
    learns: bool = True,
    seals: bool = True,
) -> RunDirectory:
    """A run as `train` leaves one: a fitted head on random features, sealed on validation.

    Args:
        index: split.
        side: of what the network sees, in pixels.
        forgets: classes whose training images get random labels.
        learns: fit the head; else it is of random numbers.
    """
    preprocessing = Preprocessing(
        height=side, width=side, fit="squash", interpolation="bilinear",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    manifest = Manifest(
        name="shapes", model=f"tiny{side}", classes=index.classes, preprocessing=preprocessing,
        embedding_size=EMBEDDING,
    )  # fmt: skip
    backbone = backbone_model(side, seed).SerializeToString()
    rng = np.random.default_rng(seed)
    weight_CD = rng.normal(0, 0.2, (len(index.classes), EMBEDDING)).astype(np.float32)
    run = RunDirectory(path)
    if learns:
        scratch = write_bundle(
            path.parent / f".features-{path.name}", backbone=backbone,
            head=head_model(0, weight_CD).SerializeToString(), manifest=manifest,
        )  # fmt: skip
        weight_CD = _fitted(scratch, index, forgets, rng)
    bundle = write_bundle(
        run.bundle, backbone=backbone, head=head_model(seed, weight_CD).SerializeToString(),
        manifest=manifest,
    )  # fmt: skip
    run.write_recipe(f"name: tiny\nmodel: tiny{side}\n")
    index.write(run.index)
    if seals:
        validation = predict_index(bundle, index.part("val"))
        bundle = bundle.with_decision(fit_decision(validation))
        for part in ("val", "test"):
            predict_index(bundle, index.part(part)).write(run.predictions / f"{part}.parquet")
    return run


def make_folded(path: Path, index: Index, *, side: int) -> RunDirectory:
    """The parent of folds as `train --folds` leaves one, of networks of random numbers."""
    run = RunDirectory(path)
    numbers = sorted(index.table["fold"].unique())
    members, parts = [], []
    for fold in numbers:
        tested = index.table["fold"] == fold
        parts_of = np.where(
            tested, "test", np.where(index.table["fold"] == numbers[fold - 1], "val", "train")
        )
        table = index.table.assign(split=parts_of.astype(object)).astype({"split": "str"})
        child = make_run(
            run.fold(fold).path, replace(index, table=table), side=side, seed=fold, learns=False
        )
        members.append(load_bundle(child.path))
        part = read_predictions(child.predictions / "test.parquet")
        parts.append((part.ids, np.log(part.probabilities_NC).astype(np.float32)))
    whole = write_members(run.bundle, members, name="shapes")
    images = predict_index(whole, index)
    said = {name: row for ids, rows_NC in parts for name, row in zip(ids, rows_NC, strict=True)}
    logits_NC = np.stack([said[name] for name in images.ids])
    oof = replace(images, logits_NC=logits_NC, probabilities_NC=softmax(logits_NC))
    oof.write(run.predictions / "oof.parquet")
    whole.with_decision(fit_decision(oof))
    run.write_recipe(f"name: tiny\nmodel: tiny{side}\n")
    index.write(run.index)
    return run


def split_shapes(folder: Path, *, seed: int = 42) -> Index:
    """Half of the images are training, a quarter each validation and test."""
    return split(read_index(folder), ratios=(0.5, 0.25, 0.25), seed=seed)


def relabelled(index: Index, **columns: Sequence[object]) -> Index:
    """The index with other values in some columns."""
    return replace(index, table=index.table.assign(**columns))


def _fitted(
    bundle: Bundle, index: Index, forgets: Sequence[str], rng: np.random.Generator
) -> np.ndarray:
    training = index.part("train")
    files = [ImageFile(path, training.file(path)) for path in training.table["path"]]
    features_ND = embed(bundle, files, use_cache=False).embeddings_ND
    labels = [
        str(rng.choice(index.classes)) if label in forgets else label
        for label in training.table["label"]
    ]
    machine = LogisticRegression(C=10, max_iter=2000).fit(features_ND, labels)
    return np.asarray(machine.coef_, np.float32)


def write_scores_only(job: EnsembleJob, bundle: Bundle, report: Report, *_: object) -> None:
    """In place of the whole report, whose plots take seconds."""
    write_json(job.run.report / "metrics.json", report.to_json())
