"""PostgreSQL on this machine alone, in a directory of its own."""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where they are not installed."""
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    places = [Path(each).resolve().parent for each in found if each]
    return places[-1] if places else None


@contextmanager
def postgresql_server() -> Iterator[str]:
    """A server that listens on a socket only; yields its URL.

    Not below pytest's directory, which every session that starts closes to other users again.
    """
    place = programs()
    assert place is not None
    # The server refuses to run as root; elsewhere it runs as whoever runs the tests.
    user = "postgres" if os.getuid() == 0 else None
    owner = user or getpass.getuser()
    with tempfile.TemporaryDirectory(prefix="holotype-postgresql-") as folder:
        if user:
            shutil.chown(folder, user)

        def run(program: str, *words: str) -> None:
            subprocess.run(
                [place / program, "-D", f"{folder}/data", *words],
                check=True, user=user, cwd=folder, capture_output=True, timeout=120,
            )  # fmt: skip

        run("initdb", "-A", "trust", "-U", owner)
        settings = f"-c listen_addresses= -c unix_socket_directories={folder}"
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", settings, "start")
        try:
            yield f"postgresql://{owner}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
