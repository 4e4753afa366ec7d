"""What the pages of a data set share: which one is meant, and what is kept of it in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.data.image_table import (
    MAX_TABLES,
    DuplicatePair,
    ImageTable,
    data_directory,
    duplicate_pairs,
    findings_by_kind,
    image_table,
    reviewed_issues,
)
from holotype.dashboard_pages.file_cache import FileCache
from holotype.dataset.auditing.issue_reviews import ReviewedIssue

KINDS_OF_FILES = 4  # that are read of one data set


@dataclass(frozen=True, eq=False)
class DataSet:
    """A run, a search or an audit whose images are shown.

    Attributes:
        of: its path relative to the folder that the server shows.
        directory: its path.
        cache: what was read of it.
    """

    of: str
    directory: Path
    cache: FileCache

    @property
    def table(self) -> ImageTable:
        """Its images."""
        return image_table(self.cache, self.directory)

    @property
    def issues(self) -> list[ReviewedIssue]:
        """The rows of its issues.csv."""
        return reviewed_issues(self.cache, self.directory)

    @property
    def duplicates(self) -> list[DuplicatePair]:
        """Its near-duplicates."""
        return duplicate_pairs(self.cache, self.directory)

    @property
    def findings(self) -> Mapping[str, NDArray[np.int64]]:
        """Kind of finding -> rows."""
        return findings_by_kind(self.cache, self.directory, self.table)


def data_set_of(request: Request) -> DataSet:
    """The data set that the address names.

    Raises:
        UsageError: there is none.
    """
    kept = dashboard_of(request).kept
    cache = kept.setdefault("data files", FileCache(MAX_TABLES * KINDS_OF_FILES))
    of = request.query_params.get("of", "")
    return DataSet(of, data_directory(dashboard_of(request).folder, of), cache)
