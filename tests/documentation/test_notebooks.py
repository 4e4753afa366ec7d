"""The notebooks run from top to bottom without a network, in a copy of Kaggle's layout.

Each runs once, in a kernel of its own: its images lie in a folder that is not written to, the
working directory is another one, the home folder is empty, and a connection to anywhere but this
machine is an error. Where nothing is attached a notebook draws its images; that this works, as far
as to the images, is a test of its own, since all that follows is the same.
"""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

import holotype
from holotype.architectures.catalog import architecture
from holotype.architectures.pretrained_weights import package_file
from holotype.dataset.index import read_index

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
# What costs time alone is made smaller here; the value of a line of the cell of parameters.
SMALLER: dict[str, dict[str, object]] = {
    "complete_workflow": {"IMAGE_SIZE": 32},
    "comparing_approaches": {
        "SIZES": (20, 40), "TEST_IMAGES": 40, "EPOCHS": 1, "IMAGE_SIZE": 32,
    },
    "serving": {"IMAGE_SIZE": 32},
    "materials_on_kaggle": {"IMAGE_SIZE": 32},
    "fossils_any_backbone": {"FIRST_SIZE": 32, "SECOND_SIZE": 32},
    "turtle_exercises": {"IMAGE_SIZE": 32, "EPOCHS": 1},
    "identify_turtles": {"IMAGE_SIZE": 32, "EPOCHS": 2},
}  # fmt: skip
DRAWS_ITS_REPORTS = "complete_workflow"  # in the others the plots of reports are grey squares
NO_NETWORK = """
import socket

connect = socket.socket.connect


def connect_here_only(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"no network: {address}")
    return connect(self, address)


socket.socket.connect = connect_here_only
"""

# What a notebook reads on Kaggle: its parameter, and the folder or file in the input folder.
INPUTS = {
    "complete_workflow": {"IMAGES": "pets"},
    "comparing_approaches": {"IMAGES": "pets"},
    "serving": {"IMAGES": "pets"},
    "materials_on_kaggle": {"IMAGES": "minc-2500/images", "WEIGHTS": "weights"},
    "fossils_any_backbone": {"SLICES": "fossils/table.csv"},
    "turtle_exercises": {"TURTLES": "turtles/table.csv"},
    "identify_turtles": {"TURTLES": "more-turtles/table.csv"},
}
# What it calls the images that it was given or has drawn.
DRAWN = {
    "complete_workflow": "data",
    "comparing_approaches": "folder",
    "serving": "data",
    "materials_on_kaggle": "data",
    "fossils_any_backbone": "table",
    "turtle_exercises": "table",
    "identify_turtles": "table",
}


@pytest.fixture(scope="module")
def kaggle_input(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would lie in /kaggle/input, named as the notebooks expect it."""
    folder = tmp_path_factory.mktemp("kaggle") / "input"
    holotype.fetch("synthetic-cats-dogs", output=folder / "pets", images=160, seed=2)
    holotype.fetch("synthetic-turtles", output=folder / "turtles", classes=5, seed=2)
    holotype.fetch("synthetic-turtles", output=folder / "more-turtles", classes=14, seed=3)
    holotype.fetch("micro-ct", output=folder / "fossils", seed=2)
    shapes = holotype.fetch("synthetic", output=folder / "shapes", classes=3, images=60)
    for material, shape in (("brick", "square"), ("carpet", "disc"), ("wood", "triangle")):
        (folder / "minc-2500" / "images" / material).mkdir(parents=True)
        for image in (shapes / shape).glob("*.png"):
            to = folder / "minc-2500" / "images" / material / f"{material}_00{image.stem}.jpg"
            Image.open(image).convert("RGB").save(to)
    package = architecture("efficientnet_lite0").published.package
    assert package is not None
    file = package_file(package)
    assert file is not None
    (folder / "weights").mkdir()
    shutil.copyfile(file, folder / "weights" / f"efficientnet_lite0{file.suffix}")
    return folder


def ids(notebook: Path) -> str:
    return notebook.stem


def read(notebook: Path) -> Any:
    return jupytext.read(notebook, fmt="py:percent")


def parameters_of(book: Any) -> int:
    (place,) = [
        place
        for place, cell in enumerate(book.cells)
        if "parameters" in cell.metadata.get("tags", ())
    ]
    return place


def execute(notebook: Path, place: Path, parameters: dict[str, str]) -> Any:
    """The notebook as it ran, with other values in the cell after its parameters."""
    book = read(notebook)
    said = [f"{name} = Path({value!r})" for name, value in parameters.items()]
    said += [f"{name} = {value!r}" for name, value in SMALLER[notebook.stem].items()]
    if notebook.stem != DRAWS_ITS_REPORTS:
        said += ["from tests.plot_stand_ins import stand_ins", "plots = stand_ins()"]
        said += ["plots.__enter__()"]
    book.cells.insert(parameters_of(book) + 1, nbformat.v4.new_code_cell("\n".join(said)))
    client = NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    client.execute()
    return book


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without network for kernels and what they start; the working folder."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK, "utf-8")
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src"), str(ROOT)])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    work = tmp_path / "working"
    work.mkdir()
    return work


def digest(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{file.relative_to(folder)} {file.stat().st_mtime_ns}".encode())
    return total.hexdigest()


@pytest.mark.slow
@pytest.mark.documentation
@pytest.mark.timeout(600)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_a_notebook_runs_as_on_kaggle(notebook: Path, kernel: Path, kaggle_input: Path) -> None:
    before = digest(kaggle_input)
    given = {name: str(kaggle_input / path) for name, path in INPUTS[notebook.stem].items()}
    book = execute(notebook, kernel, {**given, "WORK": str(kernel)})
    assert results(book) >= 2
    assert digest(kaggle_input) == before
    if notebook.stem == "materials_on_kaggle":
        said = "".join(str(cell.get("outputs", "")) for cell in book.cells)
        assert "weights: folder" in said
        assert "the split folders hold different classes" in said
        assert "cut off" in said


@pytest.mark.slow
@pytest.mark.documentation
@pytest.mark.timeout(600)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_a_notebook_draws_images_where_none_are_attached(
    notebook: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells run until its name for the images has a value."""
    monkeypatch.chdir(kernel)
    monkeypatch.setenv("HOLOTYPE_CACHE", os.environ["HOLOTYPE_CACHE"])  # a notebook sets its own
    book = read(notebook)
    names: dict[str, Any] = {}
    exec(book.cells[parameters_of(book)].source, names)
    names |= dict.fromkeys(INPUTS[notebook.stem], kernel / "missing")
    names |= {"WORK": kernel / "work", **SMALLER[notebook.stem]}
    for cell in book.cells[parameters_of(book) + 1 :]:
        if cell.cell_type == "code" and DRAWN[notebook.stem] not in names:
            exec(compile(cell.source, notebook.name, "exec"), names)
    drawn = Path(names[DRAWN[notebook.stem]])
    assert drawn.is_relative_to(kernel / "work")
    assert len(read_index(drawn)) >= 100


def results(book: Any) -> int:
    """How many cells show a value of their own: a table, an image or a summary."""
    return sum(
        any("text/html" in output.get("data", {}) or "image/png" in output.get("data", {})
            for output in cell.get("outputs", ()))
        for cell in book.cells
    )  # fmt: skip


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_all_paths_of_a_notebook_are_in_one_cell(notebook: Path) -> None:
    book = read(notebook)
    first = parameters_of(book)
    named = set(re.findall(r"^(?:\w+, )*\w+", book.cells[first].source, re.M))
    named = {name for line in named for name in line.split(", ")}
    assert {*INPUTS[notebook.stem], *SMALLER[notebook.stem]} <= named
    assert "WORK" in book.cells[first].source
    for cell in book.cells[first + 1 :]:
        assert cell.cell_type == "markdown" or "/kaggle/" not in cell.source
    assert book.cells[0].cell_type == "markdown"


def test_every_notebook_has_its_input_and_each_exercise_its_solution() -> None:
    assert {notebook.stem for notebook in NOTEBOOKS} == set(INPUTS)
    book = read(ROOT / "notebooks" / "turtle_exercises.py")
    text = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    assert sum(source.startswith("## Exercise") for source in text) == 4
    solutions = [
        cell
        for cell in book.cells
        if cell.cell_type == "code" and "solution" in cell.metadata.get("tags", ())
    ]
    assert len(solutions) == 4
