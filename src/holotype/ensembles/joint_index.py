"""The images of several members as one index."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.dataset.index import Index
from holotype.ensembles.compatibility import Member

if TYPE_CHECKING:
    import pandas as pd


def joint_index(members: Sequence[Member]) -> Index:
    """The images of the first member, and those that only another was trained on.

    An ensemble can be a member itself, so its index has every image that it was trained on.
    """
    import pandas as pd

    first = members[0].index
    tables, known = [first.table], set(first.table["sha256"])
    for member in members[1:]:
        table = member.index.table
        rows = table[table["sha256"].isin(member.training_hashes("val") - known)]
        known |= set(rows["sha256"])
        tables.append(_relative_to(first.root, member.index, rows))
    table = pd.concat(tables).drop_duplicates("path").sort_values("path", ignore_index=True)
    return replace(first, table=table)


def _relative_to(root: Path, index: Index, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows with paths relative to another folder."""
    if index.root == root:
        return rows
    moved = [Path(os.path.relpath(index.file(path), root)).as_posix() for path in rows["path"]]
    return rows.assign(path=moved)
