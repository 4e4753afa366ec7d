"""`holotype serve`: classifiers behind HTTP, and the keys that open it."""

from pathlib import Path

from cyclopts import App

from holotype.cli.output import print_message, print_result
from holotype.serving import serve as verb
from holotype.serving.http import keys as key_files
from holotype.text_tables import text_table


def serve(
    *classifiers: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Path | None = None,
    workers: int | None = None,
    deadline: float = 10.0,
    allowed_hosts: tuple[str, ...] = (),
    proxies: tuple[str, ...] = (),
    root_path: str = "",
    grace: float = 20.0,
) -> int:
    """Serve until SIGTERM or Ctrl-C; what is in flight is finished first.

    Args:
        classifiers: Runs, stages (RUN@NAME) or bundles; NAME=RUN says what requests call it.
        host: The address to listen on. Other machines reach any but loopback, so keys are needed.
        port: 0 for one that is free.
        keys: A file that `holotype serve keys add` made.
        workers: Processes that decode and run; one for each core that may be used by default.
        deadline: Seconds that an image may wait.
        allowed_hosts: A further name that requests may be addressed to; repeatable.
        proxies: An address whose forwarded headers are believed; repeatable.
        root_path: What a proxy takes off the path, such as /cells.
        grace: Seconds for requests in flight when told to stop.
    """
    verb.serve(
        classifiers, host=host, port=port, keys=keys, workers=workers, deadline=deadline,
        allowed_hosts=allowed_hosts, proxies=proxies, root_path=root_path, grace=grace,
        on_listening=lambda url: print_message(f"serving at {url}; Ctrl-C stops."),
    )  # fmt: skip
    return 0


app = App(
    name="serve",
    help="Answer HTTP requests with classifiers, on this machine.",
    help_epilogue="Example:\n  holotype serve runs/photos-1 --port 8000",
)
app.default(serve)
keys_app = App(name="keys", help="Make, list and remove the keys that requests need.")
app.command(keys_app)


@keys_app.command
def add(name: str, /, *, keys: Path, rate: float = 20.0) -> int:
    """Make a key and print it, once; the file holds its hash.

    Args:
        name: What the key is for, such as the program that will use it.
        keys: The file of keys; made where there is none.
        rate: Requests a second that it allows.
    """
    print_result(key_files.add_key(keys, name, rate))
    print_message(f"{keys} holds its hash; the key itself is shown this once.")
    return 0


@keys_app.command(name="list")
def list_keys(*, keys: Path) -> int:
    """List the keys of a file by name."""
    rows = [[key.name, f"{key.requests_per_second:g}"] for key in key_files.read_keys(keys)]
    print_result(text_table(["key", "requests a second"], rows))
    return 0


@keys_app.command
def remove(name: str, /, *, keys: Path) -> int:
    """Remove a key; a running server refuses it within a second."""
    key_files.remove_key(keys, name)
    print_message(f"{name} is removed from {keys}")
    return 0
