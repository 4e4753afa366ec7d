"""Atomic directories: written under a temporary name and renamed when complete."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holotype.arguments import require_directory_place
from holotype.dataset.reading.folder_walk import is_holotype_output
from holotype.errors import UsageError
from holotype.files import TEMPORARY_PREFIX, csv_lines, naming, temporary_directory

TABLE_FILENAME = "table.csv"


@contextmanager
def staged_directory(output: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside `output`; rename it to `output` if the block succeeds.

    An output that is itself a staged directory is yielded as it is: whoever staged it renames it.

    Args:
        replace: replace a directory that is not empty; it is deleted only after the rename.

    Raises:
        UsageError: the output is not empty, and `replace` is false; or as `require_empty`.
    """
    output = output.absolute()
    if output.is_symlink():  # which stays, and leads to what is written
        output = output.resolve()
    if not (replace and output.is_dir()):
        require_empty(output)
    if output.name.startswith(TEMPORARY_PREFIX):
        yield output
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming(output), temporary_directory(output.parent) as temporary:
        yield temporary
        if not (replace and output.is_dir()):
            require_empty(output)  # it may have been filled meanwhile
        with temporary_directory(output.parent) as old:
            if output.exists():
                output.replace(old)  # which is an empty directory
            try:
                temporary.replace(output)
            except OSError:
                if any(old.iterdir()):
                    old.replace(output)
                raise


def require_empty(output: Path) -> None:
    """Refuse an output that is a file, a directory that is not empty, or a mounted file system.

    Raises:
        UsageError: it is.
    """
    require_directory_place(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(
            f"the output {str(output)!r} is not empty, and nothing is overwritten. "
            "Choose another --output, or empty it first."
        )
    if os.path.ismount(output):
        raise UsageError(
            f"the output {str(output)!r} is the root of a mounted file system, in whose place no "
            f"directory can be renamed; name a folder within it, such as "
            f"{str(output / 'new')!r}."
        )


def require_outside(output: Path, *sources: Path) -> None:
    """Refuse an output within the data, which would be read as data the next time.

    Raises:
        UsageError: the output is inside a folder of `sources`, or the other way round.
    """
    for source in sources:
        folder = source.resolve()
        if folder.is_dir() and (
            output.resolve().is_relative_to(folder) or folder.is_relative_to(output.resolve())
        ):
            raise UsageError(
                f"the output {str(output)!r} and the data {str(source)!r} lie within each other; "
                "choose an --output beside the data."
            )


def require_apart_from_images(output: Path, sources: Iterable[object]) -> None:
    """Refuse an output that would stand among the images of a folder, and be read as one of them.

    A folder of its own within the data is accepted: it is recognised and passed over.

    Args:
        output: a PNG file, or a folder.
        sources: of the data; only folders matter.

    Raises:
        UsageError: the output is an image within the data, or a folder of it that holds files
            which Holotype did not write.
    """
    for source in sources:
        if not isinstance(source, str | os.PathLike) or not Path(source).is_dir():
            continue
        within = output.resolve().is_relative_to(Path(source).resolve())
        is_filled = output.is_dir() and any(output.iterdir()) and not is_holotype_output(output)
        if within and (is_filled or output.suffix.lower() == ".png"):
            raise UsageError(
                f"the output {str(output)!r} lies among the images of {str(source)!r} and would be "
                "read as data the next time; choose an --output beside the data."
            )


def write_table(
    directory: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    name: str = TABLE_FILENAME,
) -> Path:
    """Write `table.csv`, or another table, into a staged directory."""
    table = directory / name
    table.write_text(csv_lines([header, *rows]), encoding="utf-8", newline="")
    return table
