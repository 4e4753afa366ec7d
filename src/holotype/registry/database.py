"""The database of a registry: SQLite in its directory, or PostgreSQL by URL; one writer at a time.

A change is one transaction that holds the only write lock from its first read on: `BEGIN IMMEDIATE`
in SQLite, an advisory lock in PostgreSQL. So numbers of versions and events have no gaps, and what
a change has compared cannot move before it is written. Readers do not wait for it.

SQLite keeps a rollback journal. WAL is never used: it needs memory shared by all its processes, and
releases of SQLite that are in use can corrupt a database in that mode.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.errors import NotARegistry, RegistryError

if TYPE_CHECKING:
    import sqlalchemy as sa

Row = Mapping[str, Any]

FORMAT = 1
DATABASE = "registry.db"
WAIT_SECONDS = 120  # for the write lock
_LOCK_KEY = 0x686F6C6F  # of the advisory lock in PostgreSQL: "holo"

# Texts rather than JSON and timestamp types, so that both databases hold and order the same values.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS holotype_format (format INTEGER NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS holotype_versions (
        name VARCHAR(64) NOT NULL,
        version INTEGER NOT NULL,
        at VARCHAR(27) NOT NULL,
        who TEXT NOT NULL,
        reason TEXT NOT NULL,
        bundle_sha256 VARCHAR(64) NOT NULL,
        record_sha256 VARCHAR(64) NOT NULL,
        source TEXT NOT NULL,
        model TEXT NOT NULL,
        data TEXT NOT NULL,
        data_sha256 VARCHAR(64) NOT NULL,
        git_commit TEXT NOT NULL,
        part TEXT NOT NULL,
        num_images INTEGER,
        accuracy DOUBLE PRECISION,
        accuracy_low DOUBLE PRECISION,
        accuracy_high DOUBLE PRECISION,
        metrics TEXT NOT NULL,
        recipe TEXT NOT NULL,
        environment TEXT NOT NULL,
        removed_at VARCHAR(27),
        PRIMARY KEY (name, version)
    )
    """,
    "CREATE INDEX IF NOT EXISTS holotype_bundles ON holotype_versions (bundle_sha256)",
    """
    CREATE TABLE IF NOT EXISTS holotype_aliases (
        name VARCHAR(64) NOT NULL,
        alias VARCHAR(64) NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (name, alias)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS holotype_events (
        number INTEGER NOT NULL PRIMARY KEY,
        at VARCHAR(27) NOT NULL,
        who TEXT NOT NULL,
        reason TEXT NOT NULL,
        action VARCHAR(16) NOT NULL,
        name VARCHAR(64) NOT NULL,
        alias VARCHAR(64) NOT NULL,
        version INTEGER,
        previous_version INTEGER,
        forced INTEGER NOT NULL,
        test TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS holotype_events_of ON holotype_events (name, number)",
)


class Connection:
    """SQL within one transaction; values are bound by name (`:name`)."""

    def __init__(self, connection: "sa.Connection") -> None:
        self._connection = connection

    def rows(self, sql: str, **values: Any) -> list[Row]:
        import sqlalchemy as sa

        return [dict(row) for row in self._connection.execute(sa.text(sql), values).mappings()]

    def row(self, sql: str, **values: Any) -> Row | None:
        """The first row; None where there is none."""
        found = self.rows(sql, **values)
        return found[0] if found else None

    def execute(self, sql: str, **values: Any) -> None:
        import sqlalchemy as sa

        self._connection.execute(sa.text(sql), values)

    def insert(self, table: str, values: Mapping[str, Any]) -> None:
        columns = ", ".join(values)
        bound = ", ".join(f":{name}" for name in values)
        self.execute(f"INSERT INTO {table} ({columns}) VALUES ({bound})", **values)


class Database:
    """Tables of versions, aliases and events; threads may share one.

    Args:
        place: the directory of `registry.db`, or a URL `postgresql://USER@HOST/DATABASE`.

    Raises:
        RegistryError: a URL of something else, or one that makes no sense.
    """

    def __init__(self, place: str) -> None:
        import sqlalchemy as sa

        self.file: Path | None = None
        if "://" in place:
            self._engine, self.name = _postgresql(place)
        else:
            self.file = Path(place) / DATABASE
            self.name = str(self.file)
            self._engine = sa.create_engine(
                sa.URL.create("sqlite", database=str(self.file)),
                connect_args={"timeout": WAIT_SECONDS},
                poolclass=sa.NullPool,  # a kept one would go on with a file that was replaced
            )
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        self._is_ready = False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads one state.

        Raises:
            NotARegistry: there is none yet, or it is of a newer Holotype.
        """
        if self.file is not None and not self.file.is_file():
            raise self._missing()
        with self._translated_errors(), self._engine.connect() as opened:
            if self.file is None:
                opened = opened.execution_options(isolation_level="REPEATABLE READ")
            connection = Connection(opened)
            if not self._is_ready:
                self._check_format(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The only transaction that writes; it is committed if the block succeeds.

        The tables are made where there are none.
        """
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._translated_errors(), self._engine.connect() as plain:
            opened = plain.execution_options(holotype_writes=True)
            with opened.begin():
                connection = Connection(opened)
                if self.file is None:
                    connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
                if not self._is_ready:
                    for statement in _TABLES:
                        connection.execute(statement)
                    if connection.row("SELECT format FROM holotype_format") is None:
                        connection.insert("holotype_format", {"format": FORMAT})
                    self._check_format(connection)
                yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _check_format(self, connection: Connection) -> None:
        found = connection.row("SELECT format FROM holotype_format")
        if found is None:
            raise self._missing()
        if found["format"] > FORMAT:
            raise NotARegistry(
                f"the registry {self.name} was written by a newer Holotype (format "
                f"{found['format']}, this one reads {FORMAT}); update Holotype."
            )
        self._is_ready = True

    def _missing(self) -> NotARegistry:
        return NotARegistry(
            f"there is no registry at {self.name}; `holotype registry add RUN --name NAME` makes "
            "one. Another is named by --registry or HOLOTYPE_REGISTRY."
        )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Errors of the database in one line, without the statement and without a password."""
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.DBAPIError as error:
            reason = " ".join(str(error.orig).split()) or type(error.orig).__name__
            if "no such table" in reason or "holotype_format" in reason:
                raise self._missing() from error
            if "locked" in reason:
                reason = f"another process has kept it for {WAIT_SECONDS} seconds"
            raise RegistryError(f"the registry {self.name} cannot be used: {reason}.") from error


def _postgresql(place: str) -> "tuple[sa.Engine, str]":
    import sqlalchemy as sa

    try:
        url = sa.make_url(place)
    except (sa.exc.ArgumentError, ValueError):
        raise RegistryError(
            "the URL of the registry makes no sense; expected postgresql://USER@HOST/DATABASE."
        ) from None
    if url.get_backend_name() != "postgresql":
        raise RegistryError(
            f"a registry cannot be kept in {url.get_backend_name()!r}; expected a directory, or "
            "postgresql://USER@HOST/DATABASE."
        )
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"), isolation_level="READ COMMITTED",
        pool_pre_ping=True,
    )  # fmt: skip
    return engine, url.render_as_string(hide_password=True)


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = EXTRA")


def _begin_sqlite(connection: "sa.Connection") -> None:
    writes = connection.get_execution_options().get("holotype_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
