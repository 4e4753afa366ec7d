"""The stored files of a registry that no version refers to, and what its versions refer to."""

from collections.abc import Iterator
from pathlib import Path

from holotype.files import discard
from holotype.registry.bundle_store import BUNDLES, RUNS
from holotype.registry.database import Connection
from holotype.registry.registry import Registry


def kept_recipes(registry: Registry) -> Iterator[tuple[str, int, str, str]]:
    """Name, number, digest and recipe of every version that is not removed."""
    with registry.database.reading() as connection:
        for row in connection.rows(
            "SELECT name, version, bundle_sha256, recipe FROM holotype_versions "
            "WHERE removed_at IS NULL ORDER BY name, version"
        ):
            yield row["name"], row["version"], row["bundle_sha256"], row["recipe"]


def registered_runs(registry: Registry) -> dict[Path, list[str]]:
    """Directory of a stored run -> the versions that it belongs to, such as ``cells/7``."""
    found: dict[Path, list[str]] = {}
    with registry.database.reading() as connection:
        for row in connection.rows(
            "SELECT name, version, record_sha256 FROM holotype_versions "
            "WHERE removed_at IS NULL AND record_sha256 <> '' ORDER BY name, version"
        ):
            path = registry.store.record(row["record_sha256"]).resolve()
            found.setdefault(path, []).append(f"{row['name']}/{row['version']}")
    return found


def unreferenced_files(registry: Registry) -> list[Path]:
    """Stored bundles and records of runs that no version refers to."""
    with registry.database.reading() as connection:
        return _unreferenced(registry, connection)


def remove_unreferenced(registry: Registry, path: Path) -> bool:
    """Remove a stored bundle or record, unless a version refers to it by now.

    It holds the write lock of the registry: a registration that counts on these files looks for
    them again under that lock, and stores them anew.
    """
    with registry.database.writing() as connection:
        if path not in _unreferenced(registry, connection):
            return False
        discard(path)
    return True


def _unreferenced(registry: Registry, connection: Connection) -> list[Path]:
    rows = connection.rows(
        "SELECT bundle_sha256, record_sha256 FROM holotype_versions WHERE removed_at IS NULL"
    )
    store = registry.store
    used = {store.bundle(row["bundle_sha256"]) for row in rows}
    used |= {store.record(row["record_sha256"]) for row in rows}
    stored = [*(store.path / RUNS).glob("*"), *(store.path / BUNDLES).glob("*")]
    return sorted(path for path in stored if path not in used and not path.name.startswith("."))
