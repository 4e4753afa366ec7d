"""The command line as a whole: what a mistake costs, and what help costs."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from cyclopts import App

from holotype.cli.app import VERBS, build_app, run
from holotype.cli.options import one_value_a_flag, ratios_as_one_word

HOLOTYPE = [sys.executable, "-c", "from holotype.cli.app import main; main()"]


def error_of(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error of a command that fails; nothing is on standard output."""
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian", "photos"], '"train"'),
        (["train", "photos", "--epoch", "3"], "--epochs"),
        (["train", "photos", "--epochs", "three"], '"three"'),
        (["train", "photos", "--device", "cud"], "cuda"),
        (["train", "photos", "--ratios", "0.7", "0.3"], "got 0.7 0.3."),
        (["train", "--ratios", "0.7", "0.3", "photos"], "three numbers for train, val and test"),
        (["train", "photos", "--ratios", "half", "0.3", "0.2"], "got half."),
        (["split", "photos", "--output", "x", "--ratios"], "requires an argument"),
        (["train", "a", "--ratios", "0.5", "0.5", "--ratios", "1"], "sum to 2"),
        (["train", "--print-recipe", "--ratios", "0.7", "0.4", "-0.1"], "at least 0"),
        (
            ["train", "--print-recipe", "--ratios", "0.7", "0.2", "0.2", "0.1"],
            "train, val, test and",
        ),
        (["train", "--print-recipe", "--ratios", *"11111"], "or four, the last for cal"),
        (["train", "photos", "--set", "seed"], "KEY=VALUE"),
        (["train", "--print-recipe", "--recipe", "linaer"], "'linear'"),
        (["train", "--print-recipe", "--model", "efficientnet_lite"], "'efficientnet_lite"),
        (["train", "--print-recipe", "--set", "sed=1"], "sed"),
        (["train"], "DATA"),
        (["audit"], "DATA"),
        (["audit", "photos", "--fail-on", "laek"], "'leak'"),
        (["explain", "runs/x", "a.jpg", "--output", "why.jpg"], ".png"),
    ],
)
def test_a_mistake_in_the_words_costs_one_line_and_exit_code_2(
    arguments: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suggestion in error_of(arguments, 2, capsys)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("serve runs/a --share 10", "--challenger"),
        ("serve runs/a --shadow", "--challenger"),
        ("serve runs/a --rollout 5,100", "--challenger"),
        ("serve runs/a --challenger runs/b --rollout-hours 2", "--rollout"),
        ("serve runs/a --log-days 90", "--log"),
        ("serve runs/a --log-gib 1", "--log"),
        ("serve runs/a --image-days 1", "--log"),
        ("serve runs/a --log log --image-gib 1", "--image-days"),
        ("watch runs/a --log log --smtp localhost", "--email"),
        ("watch runs/a --log log --email-from a@b", "--email"),
        ("retrain registry://a --with new --watch watch-a", "--when alarm"),
        ("retrain registry://a --with new --watch watch-a --when always", "--when alarm"),
        ("export runs/a --output out --format onnx --reduce-range", "--format int8"),
        ("identify evaluate gallery --attribute side=left", "DATA"),
        ("clean --cache 1G --failed", "FOLDER"),
        ("clean --cache 1G --keep 3", "FOLDER"),
        ("clean --cache 1G --search-older 7d", "FOLDER"),
        ("clean --cache 1G --registry registry", "FOLDER"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_with_the_one_it_needs(
    arguments: str, needed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(arguments.split(), 2, capsys)
    assert f" says nothing without {needed}; add that, or leave --" in said


def test_options_that_say_nothing_alone_are_taken_with_what_they_need(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder_and_options = ["clean", "nowhere", "--failed", "--keep", "3"]
    assert "'nowhere' is no folder" in error_of(folder_and_options, 2, capsys)
    export = ["export", "nowhere", "--output", "out", "--format", "onnx", "int8"]
    refused = run([*export, "--reduce-range"])
    assert refused == 1
    assert "says nothing" not in capsys.readouterr().err


def test_words_that_nothing_takes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["retrain", "registry://cells", "b", "c", "--with", "a"]) == 2
    said = capsys.readouterr().err
    assert said == "error: nothing takes 'b', 'c'. See `holotype retrain --help`.\n"


@pytest.mark.parametrize(
    ("line", "name", "values"),
    [
        ("retrain registry://a --with b c", "labels", (Path("b"), Path("c"))),
        ("track runs/a --to mlflow tensorboard", "to", ("mlflow", "tensorboard")),
        ("serve runs/a --allowed-hosts a b --proxies c d", "allowed_hosts", ("a", "b")),
        ("dashboard runs --proxies c d", "proxies", ("c", "d")),
        ("serve keys add ada --keys k --rights look review", "rights", ("look", "review")),
        ("train photos --set a=1 b=2", "settings", ("a=1", "b=2")),
        ("train --set a=1 b=2 photos", "settings", ("a=1", "b=2")),
        ("train --track mlflow=http://a tensorboard photos", "track",
         ("mlflow=http://a", "tensorboard")),
        ("identify add g a.jpg --attribute side=left sex=f", "attributes",
         {"side": "left", "sex": "f"}),
    ],
)  # fmt: skip
def test_an_option_that_may_be_repeated_takes_several_words(
    line: str, name: str, values: object
) -> None:
    words = ratios_as_one_word(one_value_a_flag(line.split()))
    _, given, _ = build_app().parse_args(words, print_error=False, exit_on_error=False)
    assert given.arguments[name] == values
    if line.startswith("train"):
        assert given.arguments["data"] == (Path("photos"),)


def commands(app: App) -> Iterator[App]:
    """Every command, those below others too."""
    for name in app:
        if not name.startswith("-"):
            yield app[name]
            yield from commands(app[name])


def test_no_option_with_several_values_takes_one_word_alone() -> None:
    several = {
        (app.name[0], argument.name): bool(argument.parameter.consume_multiple)
        for app in commands(build_app())
        if app.default_command is not None
        for argument in app.assemble_argument_collection()
        if argument.name.startswith("--") and get_args(argument.hint)[1:] == (...,)
    }
    assert several["sweep", "--data"]
    one_word = {name for (_, name), takes_all in several.items() if not takes_all}
    assert one_word == {"--set", "--track"}  # which are made several beforehand


def test_a_file_that_begins_with_a_dash_is_named_and_can_be_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-left").touch()
    for file in ("-left 0_0.jpg", "--left.png", "-left"):
        line = error_of(["predict", "runs/a", file], 2, capsys)
        assert f"A file that begins with a dash is written './{file}', or after --." in line
        for words in ([f"./{file}"], ["--", file]):  # the run is what is wrong now
            assert "'runs/a'" in error_of(["predict", "runs/a", *words], 1, capsys)
    assert "begins with" not in error_of(["predict", "runs/a", "-x"], 2, capsys)


def test_data_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'nowhere'" in error_of(["audit", "nowhere"], 1, capsys)


def test_a_place_that_cannot_be_written_costs_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "shapes"
    line = error_of(["fetch", "synthetic", "--output", str(place)], 2, capsys)
    assert str(tmp_path / "file") in line


def test_an_interruption_costs_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("holotype.pipeline.model_catalog.availability", interrupt)
    assert error_of(["models"], 130, capsys) == "error: interrupted."


@pytest.mark.parametrize("folds", [(), ("--folds", "2")])
def test_an_interrupted_training_says_how_to_go_on(
    folds: tuple[str, ...],
    synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for where in ("train", "cross_validation"):
        name = f"holotype.pipeline.training_run.{where}.train_single_run"
        monkeypatch.setattr(name, interrupt)
    output = tmp_path / "my run"
    words = ["train", str(synthetic), "--model", "hog", *folds, "--output", str(output)]
    assert run(words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: interrupted; what was computed is kept. The same command with --output "
        f"'{output}' --resume goes on."
    )


def test_an_error_of_ours_shows_the_traceback_and_asks_for_a_report() -> None:
    sabotage = "import holotype.pipeline.doctor as d; del d.os; " + HOLOTYPE[2]
    ended = subprocess.run([sys.executable, "-c", sabotage, "doctor"], capture_output=True)
    assert ended.returncode == 1
    assert b"Traceback" in ended.stderr
    assert b"This is a bug in Holotype" in ended.stderr.splitlines()[-1]


def test_a_missing_extra_is_named_with_the_line_that_installs_it() -> None:
    without_timm = "import sys; sys.modules['timm'] = None; " + HOLOTYPE[2]
    words = ["train", "--print-recipe", "--model", "timm:resnet18"]
    ended = subprocess.run([sys.executable, "-c", without_timm, *words], capture_output=True)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert b"pip install 'holotype[train]'" in line


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [*HOLOTYPE, "train", "--print-recipe"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert complaints == b""


@pytest.mark.parametrize(("verb", "summary", "example"), VERBS)
def test_the_help_of_every_verb_has_an_example_that_parses(
    verb: str, summary: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, "--help"]) == 0
    page = capsys.readouterr().out
    assert example in page
    assert " ".join(summary.split()) in " ".join(page.split())
    command, _, _ = build_app().parse_args(example.split()[1:])
    assert command.__module__ == f"holotype.cli.{verb}"


def test_the_help_lists_the_verbs_in_the_order_of_the_road(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--help"]) == 0
    page = capsys.readouterr().out
    positions = [page.index(f"│ {verb} ") for verb, _, _ in VERBS]
    assert positions == sorted(positions)


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*HOLOTYPE, "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5
