"""`holotype predict`: nine answers of ten, the tenth named; and nothing heavy loaded."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holotype.cli.app import run
from tests.bundle.tiny import CLASSES, write_images, write_tiny

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "predict.schema.json").read_text())
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def assert_fits(value: Any, schema: dict[str, Any], place: str = "$") -> None:
    """A JSON value against the few words of JSON Schema that our schema uses."""
    known = {
        "$schema", "title", "description", "type", "required", "additionalProperties",
        "properties", "pattern", "items", "minItems", "minimum", "maximum",
    }  # fmt: skip
    assert set(schema) <= known, f"{place}: the schema says {set(schema) - known}"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(isinstance(value, JSON_TYPES[name]) for name in types), f"{place}: {value!r}"
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), place
        others = schema.get("additionalProperties", {})
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                assert_fits(inner, schema["properties"][key], f"{place}.{key}")
            else:
                assert others is not False, f"{place}: unexpected {key!r}"
                assert_fits(inner, others, f"{place}.{key}")
    if isinstance(value, list):
        assert len(value) >= schema.get("minItems", 0), place
        for number, inner in enumerate(value):
            assert_fits(inner, schema["items"], f"{place}[{number}]")
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value), f"{place}: {value!r}"
    if isinstance(value, float) and "minimum" in schema:
        assert schema["minimum"] <= value <= schema["maximum"], f"{place}: {value}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "bundle"
    write_tiny(directory)
    return directory


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images and one that is cut in half."""
    directory = tmp_path_factory.mktemp("images")
    paths = write_images(directory, 10)
    paths[4].write_bytes(paths[4].read_bytes()[: paths[4].stat().st_size // 2])
    return directory


def answer_of(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int) -> Any:
    assert run(arguments) == code
    return json.loads(capsys.readouterr().out)


def test_one_bad_image_of_ten_costs_only_itself(
    bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["predict", str(bundle), str(images), "--json"], capsys, code=1)
    assert_fits(answer, SCHEMA)
    assert len(answer["predictions"]) == 9
    (refused,) = answer["refused"]
    assert refused["file"] == (images / "004.png").as_posix()
    assert refused["problem"] == "truncated_image"
    for prediction in answer["predictions"]:
        probabilities = prediction["probabilities"]
        assert list(probabilities) == list(CLASSES)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert prediction["class"] == max(probabilities, key=probabilities.get)
        assert prediction["probability"] == max(probabilities.values())
        assert prediction["unknown"] is None
        assert prediction["set"] is None


def test_the_table_on_the_terminal_names_the_bad_image(
    bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(bundle), str(images)]) == 1
    captured = capsys.readouterr()
    header, rule, *rows = captured.out.splitlines()
    assert header.split() == ["file", "class", "probability"]
    assert set(rule) == {"─", " "}
    assert [Path(row.split()[0]).name for row in rows] == [
        f"{number:03d}.png" for number in range(10) if number != 4
    ]
    assert "004.png" in captured.err
    assert "9 of 10 images answered" in captured.err


def test_good_images_alone_end_with_exit_code_0(bundle: Path, images: Path) -> None:
    assert run(["predict", str(bundle), str(images / "000.png")]) == 0


def test_csv_json_and_standard_output_say_the_same(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(bundle), str(images)]
    printed = answer_of([*words, "--json"], capsys, code=1)
    assert run([*words, "--output", str(tmp_path / "answers.json")]) == 1
    assert run([*words, "--output", str(tmp_path / "answers.csv")]) == 1
    assert json.loads((tmp_path / "answers.json").read_text("utf-8")) == printed
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "file",
        "class",
        "probability",
        "unknown",
        "set",
        *(f"p:{c}" for c in CLASSES),
    ]
    for row, prediction in zip(rows, printed["predictions"], strict=True):
        assert row["file"] == prediction["file"]
        assert row["class"] == prediction["class"]
        assert {c: float(row[f"p:{c}"]) for c in CLASSES} == prediction["probabilities"]


@pytest.mark.parametrize(
    "name",
    ["two words.png", 'it\'s "so".png', "a\nb.png", "🐢🐚.png", "x" * 251 + ".png", "-x.png"],
)
def test_any_file_name_is_answered_under_its_own_name(
    bundle: Path, images: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes((images / "000.png").read_bytes())
    answer = answer_of(["predict", str(bundle), str(tmp_path), "--json"], capsys, code=0)
    assert [p["file"] for p in answer["predictions"]] == [(tmp_path / name).as_posix()]
    assert run(["predict", str(bundle), str(tmp_path), "--output", str(tmp_path / "a.csv")]) == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [(tmp_path / name).as_posix()]


def test_a_file_name_cannot_steer_the_terminal(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "\x1b[31mred\x07.png").write_bytes((images / "000.png").read_bytes())
    assert run(["predict", str(bundle), str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "\\x1b[31mred\\x07.png" in captured.out
    assert "\x1b" not in captured.out + captured.err


def test_a_file_name_that_is_no_text_is_answered(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    name = b"caf\xe9.png"  # Latin-1, which is no UTF-8
    with open(bytes(tmp_path) + b"/" + name, "wb") as file:
        file.write((images / "000.png").read_bytes())
    command = [sys.executable, "-c", "from holotype.cli.app import main; main()"]
    words = ["predict", str(bundle), str(tmp_path), "--output", str(tmp_path / "answers.json")]
    answer = subprocess.run([*command, *words], capture_output=True, check=True)
    assert b"caf\\xe9.png" in answer.stdout or b"caf\\udce9.png" in answer.stdout
    written = json.loads((tmp_path / "answers.json").read_bytes())
    assert len(written["predictions"]) == 1


def test_an_output_of_another_kind_is_refused_before_any_work(
    bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(bundle), str(images), "--output", "answers.xlsx"]) == 2
    assert "'answers.xlsx' must end in .csv or .json" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nowhere.png"], []])
def test_no_such_image_is_a_mistake_of_the_caller(
    bundle: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(bundle), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_what_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(tmp_path), "x.png"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path) in line


def test_predicting_never_loads_heavy_libraries(bundle: Path, images: Path) -> None:
    script = (
        "import sys; from holotype.cli.app import run; "
        f"code = run(['predict', {str(bundle)!r}, {str(images / '000.png')!r}, '--json']); "
        "heavy = {'torch', 'timm', 'pandas', 'scipy', 'sklearn', 'skimage', 'matplotlib', "
        "'pyarrow', 'pydantic', 'onnx'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
