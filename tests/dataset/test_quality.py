"""Poor images among good ones: made by hand, in data sets of several kinds."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from holotype.dataset.audit_fingerprints import compute_fingerprints, sharpness
from holotype.dataset.auditing.quality import QualityIssue, find_quality_issues
from holotype.dataset.index import read_index

Images = list[Image.Image]


def tissue(count: int = 40) -> Images:
    """Places in one large photograph: a uniform domain."""
    whole = Image.fromarray(skimage.data.immunohistochemistry())
    corners = [divmod(number, 7) for number in range(count)]
    return [whole.crop((70 * c, 70 * r, 70 * c + 70, 70 * r + 70)) for r, c in corners]


def digits(count: int = 60) -> Images:
    return [Image.fromarray((d * 15).astype(np.uint8)) for d in load_digits().images[:count]]


def night(count: int = 40) -> Images:
    """Dark throughout, as electroluminescence or astronomy may be."""
    return [image.point(lambda v: v // 5) for image in tissue(count)]


def photographs() -> Images:
    """Of everything: nothing is very far from the usual here."""
    names = ("astronaut", "camera", "coffee", "chelsea", "coins", "page", "brick", "grass",
             "gravel", "hubble_deep_field", "retina", "rocket")  # fmt: skip
    wholes = [Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in names]
    halves = [w.crop((0, 0, w.width // 2, w.height // 2)) for w in wholes]
    return [image.resize((160, 160)) for image in wholes + halves]


def look_at(root: Path, images: Sequence[Image.Image]) -> dict[str, set[str]]:
    """The paths of each problem among these images."""
    for number, image in enumerate(images):
        path = root / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    found: dict[str, set[str]] = {}
    for poor in _poor(root):
        found.setdefault(poor.problem, set()).add(Path(poor.path).stem)
    return found


def _poor(root: Path) -> list[QualityIssue]:
    return find_quality_issues(compute_fingerprints(read_index(root)))


def darkened(image: Image.Image) -> Image.Image:
    return image.point(lambda v: v // 10)


def brightened(image: Image.Image) -> Image.Image:
    return image.point(lambda v: 235 + v // 13)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.05 * min(image.size)))


def stretched(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 4, image.height))


def emptied(image: Image.Image) -> Image.Image:
    return Image.new(image.mode, image.size)


@pytest.mark.parametrize("make", [tissue, digits, night])
def test_in_a_uniform_domain_nothing_is_odd(make: Callable[[], Images], tmp_path: Path) -> None:
    assert look_at(tmp_path, make()) == {}


@pytest.mark.parametrize("make", [tissue, digits, photographs])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (darkened, "dark"),
        (brightened, "bright"),
        (stretched, "odd_aspect"),
        (emptied, "almost_uniform"),
    ],
)
def test_a_few_poor_images_are_found_and_no_others(
    make: Callable[[], Images],
    change: Callable[[Image.Image], Image.Image],
    problem: str,
    tmp_path: Path,
) -> None:
    images = make()
    images[3], images[10] = change(images[3]), change(images[10])
    found = look_at(tmp_path, images)
    assert found[problem] == {"003", "010"}
    assert set().union(*found.values()) == {"003", "010"}


@pytest.mark.parametrize("make", [tissue, photographs])
def test_blur_is_found_at_any_exposure(make: Callable[[], Images], tmp_path: Path) -> None:
    images = make()
    for number in (2, 4):
        images[number] = blurred(images[number]).point(lambda v: 40 + v // 2)
    assert look_at(tmp_path, images) == {"blurred": {"002", "004"}}


def test_darkness_and_low_contrast_are_no_blur() -> None:
    plain = tissue(1)[0].convert("L")
    usual = sharpness(plain)
    assert sharpness(plain.point(lambda v: 30 + v // 3)) == pytest.approx(usual, rel=0.15)
    assert sharpness(plain.transpose(Image.Transpose.ROTATE_90)) == pytest.approx(usual)
    for radius in (1, 2, 4):
        softer = sharpness(plain.filter(ImageFilter.GaussianBlur(radius)))
        assert softer < usual / 2
        usual = softer
    assert sharpness(Image.new("L", (50, 50), 9)) == 0
    assert sharpness(Image.new("L", (1, 400), 9)) == 0


def test_portraits_among_landscapes_are_nothing_odd(tmp_path: Path) -> None:
    images = [image.resize((90, 60) if n % 5 else (60, 90)) for n, image in enumerate(tissue())]
    assert look_at(tmp_path, images) == {}


def test_of_half_the_images_poor_none_is_unusual_but_the_empty_ones(tmp_path: Path) -> None:
    images = [darkened(image) if n % 2 else image for n, image in enumerate(tissue())]
    images[0] = emptied(images[0])
    found = look_at(tmp_path, images)
    assert found["almost_uniform"] == {"000"}
    assert found["dark"] == {"000"}


def test_of_a_handful_of_images_nobody_knows_what_is_usual(tmp_path: Path) -> None:
    assert look_at(tmp_path, [darkened(tissue(1)[0]), *tissue(5)[1:]]) == {}


def test_the_worst_comes_first_and_says_what_was_measured(tmp_path: Path) -> None:
    images = tissue()
    images[5] = images[5].point(lambda v: v // 10)
    images[7] = images[7].point(lambda v: v // 20)
    look_at(tmp_path, images)
    dark = [poor for poor in _poor(tmp_path) if poor.problem == "dark"]
    assert [Path(poor.path).stem for poor in dark] == ["007", "005"]
    assert "of 255" in dark[0].evidence
    assert dark[0].distance > dark[1].distance
