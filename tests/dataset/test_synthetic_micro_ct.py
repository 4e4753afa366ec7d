"""The synthetic micro-CT set, on which a split by images leaks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.dataset.atomic_directory import staged_directory
from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import fetch
from holotype.dataset.sources.synthetic_micro_ct import SPECIES, make_micro_ct
from holotype.errors import UsageError


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three species of four specimens."""
    folder = tmp_path_factory.mktemp("micro-ct") / "fossils"
    return make_micro_ct(folder, species=3, specimens=4, slices=16, size=48)


def test_every_slice_names_its_specimen(few: Path) -> None:
    index = read_index(few)
    assert index.classes == tuple(sorted(list(SPECIES)[:3]))
    assert index.table["group"].nunique() == 12
    assert index.table.groupby("group")["label"].nunique().max() == 1
    assert index.table["sha256"].nunique() == len(index)
    assert set(index.table["width"]) == {48}


def test_the_same_seed_draws_the_same_fossils_and_another_others(tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        table = make_micro_ct(tmp_path / name, species=2, specimens=1, slices=6, size=24, seed=seed)
        drawn.append([file.read_bytes() for file in sorted(table.parent.rglob("*.png"))])
    assert drawn[0] == drawn[1] != drawn[2]


def nearest_neighbour_accuracies(table_file: Path) -> tuple[float, float]:
    """Of splits by images and by specimens; nearest neighbours recognise the specimen.

    The images are shrunk to 16 x 16 pixels, so that noise does not decide.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    table = read_index(table_file).table
    files = [table_file.parent / path for path in table["path"]]
    levels = [np.asarray(Image.open(file).resize((16, 16), Image.Resampling.BOX)) for file in files]
    pixels = np.array(levels, float).reshape(len(levels), -1)
    nearest, labels = KNeighborsClassifier(1), table["label"]
    mixed = cross_val_score(nearest, pixels, labels, cv=KFold(4, shuffle=True, random_state=0))
    apart = cross_val_score(
        nearest, pixels, labels, groups=table["group"],
        cv=StratifiedGroupKFold(4, shuffle=True, random_state=0),
    )  # fmt: skip
    return float(mixed.mean()), float(apart.mean())


def test_a_split_by_images_is_too_optimistic(few: Path) -> None:
    mixed, apart = nearest_neighbour_accuracies(few)
    assert mixed > 0.9
    assert apart < mixed - 0.2


def test_slices_in_a_staged_directory_are_whole_when_it_gets_its_name(tmp_path: Path) -> None:
    """As `fetch` asks for them; what is written beside them meanwhile takes nothing away."""
    with staged_directory(tmp_path / "fossils") as staged:
        make_micro_ct(staged, species=2, specimens=1, slices=6, size=24)
        with staged_directory(tmp_path / "other"):
            pass
    assert len(read_index(tmp_path / "fossils" / "table.csv")) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fossils", "other"]


@pytest.mark.slow
def test_a_split_by_images_is_too_optimistic_on_the_whole_set(tmp_path: Path) -> None:
    table = fetch("micro-ct", tmp_path / "fossils")
    index = read_index(table)
    assert index.classes == tuple(sorted(SPECIES))
    assert index.table["group"].nunique() == 96
    assert 1900 < len(index) <= 2304
    mixed, apart = nearest_neighbour_accuracies(table)
    assert mixed > 0.9
    assert 1.5 / 12 < apart < 0.5


def test_there_are_twelve_species_and_no_others(tmp_path: Path) -> None:
    assert len(SPECIES) == 12
    with pytest.raises(UsageError, match="2 to 12"):
        make_micro_ct(tmp_path / "x", species=13)
    with pytest.raises(UsageError, match="leave out --classes"):
        fetch("micro-ct", tmp_path / "x", classes=4)
    assert list(tmp_path.iterdir()) == []
