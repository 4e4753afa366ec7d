"""Which files of a run or a search Holotype wrote; whatever else lies there is the user's."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from holotype.files import TEMPORARY_PREFIX

# Within runs and their stages and folds, and within trials of searches, which are runs too.
_WRITTEN = re.compile(
    r"""
    ((stages|folds|trials)/[^/]+/)*
    (
        \.lock | recipe\.yaml | index\.parquet | train\.log | environment\.json
        | unseen\.parquet | history\.(csv|json) | class_names\.json
        | MODEL_CARD\.md | tracking\.json | tags\.json | tensorboard/events\.[^/]+
        | asked\.json | epochs\.json | trial\.json | process\.log
        | predictions/[^/]+\.parquet
        | report/[^/]+\.(png|html|json|txt|csv)
        | audit/(index\.html|audit\.json|issues\.csv|\.issues\.lock)
        | checkpoints/(refit/)?[^/]+\.(safetensors|json|npz|parquet)
        | bundle/(members/\d+/)*
          (manifest\.json|backbone\.onnx|head\.onnx|references\.npz|conformal\.npz
           |watch_reference\.npz|ensemble_weights\.json|manifest\.sha256)
    )
    """,
    re.VERBOSE,
)


def files_of_others(directory: Path) -> Iterator[str]:
    """Every file below a run, or below the trials of a search, that Holotype did not write.

    Links are the user's too, whatever they are called.
    """
    prefix = "trials/" if directory.name == "trials" else ""
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*files, *links):
            relative = (here / name).relative_to(directory).as_posix()
            if name.startswith(TEMPORARY_PREFIX):
                continue
            if (here / name).is_symlink() or not _WRITTEN.fullmatch(prefix + relative):
                yield relative


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, files in os.walk(path)
        for name in files
    )
