"""The sources of labelled images: folders, table files and pandas DataFrames."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from holotype.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

DataSource: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"


def as_sources(data: "DataSource | Sequence[DataSource]") -> "list[Path | pd.DataFrame]":
    """One or several sources as a list of paths and DataFrames.

    Raises:
        DatasetError: there is none.
    """
    import pandas as pd

    sources = [data] if isinstance(data, str | os.PathLike | pd.DataFrame) else list(data)
    if not sources:
        raise DatasetError("no data was named; expected a folder of images or a table.")
    return [each if isinstance(each, pd.DataFrame) else Path(each) for each in sources]


def source_name(source: "Path | pd.DataFrame") -> str:
    """A folder or file without its directories and extension; `table` for a DataFrame."""
    if not isinstance(source, Path):
        return "table"
    source = source.resolve()
    return source.name if source.is_dir() else source.stem


def describe_source(source: "Path | pd.DataFrame") -> str:
    """The source, for a message."""
    return str(source) if isinstance(source, Path) else "a DataFrame"
