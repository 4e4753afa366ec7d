"""Volumes are cut into slices; an unreadable one is skipped and reported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from PIL import Image

from holotype.dataset.index import read_index
from holotype.dataset.splitting.splitter import split
from holotype.dataset.volumes.slicing import SliceOptions, slice_volumes
from holotype.dataset.volumes.tiff_volumes import find_volumes, level_quantiles, open_volume
from holotype.errors import EmptyDataset, UsageError, VolumeError


def ball(seed: int = 0, dtype: str = "uint16", shape: tuple[int, int, int] = (12, 20, 16)) -> Any:
    """A bright ball in noisy air."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    rng = np.random.default_rng(seed)
    levels = 2000 + 30_000 * (np.hypot(np.hypot(z, y), x) < 0.7) + rng.normal(0, 200, shape)
    return levels.astype(dtype) if dtype != "uint8" else (levels / 256).astype(dtype)


def write_stack(path: Path, volume: Any, **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, volume)
    elif path.suffix:
        tifffile.imwrite(path, volume, **how)
    else:
        path.mkdir(parents=True)
        for number, page in enumerate(volume):
            Image.fromarray(page).save(path / f"slice{number}.png")


def slices_of(output: Path, specimen: str) -> dict[str, Any]:
    files = sorted((output / specimen).glob("*.png"))
    return {file.stem: np.asarray(Image.open(file)) for file in files}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a/s1.npy", {}),
        ("a/s1.tif", {"photometric": "minisblack"}),
        ("a/s1.TIFF", {"photometric": "minisblack", "compression": "zlib"}),
        ("a/s1.tif", {"photometric": "minisblack", "byteorder": ">"}),
        ("a/s1.tif", {"imagej": True}),
        ("a/s1", {}),
    ],
)
def test_every_kind_of_volume_gives_the_same_slices(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    volume = ball()
    write_stack(tmp_path / "volumes" / name, volume, **how)
    sliced = slice_volumes(tmp_path / "volumes", tmp_path / "out", SliceOptions(window=(0, 100)))
    assert sliced.refused == ()
    found = slices_of(tmp_path / "out", "a/s1")
    low, high = int(volume.min()), int(volume.max())
    for number in range(len(volume)):
        wanted = (volume[number].astype(float) - low) / (high - low) * 255
        if f"z-{number:04d}" in found:
            assert np.abs(found[f"z-{number:04d}"] - wanted).max() <= 0.51
    assert "z-0005" in found
    assert sliced.num_slices == len(found)


def test_every_slice_has_its_specimen_as_group(tmp_path: Path) -> None:
    for label in "ab":
        for number in range(5):
            write_stack(tmp_path / "volumes" / label / f"{number}.npy", ball(number))
    sliced = slice_volumes(
        tmp_path / "volumes", tmp_path / "out", SliceOptions(axes=("z", "y", "x"))
    )
    index = split(read_index(sliced.table))
    assert index.classes == ("a", "b")
    assert index.table["group"].nunique() == 10
    assert index.table.groupby("group")["split"].nunique().max() == 1
    assert len(index) == sliced.num_slices
    axes = {path.split("/")[-1][0] for path in index.table["path"]}
    assert axes == {"x", "y", "z"}
    shapes = {image.shape for image in slices_of(tmp_path / "out", "a/0").values()}
    assert shapes == {(20, 16), (12, 16), (12, 20)}


def test_empty_slices_are_left_out_and_counted(tmp_path: Path) -> None:
    write_stack(tmp_path / "volumes/a/s.npy", ball())
    sliced = slice_volumes(tmp_path / "volumes", tmp_path / "out")
    names = set(slices_of(tmp_path / "out", "a/s"))
    assert names == {f"z-{number:04d}" for number in range(2, 10)}  # the ball's own
    assert (sliced.num_slices, sliced.num_empty) == (8, 4)


def test_voxels_outside_a_mask_are_black(tmp_path: Path) -> None:
    volume, mask = ball(), np.zeros((12, 20, 16), np.uint8)
    mask[3:6, 5:15, 4:12] = 1
    write_stack(tmp_path / "volumes/a/s.npy", volume)
    write_stack(tmp_path / "masks/a/s.tif", mask, photometric="minisblack")
    write_stack(tmp_path / "volumes/a/unmasked.npy", volume)
    write_stack(tmp_path / "volumes/a/other.npy", volume)
    write_stack(tmp_path / "masks/a/other.npy", mask[:, :, 1:])
    slicing = SliceOptions(masks=tmp_path / "masks")
    sliced = slice_volumes(tmp_path / "volumes", tmp_path / "out", slicing)
    found = slices_of(tmp_path / "out", "a/s")
    assert set(found) == {"z-0003", "z-0004", "z-0005"}
    for image in found.values():
        assert image[mask[3] == 0].max() == 0
        assert image[mask[3] == 1].mean() > 200
    reasons = {Path(one.file).stem: one.reason for one in sliced.refused}
    assert "no mask" in reasons["unmasked"]
    assert all("mask" in one.advice for one in sliced.refused)
    assert "(12, 20, 15)" in reasons["other"]


def test_the_window_is_that_of_the_whole_volume_and_is_recorded(tmp_path: Path) -> None:
    volume = ball()
    volume[0, 0, 0] = 65_535  # one bright grain
    write_stack(tmp_path / "volumes/a/s.tif", volume, photometric="minisblack")
    slice_volumes(tmp_path / "volumes", tmp_path / "out")
    record = json.loads((tmp_path / "out/slices.json").read_text("utf-8"))["volumes"][0]
    low, high = np.quantile(volume, [0.005, 0.995], method="inverted_cdf")
    assert (record["black_level"], record["white_level"]) == (low, high)
    assert record["window_percent"] == [0.5, 99.5]
    assert record["shape"] == [12, 20, 16]
    assert slices_of(tmp_path / "out", "a/s")["z-0005"].max() == 255


def test_volumes_of_8_bits_stay_as_they_are(tmp_path: Path) -> None:
    volume = ball(dtype="uint8")
    write_stack(tmp_path / "volumes/a/s.tif", volume, photometric="minisblack")
    slice_volumes(tmp_path / "volumes", tmp_path / "out")
    np.testing.assert_array_equal(slices_of(tmp_path / "out", "a/s")["z-0005"], volume[5])


def test_slices_are_shrunk_and_thinned_out(tmp_path: Path) -> None:
    write_stack(tmp_path / "volumes/a/s.npy", ball(shape=(12, 40, 32)))
    slice_volumes(tmp_path / "volumes", tmp_path / "out", SliceOptions(size=10, every=3))
    found = slices_of(tmp_path / "out", "a/s")
    assert set(found) == {"z-0003", "z-0006", "z-0009"}
    assert found["z-0003"].shape == (10, 8)


def bad_volumes(root: Path) -> dict[str, str]:
    """Files that are no volumes, and the reason for each."""
    good = ball()
    write_stack(root / "flat.npy", good[0])
    np.save(root / "text.npy", np.array(["a", "b"]))
    np.save(root / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (root / "garbled.npy").write_bytes(b"no array")
    (root / "broken.tif").write_bytes(b"no image")
    (root / "empty.tif").touch()
    Image.fromarray(good[0]).save(root / "single.tif")
    write_stack(root / "cut.tif", good, photometric="minisblack")
    raw = (root / "cut.tif").read_bytes()
    (root / "cut.tif").write_bytes(raw[: len(raw) // 2])
    write_stack(root / "uneven", good)
    Image.fromarray(good[0][:, 1:]).save(root / "uneven" / "slice5.png")
    (root / "nothing").mkdir()
    (root / "notes.txt").write_bytes(b"are no volume, and are passed over")
    (root / "page.png").write_bytes(b"")
    (root / "page2.png").write_bytes(b"")
    (root / "s.nii.gz").write_bytes(b"")
    (root / "gone.tif").symlink_to("nowhere.tif")
    write_stack(root / "mixed", ball()[:3])
    (root / "mixed/slice9.dcm").touch()
    for number in "12":
        write_stack(root / f"stacks/{number}.tif", ball(), photometric="minisblack")
    write_stack(root / "signed.tif", ball(dtype="uint8").view("int8"), photometric="minisblack")
    with (root / "huge.npy").open("wb") as file:
        shape = (2800, 2800, 2800)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2800**3)  # sparse: takes no space on disk
    return {
        "flat.npy": "its shape is (20, 16)",
        "text.npy": "its shape is (2,)",
        "objects.npy": "no array that can be mapped",
        "garbled.npy": "no array that can be mapped",
        "broken.tif": "cannot be read",
        "empty.tif": "cannot be read",
        "single.tif": "one page",
        "cut.tif": "cannot be read",
        "uneven": "slice 5 is (20, 15)",
        "nothing": "0 slices",
        "s.nii.gz": "its format is not read",
        "gone.tif": "link to nothing",
        "mixed": "1 file such as 'slice9.dcm', whose format is not read",
        "1.tif": "it holds 12 pages and is no slice",
        "signed.tif": "signed 8-bit integers",
        "huge.npy": "more than 20,000,000,000 voxels",
    }


def test_an_unreadable_volume_is_skipped_and_reported(tmp_path: Path) -> None:
    write_stack(tmp_path / "volumes/a/good.npy", ball())
    expected = bad_volumes(tmp_path / "volumes/a")
    sliced = slice_volumes(tmp_path / "volumes", tmp_path / "out")
    reasons = {Path(one.file).name: one.reason for one in sliced.refused}
    assert set(reasons) == set(expected)
    for name, reason in expected.items():
        assert reason in reasons[name]
    assert sliced.num_volumes == 1
    record = json.loads((tmp_path / "out/slices.json").read_text("utf-8"))
    assert len(record["refused"]) == len(expected)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_volumes_in_no_class_folder_are_said(tmp_path: Path) -> None:
    write_stack(tmp_path / "volumes/loose.npy", ball())
    with pytest.raises(EmptyDataset, match=r"loose.npy': it lies in no class folder"):
        slice_volumes(tmp_path / "volumes", tmp_path / "out")
    write_stack(tmp_path / "volumes/a/s.npy", ball())
    (refused,) = slice_volumes(tmp_path / "volumes", tmp_path / "out").refused
    assert Path(refused.file).name == "loose.npy"


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_levels_that_count_from_white_are_turned(tmp_path: Path, dtype: str) -> None:
    levels = ball(dtype=dtype)
    tifffile.imwrite(tmp_path / "s.tif", np.iinfo(dtype).max - levels, photometric="miniswhite")
    volume = open_volume(tmp_path / "s.tif", tmp_path / "scratch.npy")
    np.testing.assert_array_equal(volume, levels)


def test_a_slice_with_a_thumbnail_is_a_slice(tmp_path: Path) -> None:
    for number in range(2):
        page = Image.fromarray(ball()[number])
        (tmp_path / "s").mkdir(exist_ok=True)
        small = page.resize((4, 5))
        page.save(tmp_path / f"s/{number}.tif", save_all=True, append_images=[small])
    volume = open_volume(tmp_path / "s", tmp_path / "scratch.npy")
    np.testing.assert_array_equal(volume, ball()[:2])


def test_two_volumes_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    write_stack(tmp_path / "volumes/a/s.npy", ball(0))
    write_stack(tmp_path / "volumes/a/s.tif", ball(1), photometric="minisblack")
    sliced = slice_volumes(tmp_path / "volumes", tmp_path / "out")
    assert [Path(one.file).name for one in sliced.refused] == ["s.tif"]


def test_slices_are_not_written_among_the_volumes(tmp_path: Path) -> None:
    for folder in ("volumes", "masks"):
        write_stack(tmp_path / folder / "a/s.npy", ball())
        slicing = SliceOptions(masks=tmp_path / "masks" if folder == "masks" else None)
        with pytest.raises(UsageError, match="lie within"):
            slice_volumes(tmp_path / "volumes", tmp_path / folder / "slices", slicing)
        assert [file.name for file in (tmp_path / folder).iterdir()] == ["a"]


def test_no_volumes_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match=r"CLASS/SPECIMEN\.tif"):
        slice_volumes(tmp_path, tmp_path / "out")
    (tmp_path / "volumes/a").mkdir(parents=True)
    (tmp_path / "volumes/a/broken.tif").touch()
    with pytest.raises(EmptyDataset, match="none of the 1 volumes"):
        slice_volumes(tmp_path / "volumes", tmp_path / "out")
    with pytest.raises(UsageError, match="--masks"):
        slice_volumes(
            tmp_path / "volumes", tmp_path / "out", SliceOptions(masks=tmp_path / "nowhere")
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [{"axes": ("w",)}, {"axes": ()}, {"window": (90, 10)}, {"size": 2}, {"every": 0}]
)
def test_invalid_options_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        SliceOptions(**words)


def test_slices_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_stack(tmp_path / "volumes/a/s", ball())  # slice10 comes after slice2
    (specimen,) = find_volumes(tmp_path / "volumes")
    volume = open_volume(specimen.path, tmp_path / "scratch.npy")
    np.testing.assert_array_equal(volume, ball())


def test_an_imagej_stack_behind_one_page_is_refused(tmp_path: Path) -> None:
    description = "ImageJ=1.53\nimages=900\nslices=900\n"
    tifffile.imwrite(tmp_path / "s.tif", ball()[0], description=description)
    with pytest.raises(VolumeError, match="ImageJ wrote 900 slices"):
        open_volume(tmp_path / "s.tif", tmp_path / "scratch.npy")


volumes = numpy_strategies.arrays(
    st.sampled_from(["u1", "u2", "i2", "i4", "f4"]),
    st.tuples(*[st.integers(2, 6)] * 3),
    elements={"allow_nan": False, "allow_infinity": False, "min_value": 0, "max_value": 250},
)


@settings(max_examples=100, deadline=None)
@given(volumes, st.floats(0.001, 1))
def test_levels_of_quantiles_are_numpys(volume: Any, quantile: float) -> None:
    (level,) = level_quantiles(volume, [quantile])
    wanted = float(np.quantile(volume, quantile, method="inverted_cdf"))
    exact = volume.dtype.kind in "ui" and volume.dtype.itemsize <= 2
    assert level == wanted if exact else abs(level - wanted) <= 250 / 65_536**1.9


def test_voxels_that_are_not_finite_are_ignored() -> None:
    volume = np.full((4, 5, 6), np.nan, np.float32)
    volume[1:3] = 7
    volume[0, 0, 0] = np.inf
    assert level_quantiles(volume, [0.1, 0.9]) == [7, 7]
