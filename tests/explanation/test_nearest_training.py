"""Training images that look most alike are found, and drawn while their files are there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.bundle.bundle import Bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.references import make_references
from holotype.errors import UsageError
from holotype.explanation.explainer import Explainer
from holotype.explanation.nearest_training import nearest_training_images
from holotype.imaging.decode import decode
from tests.bundle.tiny import CLASSES, embedded, write_images, write_tiny


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_images(tmp_path / "images", 12)


@pytest.fixture
def bundle(tmp_path: Path, paths: list[Path]) -> Bundle:
    plain = write_tiny(tmp_path / "bundle")
    found = embedded(plain, paths)
    (embeddings_ND,) = found.by_view.values()
    targets_R = np.arange(len(paths)) % len(CLASSES)
    return plain.with_references(make_references(embeddings_ND, targets_R, [p.name for p in paths]))


def test_a_training_image_is_most_like_itself(bundle: Bundle, paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        first, *others = nearest_training_images(bundle, decode(path), 4)
        assert first.name == path.name
        assert first.class_name == CLASSES[number % len(CLASSES)]
        assert first.cosine == pytest.approx(1, abs=1e-3)
        assert first.image is None, "nobody said where the files are"
        cosines = [first.cosine, *(other.cosine for other in others)]
        assert cosines == sorted(cosines, reverse=True)
        assert len(cosines) == 4


def test_the_order_is_that_of_the_angles(bundle: Bundle, paths: list[Path]) -> None:
    (embeddings_ND,) = embedded(bundle, paths).by_view.values()
    unit_ND = embeddings_ND / np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    expected = np.argsort(-(unit_ND @ unit_ND[5]))
    found = nearest_training_images(bundle, decode(paths[5]), len(paths) + 3)
    cosine_of = dict(zip([p.name for p in paths], unit_ND @ unit_ND[5], strict=True))
    assert [one.name for one in found][:3] == [paths[n].name for n in expected[:3]]
    for one in found:
        assert one.cosine == pytest.approx(cosine_of[one.name], abs=2e-3)


def test_images_that_are_there_are_drawn_and_others_are_named(
    bundle: Bundle, paths: list[Path], tmp_path: Path
) -> None:
    paths[3].unlink()
    paths[4].write_text("no image any more")

    def find_file(name: str) -> Path | None:
        file = paths[0].parent / name
        return file if file.is_file() else None

    found = {
        one.name: one
        for one in nearest_training_images(bundle, decode(paths[0]), 12, find_file=find_file)
    }
    assert found[paths[3].name].image is None
    assert found[paths[4].name].image is None
    assert found[paths[5].name].image is not None
    (source,) = image_sources(paths[0])
    with_similar = Explainer(bundle, num_similar=5, find_file=find_file)
    with_similar.explain(source, tmp_path / "with.png")
    Explainer(bundle).explain(source, tmp_path / "without.png")
    with Image.open(tmp_path / "with.png") as more, Image.open(tmp_path / "without.png") as less:
        assert more.height > less.height + 132
        above = more.convert("RGB").crop((0, 0, *less.size))
        np.testing.assert_array_equal(np.asarray(above), np.asarray(less.convert("RGB")))


def test_without_references_it_says_how_to_keep_them(tmp_path: Path, paths: list[Path]) -> None:
    plain = write_tiny(tmp_path / "plain")
    with pytest.raises(UsageError, match=r"--similar.*--set references=true"):
        nearest_training_images(plain, decode(paths[0]), 3)


def test_of_members_the_mean_over_those_that_know_the_image_counts(
    bundle: Bundle, paths: list[Path]
) -> None:
    """Two members with the same backbone; the second has seen only the last six images."""
    references = bundle.references
    assert references is not None
    some = make_references(
        references.embeddings_RD[6:].astype(np.float32),
        references.targets_R[6:], references.names[6:],
    )  # fmt: skip
    other = replace(bundle)
    vars(other)["references"] = some
    whole = replace(bundle, members=(bundle, other))
    alone = {one.name: one.cosine for one in nearest_training_images(bundle, decode(paths[1]), 12)}
    both = {one.name: one.cosine for one in nearest_training_images(whole, decode(paths[1]), 12)}
    assert both.keys() == alone.keys()
    for name, cosine in both.items():
        assert cosine == pytest.approx(alone[name], abs=2e-3)
