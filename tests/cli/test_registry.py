"""`holotype registry`: what it prints, its exit codes, and the JSON that a program reads."""

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.registry.made import write_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs, the last of which is worse; the registry is in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLOTYPE_REGISTRY", raising=False)
    monkeypatch.delenv("HOLOTYPE_REGISTRY_FILES", raising=False)
    monkeypatch.setenv("LOGNAME", "ana")
    for number, accuracy in enumerate((0.85, 0.9, 0.6), start=1):
        write_run(Path("runs") / f"cells-{number}", f"cells {number}", accuracy=accuracy)
    return Path("runs")


def test_a_day_with_a_registry(runs: Path, cli: Cli) -> None:
    code, out, err = cli("registry", "add", runs / "cells-1", "--name", "cells")
    assert code == 0
    assert out.startswith("cells/1\n")
    assert err == "Next: holotype registry promote cells 1\n"
    assert (Path("registry") / "registry.db").is_file()
    assert cli("registry", "promote", "cells", "1", "--reason", "the first")[0] == 0
    cli("registry", "add", runs / "cells-2", "--name", "cells")
    code, out, err = cli("registry", "promote", "cells", "2", "--if-champion", "1")
    assert (code, out) == (0, "cells: promote 1 → 2\n")
    assert "accuracy +5.0 points" in err
    cli("registry", "add", runs / "cells-3", "--name", "cells")
    code, out, err = cli("registry", "promote", "cells", "3")
    assert (code, out) == (1, "")
    assert err.startswith("error: cells/3 is surely worse")
    tagged = cli("registry", "tag", "cells", "3", "challenger")[1]
    assert tagged == "cells: tag challenger none → 3\n"
    assert cli("registry", "tag", "cells", "none", "challenger")[0] == 0
    assert cli("registry", "rollback", "cells", "--reason", "complaints")[1] == (
        "cells: rollback 2 → 1\n"
    )
    assert cli("registry", "remove", "cells", "3")[0] == 0
    _, history, _ = cli("registry", "history", "cells")
    changes = [line.split("ana")[1].strip() for line in history.splitlines()[3:]]
    assert changes == [
        "register 1",
        "promote none → 1           the first",
        "register 2",
        "promote 1 → 2",
        "register 3",
        "tag challenger none → 3",
        "untag challenger 3 → none",
        "rollback 2 → 1             complaints",
        "remove 3",
    ]
    assert max(map(len, history.splitlines())) <= 80
    _, shown, _ = cli("registry", "show", "cells")
    assert shown.splitlines()[0] == "cells: 2 versions; champion 1"
    assert cli("registry", "verify")[:2] == (0, "2 versions and 9 events: intact\n")


def test_what_a_program_reads(runs: Path, cli: Cli) -> None:
    for number in (1, 2):
        cli("registry", "add", runs / f"cells-{number}", "--name", "cells")
    cli("registry", "promote", "cells", "2")
    listed = json.loads(cli("registry", "list", "--json")[1])
    (model,) = listed["models"]
    assert (model["name"], model["versions"], model["aliases"]) == ("cells", 2, {"champion": 2})
    champion = model["champion"]
    assert (champion["version"], champion["accuracy"]["value"]) == (2, 0.9)
    assert (Path(champion["bundle"]) / "manifest.json").is_file()
    shown = json.loads(cli("registry", "show", "cells@champion", "--json")[1])
    assert shown["recipe"] == (runs / "cells-2" / "recipe.yaml").read_text()
    assert shown["metrics"]["accuracy"]["high"] > 0.9
    history = json.loads(cli("registry", "history", "cells", "--json")[1])
    assert [event["number"] for event in history["events"]] == [1, 2, 3]
    at = history["events"][1]["at"]
    assert json.loads(cli("registry", "show", "cells", "--at", at, "--json")[1])["champion"] is None


def test_importing_and_verifying(runs: Path, cli: Cli) -> None:
    code, out, _ = cli("registry", "import", runs, "--name", "cells", "--json")
    assert code == 0
    assert len(json.loads(out)["versions"]) == 3
    stored = next(Path("registry/bundles").glob("*/head.onnx"))
    stored.write_bytes(b"x" + stored.read_bytes()[1:])
    code, out, _ = cli("registry", "verify", "cells")
    assert code == 1
    assert "head.onnx is not what the manifest says" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["list"], 1, "there is no registry at registry/registry.db"),
        (["add", "nowhere", "--name", "cells"], 1, "'nowhere' does not exist"),
        (["promote", "cells", "1", "--force"], 2, "--force needs --reason"),
        (["show", "a/b/c"], 2, "names no registered classifier"),
        (["champion"], 2, "registry --help"),
        (["list", "--registry", "mysql://x/y", "--files", "z"], 1, "cannot be kept in 'mysql'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], code: int, message: str, runs: Path, cli: Cli
) -> None:
    found, out, err = cli("registry", *words)
    assert (found, out) == (code, "")
    assert err.count("\n") == 1
    assert message in err


def test_every_command_has_help_with_an_example(cli: Cli) -> None:
    _, out, _ = cli("registry", "--help")
    names = ("add", "list", "show", "promote", "rollback", "tag", "history", "remove", "verify")
    for name in (*names, "import"):
        assert f" {name} " in out
        assert f"holotype registry {name}" in cli("registry", name, "--help")[1]
