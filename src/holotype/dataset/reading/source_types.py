"""The sources of labelled images: folders, table files and pandas DataFrames."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from holotype.arguments import shown
from holotype.dataset.reading.folder_walk import printable
from holotype.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import pandas as pd

DataSource: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"


def as_sources(data: "DataSource | Sequence[DataSource]") -> "list[Path | pd.DataFrame]":
    """One or several sources as a list of paths and DataFrames.

    Raises:
        DatasetError: there is none.
    """
    import pandas as pd

    one = isinstance(data, str | os.PathLike | pd.DataFrame)
    sources: list[Any] = [data] if one else list(data) if isinstance(data, Sequence) else [data]
    if not sources:
        raise DatasetError("no data was named; expected a folder of images or a table.")
    for source in sources:
        if isinstance(source, bytes) or not isinstance(source, str | os.PathLike | pd.DataFrame):
            raise UsageError(
                f"data is {shown(source)}; expected the path of a folder or a table, a DataFrame, "
                "or several of these in a list."
            )
        if isinstance(source, str) and not source.strip():
            raise UsageError("data is an empty text; expected the path of a folder or a table.")
    return [each if isinstance(each, pd.DataFrame) else Path(each) for each in sources]


def source_name(source: "Path | pd.DataFrame") -> str:
    """A folder or file without its directories and extension; `table` for a DataFrame."""
    if not isinstance(source, Path):
        return "table"
    source = source.resolve()
    return printable(source.name if source.is_dir() else source.stem)


def pattern_words(
    label_pattern: str | None, group_pattern: str | None, label_prefix: bool = False
) -> list[str]:
    """The options by which a command line reads sources in the same way."""
    words = ["--label-pattern", label_pattern] if label_pattern else []
    words += ["--group-pattern", group_pattern] if group_pattern else []
    return [*words, "--label-prefix"] if label_prefix else words


def describe_source(source: "Path | pd.DataFrame") -> str:
    """The source, for a message."""
    return printable(str(source)) if isinstance(source, Path) else "a DataFrame"
