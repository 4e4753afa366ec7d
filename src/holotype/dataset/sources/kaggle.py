"""Get data sets and competition files from Kaggle with its client, `kagglehub` (extra `kaggle`).

Files are copied from the client's cache and archives in them unpacked, both as untrusted data.
"""

import re
from pathlib import Path

from holotype.dataset.sources.archives import copy_untrusted_folder, unpack_nested
from holotype.errors import DownloadFailed, MissingExtra, UsageError

DATASET_PREFIX, COMPETITION_PREFIX = "kaggle:", "kaggle-competition:"


def fetch_from_kaggle(handle: str, directory: Path) -> None:
    """Write the files of a data set or competition into a staged directory.

    Args:
        handle: `kaggle:OWNER/NAME` or `kaggle-competition:NAME`.

    Raises:
        UsageError: the handle is neither.
        MissingExtra: `kagglehub` is not installed.
        DownloadFailed: Kaggle refuses or cannot be reached.
        InvalidArchive: an archive or file is unsafe.
    """
    is_competition = handle.startswith(COMPETITION_PREFIX)
    name = handle.removeprefix(COMPETITION_PREFIX if is_competition else DATASET_PREFIX)
    shape = r"[\w-]+" if is_competition else r"[\w-]+/[\w.-]+(/versions/\d+)?"
    if not re.fullmatch(shape, name):
        raise UsageError(
            f"{handle!r} is no name on Kaggle; expected kaggle:OWNER/NAME or "
            "kaggle-competition:NAME, as in its address."
        )
    downloaded = _download_with_kagglehub(name, is_competition=is_competition)
    copy_untrusted_folder(downloaded, directory)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    unpack_nested(directory, size)


def _download_with_kagglehub(name: str, *, is_competition: bool) -> Path:
    try:
        import kagglehub
        from kagglehub import exceptions
    except ImportError:
        raise MissingExtra(
            "data sets of Kaggle need the package 'kagglehub', which is not installed. "
            "Run: pip install 'holotype[kaggle]'"
        ) from None

    refusals = (
        exceptions.BackendError, exceptions.CredentialError, exceptions.DataCorruptionError,
        exceptions.KaggleEnvironmentError, exceptions.NotFoundError,
        exceptions.UnauthenticatedError,
        OSError, ValueError,  # of requests and of invalid handles
    )  # fmt: skip
    fetch = kagglehub.competition_download if is_competition else kagglehub.dataset_download
    try:
        return Path(fetch(name))
    except refusals as error:
        rules = (
            f", and accept the rules at https://www.kaggle.com/competitions/{name}/rules"
            if is_competition
            else ""
        )
        raise DownloadFailed(
            f"Kaggle refused {name!r}: {error}. Check the name and the connection; log in by "
            "setting KAGGLE_API_TOKEN, or with ~/.kaggle/kaggle.json (from kaggle.com, Settings, "
            f"API){rules}."
        ) from None
