"""Program 3: one image in many guises, one answer."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import holotype
from tests.api.programs import SAME, as_rgb, probabilities_of
from tests.conftest import Cli

GUISES: dict[str, Callable[[Path], object]] = {
    "a path": lambda path: path,
    "a string": str,
    "bytes": lambda path: path.read_bytes(),
    "a PIL image": lambda path: Image.open(path),
    "an RGB array": as_rgb,
    "an RGB array that is not contiguous": lambda path: as_rgb(path)[:, ::-1][:, ::-1],
    "an RGB array in Fortran order": lambda path: np.asfortranarray(as_rgb(path)),
    "an opaque RGBA array": lambda path: np.dstack(
        [as_rgb(path), np.full(as_rgb(path).shape[:2], 255, dtype=np.uint8)]
    ),
}


@pytest.fixture
def image(shapes: Path) -> Path:
    return shapes / "square" / "0003.png"


@pytest.fixture
def answer(classifier: holotype.Classifier, image: Path) -> np.ndarray:
    return classifier.predict(image).probabilities[0]


@pytest.mark.parametrize("guise", GUISES)
def test_an_image_gets_the_answer_of_its_path_in_every_guise(
    guise: str, classifier: holotype.Classifier, image: Path, answer: np.ndarray
) -> None:
    found = classifier.predict(GUISES[guise](image))
    assert len(found) == 1
    np.testing.assert_allclose(found.probabilities[0], answer, atol=SAME, rtol=0)


def test_mixed_images_are_answered_in_their_order(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    paths = [shapes / "disc" / f"{number:04}.png" for number in range(len(GUISES))]
    mixed = [guise(path) for guise, path in zip(GUISES.values(), paths, strict=True)]
    np.testing.assert_allclose(
        classifier.predict(mixed).probabilities,
        classifier.predict(paths).probabilities,
        atol=SAME,
        rtol=0,
    )


def test_a_grey_array_is_the_grey_image_of_a_file(
    classifier: holotype.Classifier, image: Path, tmp_path: Path
) -> None:
    grey = np.asarray(Image.open(image).convert("L"))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    expected = classifier.predict(tmp_path / "grey.png").probabilities
    for form in (grey, np.dstack([grey] * 3), Image.fromarray(grey)):
        np.testing.assert_allclose(
            classifier.predict([form]).probabilities, expected, atol=SAME, rtol=0
        )


def test_a_transparent_array_is_laid_on_the_ground_of_the_recipe(
    classifier: holotype.Classifier, image: Path, tmp_path: Path
) -> None:
    rgba = np.dstack([as_rgb(image), np.zeros((*as_rgb(image).shape[:2], 1), dtype=np.uint8)])
    rgba[10:30, 10:30, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    laid = np.where(rgba[:, :, 3:] == 255, rgba[:, :, :3], np.uint8(255))
    np.testing.assert_allclose(
        classifier.predict([rgba, laid]).probabilities,
        classifier.predict([tmp_path / "clear.png"] * 2).probabilities,
        atol=SAME,
        rtol=0,
    )


def test_a_stack_of_arrays_is_a_list_of_images(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    paths = sorted((shapes / "disc").iterdir())[:5]
    stack = np.stack([as_rgb(path) for path in paths])
    assert stack.ndim == 4
    found = classifier.predict(stack)
    assert len(found) == 5
    np.testing.assert_allclose(
        found.probabilities, classifier.predict(paths).probabilities, atol=SAME, rtol=0
    )


def test_a_folder_is_its_images_in_the_order_of_their_names(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    whole = classifier.predict(shapes / "disc")
    paths = sorted((shapes / "disc").iterdir())
    assert len(whole) == len(paths) == 40
    assert [Path(str(one.file)).name for one in whole] == [path.name for path in paths]
    np.testing.assert_allclose(
        whole.probabilities, classifier.predict(paths).probabilities, atol=SAME, rtol=0
    )


def test_an_answer_is_the_same_alone_and_in_company(
    classifier: holotype.Classifier, shapes: Path, image: Path, answer: np.ndarray
) -> None:
    crowd = [*sorted((shapes / "disc").iterdir()), image, *sorted((shapes / "triangle").iterdir())]
    found = classifier.predict(crowd)
    np.testing.assert_allclose(found.probabilities[40], answer, atol=SAME, rtol=0)
    backwards = classifier.predict(crowd[::-1]).probabilities[::-1]
    np.testing.assert_allclose(backwards, found.probabilities, atol=SAME, rtol=0)


def test_images_may_come_from_a_generator(classifier: holotype.Classifier, shapes: Path) -> None:
    paths = sorted((shapes / "disc").iterdir())[:3]
    found = classifier.predict(as_rgb(path) for path in paths)
    np.testing.assert_allclose(
        found.probabilities, classifier.predict(paths).probabilities, atol=SAME, rtol=0
    )


def test_no_images_get_no_answers(classifier: holotype.Classifier) -> None:
    found = classifier.predict([])
    assert len(found) == 0
    assert found.probabilities.shape == (0, 3)
    assert len(found.to_frame()) == 0


def test_a_photograph_is_turned_upright_whatever_its_guise(
    classifier: holotype.Classifier, image: Path, tmp_path: Path
) -> None:
    upright = Image.open(image).convert("RGB").resize((48, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to view
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    forms = [
        tmp_path / "turned.png",
        (tmp_path / "turned.png").read_bytes(),
        Image.open(tmp_path / "turned.png"),
        np.asarray(upright),
    ]
    found = classifier.predict(forms).probabilities
    np.testing.assert_allclose(found, np.repeat(found[-1:], 4, axis=0), atol=SAME, rtol=0)


def test_embeddings_are_single_precision_and_as_long_as_the_manifest_says(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    path = shapes / "disc" / "0000.png"
    embeddings = classifier.embed([path, as_rgb(path), path.read_bytes()])
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, classifier.manifest.embedding_size)
    np.testing.assert_allclose(embeddings[1:], embeddings[:1].repeat(2, axis=0), atol=1e-5)


def test_a_bad_image_costs_itself_only(
    classifier: holotype.Classifier, image: Path, answer: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "torn.png").write_bytes(image.read_bytes()[:60])
    found = classifier.predict([image, tmp_path / "torn.png", b"no image", image])
    assert len(found) == 2
    np.testing.assert_allclose(found.probabilities, np.stack([answer] * 2), atol=SAME, rtol=0)
    assert len(found.refused) == 2
    assert Path(str(found.refused[0].file)) == tmp_path / "torn.png"
    assert found.refused[1].problem == "not_an_image"
    assert all(refusal.reason for refusal in found.refused)


@pytest.mark.parametrize("method", ["predict_proba", "predict_set", "embed"])
def test_where_rows_must_match_a_bad_image_is_an_error_that_names_it(
    method: str, sure: holotype.Classifier, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "torn.png").write_bytes(image.read_bytes()[:60])
    with pytest.raises(holotype.HolotypeError, match=r"torn\.png"):
        getattr(sure, method)([image, tmp_path / "torn.png"])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((48, 48, 3), dtype=np.float32),
        np.zeros((48, 48, 3), dtype=np.int64),
        np.zeros((48, 48, 2), dtype=np.uint8),
        np.zeros((3, 48, 48), dtype=np.uint8),
        np.zeros(48, dtype=np.uint8),
    ],
    ids=["float", "int64", "two channels", "channels first", "one axis"],
)
def test_an_array_that_is_no_image_is_refused_with_what_was_expected(
    array: np.ndarray, classifier: holotype.Classifier
) -> None:
    with pytest.raises((holotype.HolotypeError, TypeError), match="uint8"):
        classifier.predict([array])


def test_a_thing_that_is_no_image_is_a_type_error(classifier: holotype.Classifier) -> None:
    with pytest.raises(TypeError, match="int"):
        classifier.predict([7])


def test_a_frame_of_paths_is_predicted_by_its_column(
    classifier: holotype.Classifier, answer: np.ndarray, image: Path
) -> None:
    column = pd.DataFrame({"path": [str(image), str(image)]})["path"]
    np.testing.assert_allclose(
        classifier.predict(column).probabilities, np.stack([answer] * 2), atol=SAME, rtol=0
    )


def test_the_command_gives_the_answers_of_arrays(
    classifier: holotype.Classifier, run: holotype.Run, shapes: Path, cli: Cli
) -> None:
    _, out, _ = cli("predict", run.path, shapes / "triangle", "--json")
    arrays = [as_rgb(path) for path in sorted((shapes / "triangle").iterdir())]
    np.testing.assert_allclose(
        classifier.predict(arrays).probabilities,
        probabilities_of(json.loads(out)),
        atol=SAME,
        rtol=0,
    )
