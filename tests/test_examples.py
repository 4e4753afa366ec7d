"""The examples in the docstrings of the public API run, in a folder with the data that they name.

Examples marked `# doctest: +SKIP` have results that depend on the data: they run here too, but what
they print is not compared.
"""

import doctest
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.dataset.sources.synthetic import make_synthetic

EXAMPLES = {
    name: found
    for name in holotype.__all__
    if not name.startswith("_")
    for found in doctest.DocTestFinder(recurse=False).find(getattr(holotype, name), name)
    if found.examples
}

ANYTHING = "anything\n"
SMALLER = (
    ("trials=200", 'trials=3, overrides={"image_size": 32}'),
    ('slices.table, recipe="linear"', 'slices.table, recipe="linear", image_size=32'),
)


class Checker(doctest.OutputChecker):
    """Compares what an example prints, unless it may print anything."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return want == ANYTHING or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: photos, new-photos, cat.jpg, volumes, and four runs."""
    folder = tmp_path_factory.mktemp("examples")
    make_synthetic(folder / "photos", classes=2, images=60, image_size=48)
    make_synthetic(folder / "new-photos", classes=2, images=12, image_size=48, seed=7)
    for number, name in enumerate(("photos-1", "photos-2", "a", "b")):
        holotype.train(
            folder / "photos", output=folder / "runs" / name, model="hog", recipe="linear",
            image_size=32, overrides={"seed": number},
        )  # fmt: skip
    image = next((folder / "photos").rglob("*.png"))
    Image.open(image).save(folder / "cat.jpg")
    write_volumes(folder / "volumes")
    return folder


def write_volumes(folder: Path) -> None:
    """Volumes of noise: six specimens of each of two species."""
    random = np.random.default_rng(0)
    for species in ("lobata", "spinosa"):
        (folder / species).mkdir(parents=True)
        for specimen in range(6):
            volume = random.integers(0, 256, (12, 12, 12), dtype=np.uint8)
            np.save(folder / species / f"{species}-{specimen}.npy", volume)


# Client needs a server; serve and dashboard would wait. The others need a log: tests/watching.
ELSEWHERE = ("Client", "serve", "dashboard", "watch", "label_next", "retrain")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ELSEWHERE])
def test_the_example_of_a_public_name_runs(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(data, tmp_path / "work")
    monkeypatch.chdir(place)
    example = EXAMPLES[name]
    for step in example.examples:
        for large, small in SMALLER:
            step.source = step.source.replace(large, small)
        if step.options.pop(doctest.SKIP, False):
            step.want = ANYTHING
    example.globs = {"holotype": holotype}
    said: list[str] = []
    doctest.DocTestRunner(Checker(), verbose=False).run(example, out=said.append)
    assert not said, "".join(said)


def test_every_verb_has_an_example() -> None:
    verbs = {name for name in holotype.__all__ if name.islower() and not name.startswith("_")}
    assert verbs - set(EXAMPLES) <= {"estimate", "load"}
