"""The files of a bundle: exactly the expected names, each with the hash in the manifest."""

import hashlib
import os
from pathlib import Path

from holotype.bundle.conformal_scores import CONFORMAL
from holotype.bundle.manifest import Manifest
from holotype.bundle.references import REFERENCES
from holotype.bundle.sanitise_graph import COPY_AGAIN
from holotype.bundle.validation.validation_images import WATCH_REFERENCE
from holotype.errors import BundleError, CorruptBundle, NotABundle
from holotype.run_directory import RunDirectory, run_path

MANIFEST = "manifest.json"
MANIFEST_SHA256 = "manifest.sha256"
# What a bundle may hold beside its graphs or its members.
EXTRAS = (REFERENCES, CONFORMAL, WATCH_REFERENCE)
MAX_BYTES = 2 << 30  # of an extra


def bundle_directory(path: str | os.PathLike[str]) -> Path:
    """Where the bundle of a run, of a stage or of a bundle directory lies; it is not read.

    Raises:
        NotABundle: there is none.
    """
    directory = run_path(path)
    for place in (directory, RunDirectory(directory).bundle):
        if (place / MANIFEST).exists():
            return place
    lacks = "holds no classifier" if directory.exists() else "does not exist"
    raise NotABundle(
        f"{os.fspath(path)!r} {lacks}: expected a finished run, or a bundle with {MANIFEST}."
    )


def corrupt_file_error(directory: Path, file: str, error: Exception) -> CorruptBundle:
    reason = str(error).splitlines()[0]
    return CorruptBundle(f"{directory}: {file} makes no sense: {reason}. {COPY_AGAIN}")


def check_file_names(directory: Path, expected: set[str]) -> None:
    """Exactly the files that a bundle has; hidden ones are never read and do not matter."""
    present = {entry.name for entry in directory.iterdir() if not entry.name.startswith(".")}
    if missing := sorted(expected - present):
        raise CorruptBundle(f"{directory}: {missing[0]} is missing. {COPY_AGAIN}")
    if extra := sorted(present - expected - {MANIFEST_SHA256}):
        raise CorruptBundle(
            f"{directory}: {extra[0]!r} does not belong to a bundle; remove it if it is yours."
        )


def check_manifest_hash(directory: Path, sha256: str) -> None:
    """Compare the manifest with the hash beside it, if there is one.

    This finds damage, not forgery: whoever changes the manifest can change its hash.

    Raises:
        CorruptBundle: it is another.
    """
    if not (directory / MANIFEST_SHA256).exists():
        return
    content = read_file(directory, MANIFEST_SHA256, 1000)
    if content.split()[:1] != [sha256.encode()]:
        raise CorruptBundle(
            f"{directory}: manifest.json is not what {MANIFEST_SHA256} says. {COPY_AGAIN}"
        )


def read_verified(directory: Path, file: str, manifest: Manifest, max_bytes: int) -> bytes:
    """The bytes of a file, which are those that the manifest names."""
    content = read_file(directory, file, max_bytes)
    if hashlib.sha256(content).hexdigest() != manifest.files[file]:
        raise CorruptBundle(f"{directory}: {file} is not what the manifest says. {COPY_AGAIN}")
    return content


def read_file(directory: Path, file: str, max_bytes: int) -> bytes:
    """The bytes of a regular file that lies in the bundle itself."""
    path = directory / file
    if not path.is_file() or path.resolve().parent != directory.resolve():
        raise CorruptBundle(f"{directory}: {file} is not a file of its own. {COPY_AGAIN}")
    if path.stat().st_size > max_bytes:
        raise CorruptBundle(f"{directory}: {file} is larger than {max_bytes >> 20} MiB")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{directory}: {file} cannot be read ({error.strerror})") from error


def read_extras(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    """The bytes of the extras that the manifest lists; prediction sets need both their parts."""
    calibration_set = manifest.decision.calibration_set if manifest.decision else None
    if (CONFORMAL in manifest.files) != (calibration_set is not None):
        raise CorruptBundle(
            f"{directory}: the manifest must name {CONFORMAL} among its files and in its "
            f"decision, or in neither. {COPY_AGAIN}"
        )
    return {
        file: read_verified(directory, file, manifest, MAX_BYTES)
        for file in EXTRAS
        if file in manifest.files
    }
