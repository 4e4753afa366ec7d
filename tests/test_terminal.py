"""Text tables keep their columns, whatever a cell holds."""

from rich.cells import cell_len

from holotype.text_tables import text_table


def test_columns_line_up_whatever_script_a_name_is_in() -> None:
    names = ["turtle", "龟鳖", "🐢", "e\u0301tang", "a\nb"]
    lines = text_table(("name", "next"), [(name, "|") for name in names]).splitlines()
    assert len(lines) == 2 + len(names)
    assert len({cell_len(line.rstrip("|")) for line in lines[2:]}) == 1


def test_numbers_stand_on_the_right() -> None:
    lines = text_table(("class", "images"), [("a", 5), ("b", 1200)]).splitlines()
    assert lines == ["class  images", "─────  ──────", "a           5", "b        1200"]


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(("class", "images"), []).splitlines() == ["class  images", "─────  ──────"]
