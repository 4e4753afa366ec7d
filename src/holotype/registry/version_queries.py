"""Queries of a registry: versions, and where aliases point now or pointed at a time.

What an alias pointed at is read from events; what it points at now from a table that changes in the
same transaction, so that asking for it costs one indexed read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from holotype.errors import UnknownVersion, did_you_mean
from holotype.evaluation.intervals import CONFIDENCE_LEVEL, Estimate
from holotype.evaluation.report_data import Metrics
from holotype.registry.bundle_store import BundleStore
from holotype.registry.database import Connection, Row
from holotype.registry.registered_name import CHAMPION, RegisteredName
from holotype.registry.registered_version import RegisteredVersion

# All but the long texts.
_BRIEF = (
    "name, version, at, who, reason, bundle_sha256, record_sha256, source, model, data, "
    "data_sha256, git_commit, part, num_images, accuracy, accuracy_low, accuracy_high, removed_at"
)
_PLAIN = _BRIEF.split(", ")[:-4]  # all but those that are made into something else


def alias_target(connection: Connection, name: str, alias: str) -> int | None:
    """The version that an alias points at now; None where there is no such alias."""
    row = connection.row(
        "SELECT version FROM holotype_aliases WHERE name = :name AND alias = :alias",
        name=name, alias=alias,
    )  # fmt: skip
    return None if row is None else int(row["version"])


def aliases_of(connection: Connection, name: str, moment: str | None = None) -> dict[str, int]:
    """The version of each alias of a name, now or at a time; the champion first."""
    if moment is None:
        rows = connection.rows(
            "SELECT alias, version FROM holotype_aliases WHERE name = :name", name=name
        )
        found = {row["alias"]: row["version"] for row in rows}
    else:
        found = replay_aliases(
            connection.rows(
                "SELECT name, alias, version FROM holotype_events "
                "WHERE name = :name AND alias <> '' AND at <= :moment ORDER BY number",
                name=name, moment=moment,
            )
        ).get(name, {})  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: (item[0] != CHAMPION, item[0])))


def replay_aliases(events: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Where events leave the aliases of every name."""
    found: dict[str, dict[str, int]] = {}
    for event in events:
        aliases = found.setdefault(event["name"], {})
        if event["version"] is None:
            aliases.pop(event["alias"], None)
        else:
            aliases[event["alias"]] = event["version"]
    return found


def champion_stack(connection: Connection, name: str) -> list[int]:
    """Every champion that a rollback can return to, the present one last."""
    stack: list[int] = []
    for event in connection.rows(
        "SELECT action, version FROM holotype_events "
        "WHERE name = :name AND alias = :alias ORDER BY number",
        name=name, alias=CHAMPION,
    ):  # fmt: skip
        if event["action"] == "rollback":
            while stack and stack[-1] != event["version"]:
                stack.pop()
        else:
            stack.append(event["version"])
    return stack


def kept_versions(connection: Connection, name: str) -> set[int]:
    """The versions of a name that are not removed."""
    rows = connection.rows(
        "SELECT version FROM holotype_versions WHERE name = :name AND removed_at IS NULL", name=name
    )
    return {row["version"] for row in rows}


def registered_bundle(connection: Connection, name: str, bundle_sha256: str) -> int | None:
    """The version of a name that has this bundle; None where none has."""
    row = connection.row(
        "SELECT version FROM holotype_versions "
        "WHERE name = :name AND bundle_sha256 = :digest AND removed_at IS NULL",
        name=name, digest=bundle_sha256,
    )  # fmt: skip
    return None if row is None else int(row["version"])


def require_name(connection: Connection, name: str, moment: str | None = None) -> None:
    """
    Raises:
        UnknownVersion: nothing is registered under this name, or was not at that time.
    """
    row = connection.row(
        "SELECT MIN(at) AS first FROM holotype_versions WHERE name = :name", name=name
    )
    if row is None or row["first"] is None:
        known = [
            each["name"] for each in connection.rows("SELECT DISTINCT name FROM holotype_versions")
        ]
        raise UnknownVersion(
            f"nothing is registered under the name {name!r}{did_you_mean(name, known)}"
        )
    if moment is not None and moment < row["first"]:
        raise UnknownVersion(f"the first version of {name} was registered later: {row['first']}.")


def find_version(
    connection: Connection, store: BundleStore, named: RegisteredName, moment: str | None = None
) -> RegisteredVersion:
    """One version with all that is known of it, by its number or an alias, now or at a time.

    Raises:
        UnknownVersion: there is none; one that is removed is found.
    """
    name = named.name
    require_name(connection, name, moment)
    aliases = aliases_of(connection, name, moment)
    number = named.version
    if number is None:
        alias = named.alias or CHAMPION
        if alias not in aliases:
            has = ", ".join(f"{name}@{each}" for each in aliases) or "no alias"
            advice = "`holotype registry promote` makes a version the champion."
            raise UnknownVersion(f"{name} has no {alias!r}; it has {has}. {advice}")
        number = aliases[alias]
    row = connection.row(
        "SELECT * FROM holotype_versions WHERE name = :name AND version = :version",
        name=name, version=number,
    )  # fmt: skip
    if row is None or (moment is not None and moment < row["at"]):
        last = max(kept_versions(connection, name), default=0)
        raise UnknownVersion(f"{name} has no version {number}; the newest is {last}.")
    version = _version(row, store, aliases, moment)
    return replace(
        version,
        metrics=Metrics({key: Estimate(**one) for key, one in json.loads(row["metrics"]).items()}),
        recipe=row["recipe"],
        environment=json.loads(row["environment"]),
    )


def list_versions(
    connection: Connection,
    store: BundleStore,
    name: str,
    aliases: Mapping[str, int],
    moment: str | None,
) -> tuple[RegisteredVersion, ...]:
    """The versions of a name that there were at a time, the newest first, in brief."""
    rows = connection.rows(
        f"SELECT {_BRIEF} FROM holotype_versions WHERE name = :name ORDER BY version DESC",
        name=name,
    )
    return tuple(
        _version(row, store, aliases, moment)
        for row in rows
        if moment is None or row["at"] <= moment
    )


def list_models(connection: Connection, store: BundleStore) -> tuple[dict[str, Any], ...]:
    """One row per name: how many versions, the aliases, the champion, and the newest version."""
    names = connection.rows(
        "SELECT name, COUNT(*) - COUNT(removed_at) AS versions, MAX(version) AS newest, "
        "MAX(at) AS newest_at FROM holotype_versions GROUP BY name ORDER BY name"
    )
    aliases: dict[str, dict[str, int]] = {}
    for row in connection.rows("SELECT name, alias, version FROM holotype_aliases ORDER BY alias"):
        aliases.setdefault(row["name"], {})[row["alias"]] = row["version"]
    brief = ", ".join(f"v.{column}" for column in _BRIEF.split(", "))
    champions = {
        row["name"]: _version(row, store, aliases[row["name"]], None)
        for row in connection.rows(
            f"SELECT {brief} FROM holotype_aliases AS a JOIN holotype_versions AS v "
            "ON v.name = a.name AND v.version = a.version WHERE a.alias = :alias",
            alias=CHAMPION,
        )
    }
    return tuple(
        {
            **row,
            "aliases": aliases.get(row["name"], {}),
            "champion": _champion_json(champions.get(row["name"])),
        }
        for row in names
    )


def _version(
    row: Row, store: BundleStore, aliases: Mapping[str, int], moment: str | None
) -> RegisteredVersion:
    removed_at = row["removed_at"]
    accuracy = None
    if row["accuracy"] is not None:
        accuracy = Estimate(
            row["accuracy"], row["accuracy_low"], row["accuracy_high"],
            f"{CONFIDENCE_LEVEL:.0%}",
        )  # fmt: skip
    return RegisteredVersion(
        **{key: row[key] for key in _PLAIN},
        aliases=tuple(alias for alias, version in aliases.items() if version == row["version"]),
        files=store.path,
        accuracy=accuracy,
        removed_at=removed_at if moment is None or (removed_at or "z") <= moment else None,
    )


def _champion_json(champion: RegisteredVersion | None) -> dict[str, Any] | None:
    if champion is None:
        return None
    found = champion.to_json()
    keys = ("version", "uri", "path", "bundle", "bundle_sha256", "model", "part", "accuracy")
    return {key: found[key] for key in keys}
