"""What is said while something runs."""

import sys
from types import SimpleNamespace

import pytest

from holotype.progress import Progress, default_progress, pluralize


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("class", "classes"), "1 class"),
        (1200, ("class", "classes"), "1,200 classes"),
    ],
)
def test_one_is_no_plural(number: int, words: tuple[str, ...], said: str) -> None:
    assert pluralize(number, *words) == said


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_outside_of_a_notebook_functions_are_silent(
    shell: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert default_progress() == Progress()
    monkeypatch.delitem(sys.modules, "IPython")
    assert default_progress() == Progress()


def test_in_a_notebook_functions_say_what_the_commands_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    default_progress().log("left out: 3 images")
    assert capsys.readouterr() == ("", "left out: 3 images\n")
