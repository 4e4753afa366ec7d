"""What is said while something runs."""

import pytest

from holotype.narration import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("picture",), "0 pictures"),
        (1, ("picture",), "1 picture"),
        (2, ("picture",), "2 pictures"),
        (1, ("class", "classes"), "1 class"),
        (1200, ("class", "classes"), "1,200 classes"),
    ],
)
def test_one_is_no_plural(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said
