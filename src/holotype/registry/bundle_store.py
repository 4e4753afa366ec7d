"""The files of registered versions: bundles and what their runs recorded, each stored once.

    FILES/
      bundles/<digest>/      a bundle; the digest is the SHA-256 of its manifest.json
      runs/<digest>/         recipe, index, predictions, scores and report of a run; the digest is
                             that of the names and hashes of its files
        bundle               a link to the bundle

A directory is written under another name and renamed when it is whole, so that what lies under a
digest is whole or damaged later, which `verify` tells.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holotype.bundle.bundle import MANIFEST, Bundle, load_bundle
from holotype.errors import BundleError, CorruptBundle, NotABundle, NotARun, RegistryError
from holotype.files import discard, sha256_of, temporary_directory
from holotype.run_directory import RunDirectory, run_path

BUNDLES, RUNS = "bundles", "runs"

# What of a run is kept beside its bundle, so that versions can be compared and make ensembles.
RECORD_FILES = (
    "recipe.yaml",
    "index.parquet",
    "environment.json",
    "history.csv",
    "history.json",
    "class_names.json",
    "MODEL_CARD.md",
    "predictions/*.parquet",
    "report/metrics.json",
    "report/index.html",
    "audit/audit.json",
)


class BundleStore:
    """The directory `FILES` of a registry."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def bundle(self, digest: str) -> Path:
        return self.path / BUNDLES / digest

    def record(self, digest: str) -> Path:
        return self.path / RUNS / digest

    def add_bundle(self, bundle: Bundle) -> None:
        """Copy a bundle under its digest, unless it is there and undamaged.

        Raises:
            CorruptBundle: it changed while it was copied.
        """
        place = self.bundle(bundle.sha256)
        if not _holds_bundle(place, bundle.sha256):
            with self._staging(place.parent) as temporary:
                hidden = shutil.ignore_patterns(".*")  # no part of a bundle
                shutil.copytree(bundle.path, temporary, ignore=hidden, dirs_exist_ok=True)
                verify_bundle(temporary, bundle.sha256)
                _put_in_place(temporary, place, lambda: _holds_bundle(place, bundle.sha256))

    def add_record(self, run: RunDirectory, bundle: Bundle) -> str:
        """Copy what a run recorded; its digest, or "" of a bundle without a run."""
        if not run.recipe.is_file():
            return ""
        names = sorted(
            file.relative_to(run.path)
            for pattern in RECORD_FILES
            for file in run.path.glob(pattern)
            if file.is_file() and not file.name.startswith(".")
        )
        with self._staging(self.path / RUNS) as temporary:
            for name in names:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run.path / name, temporary / name)
            _link(temporary / "bundle", self.bundle(bundle.sha256))
            digest = record_digest(temporary, bundle.sha256)
            place = self.record(digest)
            _put_in_place(temporary, place, lambda: _holds_record(place, digest, bundle.sha256))
        return digest

    def verify(self, bundle_sha256: str, record_sha256: str) -> list[str]:
        """What of a version's files is missing or damaged, in sentences."""
        problems = []
        try:
            verify_bundle(self.bundle(bundle_sha256), bundle_sha256)
        except (BundleError, OSError) as error:
            problems.append(str(error))
        record = self.record(record_sha256)
        if record_sha256 and not _holds_record(record, record_sha256, bundle_sha256):
            problems.append(f"{record}: a file is missing or was changed; register its run again.")
        return problems

    @contextmanager
    def _staging(self, parent: Path) -> Iterator[Path]:
        """A directory to be filled and renamed; it is removed if it was not.

        Raises:
            RegistryError: the disk is full, or the directory read-only.
        """
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with temporary_directory(parent) as temporary:
                yield temporary
        except OSError as error:
            raise RegistryError(
                f"the files of the registry, {str(self.path)!r}, cannot be written: "
                f"{error.strerror or error}. Make room, or name another place by "
                "HOLOTYPE_REGISTRY_FILES."
            ) from error


def finished_bundle(run: str | os.PathLike[str]) -> tuple[Bundle, RunDirectory]:
    """The verified bundle of a finished run or stage, or of a bundle directory; and its run.

    Raises:
        NotABundle, CorruptBundle: there is none, or it was changed.
        NotARun: the run is not finished.
    """
    bundle = load_bundle(run)
    found = RunDirectory(run_path(run))
    if bundle.manifest.decision is None:
        raise NotABundle(
            f"{os.fspath(run)!r} has no sealed decision: its training has not ended, or it had no "
            "validation images. Finish it with --resume, or train it with a validation part."
        )
    is_whole_run = found.recipe.is_file() and found.root_run == found
    if is_whole_run and not found.metrics.is_file():
        raise NotARun(
            f"{os.fspath(run)!r} is not finished: it has no report; go on with it by "
            "`holotype train DATA --output RUN --resume`."
        )
    return bundle, found


def verify_bundle(path: Path, digest: str) -> None:
    """Read a bundle whole, and compare it with its digest.

    Raises:
        BundleError: a file is missing, was changed, or it is another bundle.
    """
    require_digest(path, digest)
    load_bundle(path)


def require_digest(path: Path, digest: str) -> None:
    """Compare the manifest of a bundle with its digest; loading compares all else with that.

    Raises:
        CorruptBundle: it is missing or was changed.
    """
    try:
        found = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise CorruptBundle(
            f"{path}: {MANIFEST} cannot be read ({error.strerror}); register its run again."
        ) from error
    if found != digest:
        raise CorruptBundle(
            f"{path}: {MANIFEST} is not what was registered; register its run again."
        )


def record_digest(directory: Path, bundle_sha256: str) -> str:
    """The SHA-256 of the names and hashes of all files of a record, and of its bundle."""
    hashes = {file.relative_to(directory).as_posix(): sha256_of(file) for file in _files(directory)}
    text = json.dumps([bundle_sha256, sorted(hashes.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _holds_bundle(directory: Path, digest: str) -> bool:
    try:
        verify_bundle(directory, digest)
    except BundleError:
        return False
    return True


def _holds_record(directory: Path, digest: str, bundle_sha256: str) -> bool:
    return directory.is_dir() and record_digest(directory, bundle_sha256) == digest


def _files(directory: Path) -> list[Path]:
    """All files but those of the bundle, which has a digest of its own."""
    return sorted(
        file
        for file in directory.rglob("*")
        if file.is_file() and file.relative_to(directory).parts[0] != "bundle"
    )


def _link(link: Path, bundle: Path) -> None:
    """A relative link, so that the whole directory can be moved; a copy where links cannot be."""
    try:
        link.symlink_to(Path("..", "..", BUNDLES, bundle.name), target_is_directory=True)
    except (OSError, NotImplementedError):
        shutil.copytree(bundle, link)


def _put_in_place(temporary: Path, place: Path, is_intact: Callable[[], bool]) -> None:
    """Rename a whole directory to its digest, unless another process was first.

    What lies there damaged is removed.
    """
    _sync(temporary)
    if place.is_dir():
        if is_intact():
            return
        discard(place)
    try:
        temporary.rename(place)
    except OSError:
        if not is_intact():
            raise
    _sync_directory(place.parent)


def _sync(directory: Path) -> None:
    """Write all files of a directory, and their names, to the disk itself."""
    for path in [*directory.rglob("*"), directory]:
        if path.is_symlink():
            continue
        if path.is_dir():
            _sync_directory(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    with suppress(OSError):  # Windows cannot open a directory
        opened = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
