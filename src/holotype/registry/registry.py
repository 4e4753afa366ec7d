"""The registry: classifiers by name and version, aliases that move, and every move on record."""

import getpass
import os
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from holotype.errors import MissingExtra, RegistryError, UnknownVersion, UsageError
from holotype.registry.alias_moves import (
    compare_before_promotion,
    existing_version,
    insert_version,
    move_alias,
    remove_version,
    require_target,
)
from holotype.registry.bundle_store import BundleStore, finished_bundle, require_digest
from holotype.registry.database import Connection, Database
from holotype.registry.import_runs import ImportedRuns, import_folder
from holotype.registry.registered_name import (
    CHAMPION,
    MAX_DIGITS,
    RegisteredName,
    check_alias,
    check_word,
    parse_registered_name,
)
from holotype.registry.registered_version import (
    RegisteredModel,
    RegisteredModels,
    RegisteredVersion,
)
from holotype.registry.registry_events import History, RegistryEvent, event_of, parse_time
from holotype.registry.registry_verification import Verification, read_rows, verify_registry
from holotype.registry.version_queries import (
    alias_target,
    aliases_of,
    champion_stack,
    find_version,
    kept_versions,
    list_models,
    list_versions,
    registered_bundle,
    require_name,
)
from holotype.registry.version_record import read_version_record

PathLike = str | os.PathLike[str]

DEFAULT_PLACE = "registry"


class Registry:
    """Classifiers under names, each with numbered versions and aliases; processes may share one.

    Example:
        >>> registry = holotype.Registry()  # doctest: +SKIP
        >>> registry.add("runs/photos-1", name="photos")  # doctest: +SKIP
        >>> registry.promote("photos", 1, reason="the first")  # doctest: +SKIP
        >>> holotype.load("registry://photos@champion")  # doctest: +SKIP

    Args:
        place: a directory, where SQLite keeps `registry.db`, or `postgresql://USER@HOST/DATABASE`.
            By default `HOLOTYPE_REGISTRY`, else `registry` in the working directory.
        files: where bundles are stored; by default `HOLOTYPE_REGISTRY_FILES`, else the directory
            of the database. With PostgreSQL it has to be named: a path that all hosts share.
        who: whom the history names; by default the user of the process.

    Raises:
        MissingExtra: the extra `registry` is not installed.
        UsageError: PostgreSQL without `files`.
        RegistryError: a URL that is none of PostgreSQL.

    Attributes:
        database, store: the tables, and the files.
    """

    def __init__(
        self,
        place: PathLike | None = None,
        *,
        files: PathLike | None = None,
        who: str | None = None,
    ) -> None:
        named = os.fspath(place or os.environ.get("HOLOTYPE_REGISTRY") or DEFAULT_PLACE)
        beside = files or os.environ.get("HOLOTYPE_REGISTRY_FILES")
        if beside is None and "://" in named:
            raise UsageError(
                "a registry in PostgreSQL needs a directory for its bundles, which all hosts "
                "share: name it by --files or HOLOTYPE_REGISTRY_FILES."
            )
        try:
            self.database = Database(named)
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"the registry needs {error.name}, which is not installed: "
                "pip install 'holotype[registry]'"
            ) from error
        self.store = BundleStore(Path(beside or named))
        self._who = who or _user()

    @property
    def place(self) -> str:
        """The file or URL of the database, without a password."""
        return self.database.name

    @property
    def files(self) -> Path:
        """Where bundles are stored."""
        return self.store.path

    # What a server asks for.

    def current_version(self, name: str, alias: str = CHAMPION) -> int | None:
        """The version that an alias points at now; None where it does not exist.

        One indexed read of less than a millisecond with SQLite, to be asked again and again.
        """
        with self.database.reading() as connection:
            return alias_target(connection, name, alias)

    def version(self, target: str | RegisteredName) -> RegisteredVersion:
        """One version: `cells/7`, `cells@champion`, with or without `registry://`.

        Its bundle is compared with its digest; loading compares all other files with that.

        Raises:
            UnknownVersion: there is none, or it was removed.
            CorruptBundle: its bundle is missing or was changed.
        """
        named = target if isinstance(target, RegisteredName) else parse_registered_name(target)
        with self.database.reading() as connection:
            found = existing_version(connection, self.store, named)
        require_digest(found.bundle, found.bundle_sha256)
        return found

    # The verbs.

    def add(self, run: PathLike, *, name: str, reason: str = "") -> RegisteredVersion:
        """Register a finished run (or `RUN@STAGE`, or a bundle) as the next version of a name.

        A classifier that the name holds already is not registered twice: its version is returned.

        Raises:
            UsageError: the name cannot be used.
            NotABundle, NotARun, CorruptBundle: there is no finished classifier.
        """
        check_word("name", name)
        bundle, files = finished_bundle(run)
        record = read_version_record(files, bundle)
        self.store.add_bundle(bundle)
        record_sha256 = self.store.add_record(files, bundle)
        with self.database.writing() as connection:
            version = registered_bundle(connection, name, bundle.sha256)
            if version is None:
                self.store.add_bundle(bundle)  # again: a clean-up may have been quicker
                self.store.add_record(files, bundle)
                columns = {
                    "bundle_sha256": bundle.sha256,
                    "record_sha256": record_sha256,
                    "source": str(Path(os.fspath(run)).absolute()),
                    **asdict(record),
                }
                version = insert_version(connection, name, columns, who=self._who, reason=reason)
            return find_version(connection, self.store, RegisteredName(name, version))

    def list(self) -> RegisteredModels:
        """All names, each with its champion."""
        with self.database.reading() as connection:
            return RegisteredModels(self.place, list_models(connection, self.store))

    def show(
        self, target: str, *, at: str | datetime | None = None
    ) -> RegisteredModel | RegisteredVersion:
        """All versions of a name; or one version, `cells/7` or `cells@champion`.

        Args:
            at: a time, as it was then; UTC unless it says otherwise.

        Raises:
            UnknownVersion: there is none, or was none then.
        """
        named = parse_registered_name(target)
        moment = None if at is None else parse_time(at)
        with self.database.reading() as connection:
            if named.version is None and named.alias is None:
                require_name(connection, named.name, moment)
                aliases = aliases_of(connection, named.name, moment)
                versions = list_versions(connection, self.store, named.name, aliases, moment)
                return RegisteredModel(named.name, aliases, versions, moment)
            return find_version(connection, self.store, named, moment)

    def history(self, name: str) -> History:
        """Every event of a name, the oldest first: when, who, what and why."""
        check_word("name", name)
        with self.database.reading() as connection:
            require_name(connection, name)
            rows = connection.rows(
                "SELECT * FROM holotype_events WHERE name = :name ORDER BY number", name=name
            )
        return History(name, tuple(map(event_of, rows)))

    def promote(
        self,
        name: str,
        version: int | str,
        *,
        if_champion: int | None = None,
        force: bool = False,
        reason: str = "",
    ) -> RegistryEvent:
        """Make a version the champion, unless a paired test says that it is surely worse.

        The test is that of `compare`, on the validation images that both versions have answered;
        the first champion of a name needs none.

        Args:
            version: its number, or an alias that points at it.
            if_champion: refuse if another version is the champion now; 0: if there is any.
            force: promote whatever the test says, or where it cannot be made; needs `reason`.

        Raises:
            ChampionMoved: see `if_champion`.
            PromotionRefused: it is surely worse, or cannot be compared.
            UnknownVersion: there is no such version.
        """
        if force and not reason:
            raise UsageError("--force needs --reason, which the history keeps.")
        champion = RegisteredName(name, alias=CHAMPION)
        with self.database.writing() as connection:
            candidate = self._existing(connection, name, version)
            previous = require_target(connection, champion, if_champion)
            test = compare_before_promotion(
                connection, self.store, candidate, previous, force=force
            )
            forced = force and previous is not None and (test is None or test.is_surely_worse)
            event = self._event("promote", champion, candidate.version, reason)
            return move_alias(connection, replace(event, forced=forced), test)

    def rollback(
        self, name: str, *, if_champion: int | None = None, reason: str = ""
    ) -> RegistryEvent:
        """Make the champion before this one the champion again; called again, the one before that.

        Raises:
            ChampionMoved: another version than `if_champion` is the champion now.
            RegistryError: there was none before.
        """
        check_word("name", name)
        with self.database.writing() as connection:
            require_name(connection, name)
            champion = RegisteredName(name, alias=CHAMPION)
            present = require_target(connection, champion, if_champion)
            kept = kept_versions(connection, name) - {present}
            earlier = [each for each in champion_stack(connection, name)[:-1] if each in kept]
            if not earlier:
                raise RegistryError(f"{name} had no champion before, to which to roll back.")
            return move_alias(connection, self._event("rollback", champion, earlier[-1], reason))

    def tag(
        self,
        name: str,
        version: int | str | None,
        alias: str,
        *,
        if_version: int | None = None,
        reason: str = "",
    ) -> RegistryEvent:
        """Point an alias such as `challenger` at a version; None removes the alias.

        Args:
            if_version: refuse if the alias points at another version now; 0: if it exists.

        Raises:
            UsageError: the alias is `champion`, which `promote` moves.
            ChampionMoved: see `if_version`.
            UnknownVersion: there is no such version, or no such alias to remove.
        """
        check_alias(alias)
        if alias == CHAMPION:
            raise UsageError(f"{CHAMPION} is moved by `holotype registry promote` and `rollback`.")
        named = RegisteredName(name, alias=alias)
        with self.database.writing() as connection:
            previous = require_target(connection, named, if_version)
            if version is None:
                if previous is None:
                    raise UnknownVersion(f"{name} has no alias {alias!r} to remove.")
                return move_alias(connection, self._event("untag", named, None, reason))
            found = self._existing(connection, name, version)
            return move_alias(connection, self._event("tag", named, found.version, reason))

    def remove(
        self, name: str, version: int | str, *, force: bool = False, reason: str = ""
    ) -> RegistryEvent:
        """Remove a version; its number is not used again, and the history keeps it.

        The files go with the next `holotype clean`, unless another version has the same bundle.

        Args:
            force: remove even what was once the champion; needs `reason`.

        Raises:
            RegistryError: an alias points at it, or it was once the champion.
            UnknownVersion: there is no such version.
        """
        if force and not reason:
            raise UsageError("--force needs --reason, which the history keeps.")
        with self.database.writing() as connection:
            found = self._existing(connection, name, version)
            if found.aliases:
                raise RegistryError(
                    f"{name}/{found.version} is the {', '.join(found.aliases)}; move that first."
                )
            if found.version in champion_stack(connection, name) and not force:
                raise RegistryError(
                    f"{name}/{found.version} was the champion once, and a rollback may need it; "
                    "--force --reason removes it all the same."
                )
            event = self._event("remove", RegisteredName(name), found.version, reason)
            return remove_version(connection, replace(event, forced=force))

    def verify(self, name: str | None = None) -> Verification:
        """Read every stored file again, and replay the history against the aliases.

        Args:
            name: look at the versions of one name only.
        """
        with self.database.reading() as connection:
            if name is not None:
                require_name(connection, name)
            rows = read_rows(connection, name)
        return verify_registry(rows, self.store)

    def import_runs(
        self, folder: PathLike, *, name: str | None = None, reason: str = ""
    ) -> ImportedRuns:
        """Register every finished run below a folder, the oldest first.

        What is registered already is not registered again; what is no finished run is named.

        Args:
            name: of all of them; by default each is registered under the name of its classifier.
        """
        return import_folder(
            Path(folder), name, lambda run, word: self.add(run, name=word, reason=reason)
        )

    def close(self) -> None:
        """Close the connections to the database; the next call opens them again."""
        self.database.close()

    def __repr__(self) -> str:
        return f"Registry({self.place!r})"

    def _existing(self, connection: Connection, name: str, version: int | str) -> RegisteredVersion:
        """A version by its number or an alias, that is not removed."""
        word = str(version)
        if word.isdecimal() and len(word) > MAX_DIGITS:
            raise UnknownVersion(f"{name} has no version {word:.40}.")
        number, alias = (int(word), None) if word.isdecimal() else (None, word)
        return existing_version(connection, self.store, RegisteredName(name, number, alias))

    def _event(
        self, action: str, named: RegisteredName, version: int | None, reason: str
    ) -> RegistryEvent:
        """A change that is still to be recorded."""
        return RegistryEvent(
            0, "", self._who, reason, action, named.name, named.alias or "", version
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user, as in some containers
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"
