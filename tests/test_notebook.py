"""Results as HTML tables and data frames."""

import sys

import pytest
from PIL import Image

from holotype.errors import MissingExtra
from holotype.notebook import data_frame, html_image, html_table, shorten


def test_a_table_escapes_what_it_shows() -> None:
    html = html_table(["<b>", "n"], [["<script>", 0.123456], [None, 3]], caption="a & b")
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<td>&lt;script&gt;</td><td>0.1235</td>" in html
    assert "<caption>a &amp; b</caption>" in html
    assert "<td></td><td>3</td>" in html


def test_a_long_table_is_cut_in_its_middle_and_names_its_length() -> None:
    html = html_table(["n"], [[number] for number in range(420)])
    assert "20 of 420 rows" in html
    assert html.count("<tr>") == 22
    assert "<td>9</td>" in html
    assert "<td>10</td>" not in html
    assert "<td>410</td>" in html


def test_an_image_holds_its_pixels() -> None:
    assert 'src="data:image/png;base64,iVBOR' in html_image(Image.new("RGB", (2, 2)))


def test_a_long_text_is_one_line_of_a_given_width() -> None:
    assert shorten("a\nb") == "a b"
    assert shorten("x" * 200, 10) == "x" * 9 + "…"


def test_a_frame_without_pandas_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(data_frame({"n": (1, 2)})["n"]) == [1, 2]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holotype\[train\]'"):
        data_frame({"n": [1]})
