"""`holotype serve`: classifiers behind HTTP, and the keys that open it."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from holotype.cli.options import AsJson, Needs, Several, Switch
from holotype.cli.output import print_json, print_message, print_next_command, print_result
from holotype.dashboard_pages import serve as verb
from holotype.serving.http import keys as key_files
from holotype.serving.model_sources import served_sources
from holotype.serving.server_settings import BehindProxy
from holotype.serving.server_status import server_status
from holotype.serving.traffic.rollout import percentages
from holotype.serving.traffic.status_text import status_text
from holotype.serving.traffic.traffic_options import TrafficOptions
from holotype.text_tables import text_table

COMPARISON, REQUEST_LOG = "Comparison of versions", "Request log"
OF_A_CHALLENGER, OF_A_LOG = Needs("challenger", "--challenger"), Needs("log", "--log")


def serve(
    *classifiers: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Path | None = None,
    workers: int | None = None,
    deadline: float = 10.0,
    allowed_hosts: Annotated[tuple[str, ...], Several] = (),
    proxies: Annotated[tuple[str, ...], Several] = (),
    root_path: str = "",
    grace: float = 20.0,
    dashboard: Switch = False,
    gallery: Path | None = None,
    challenger: Annotated[str | None, Parameter(group=COMPARISON)] = None,
    share: Annotated[float, Parameter(group=COMPARISON), OF_A_CHALLENGER] = 10.0,
    shadow: Annotated[bool, Parameter(group=COMPARISON), OF_A_CHALLENGER] = False,
    rollout: Annotated[str, Parameter(group=COMPARISON), OF_A_CHALLENGER] = "",
    rollout_hours: Annotated[
        float, Parameter(group=COMPARISON), Needs("rollout", "--rollout")
    ] = 1.0,
    log: Annotated[Path | None, Parameter(group=REQUEST_LOG)] = None,
    log_days: Annotated[float, Parameter(group=REQUEST_LOG), OF_A_LOG] = 90.0,
    log_gib: Annotated[float, Parameter(group=REQUEST_LOG), OF_A_LOG] = 20.0,
    image_days: Annotated[float, Parameter(group=REQUEST_LOG), OF_A_LOG] = 0.0,
    image_gib: Annotated[
        float, Parameter(group=REQUEST_LOG), Needs("image_days", "--image-days")
    ] = 5.0,
) -> int:
    """Serve until SIGTERM or Ctrl-C; what is in flight is finished first.

    Args:
        classifiers: Runs, stages (RUN@NAME), bundles or registry://NAME@ALIAS, which is followed
            when the alias moves; NAME=RUN says what requests call it.
        host: The address to listen on. Other machines reach any but loopback, so keys are needed.
        port: 0 for one that is free.
        keys: A file that `holotype serve keys add` made.
        workers: Processes that decode and run; one for each core that may be used by default.
        deadline: Seconds that an image may wait.
        allowed_hosts: Further names that requests may be addressed to.
        proxies: Addresses whose forwarded headers are believed.
        root_path: What a proxy takes off the path, such as /cells.
        grace: Seconds for requests in flight when told to stop.
        dashboard: Pages for people below /dashboard/, with the runs below the working directory.
        gallery: A gallery of individuals, of one of the classifiers: /v1/models/NAME/identify.
        challenger: A run, bundle or registry://NAME@ALIAS to compare with the classifier; NAME=RUN
            where several are served.
        share: Percentage of the requests that the challenger answers.
        shadow: The challenger predicts too, and nobody sees its answers.
        rollout: Rising percentages such as 5,25,100; the next one follows while the challenger is
            not surely worse.
        rollout_hours: The shortest time at each percentage.
        log: Folder of the request log; without it neither requests nor feedback are kept.
        log_days: Rows that are older are removed.
        log_gib: The oldest rows are removed beyond so many GiB.
        image_days: Keep the images themselves for so many days; 0 keeps none.
        image_gib: The oldest images are removed beyond so many GiB.
    """
    traffic = TrafficOptions(
        challenger, share, shadow, percentages(rollout), rollout_hours, log, log_days, log_gib,
        image_days, image_gib,
    )  # fmt: skip
    verb.serve(
        classifiers, host=host, port=port, keys=keys, workers=workers, deadline=deadline,
        proxy=BehindProxy(allowed_hosts, proxies, root_path), grace=grace, dashboard=dashboard,
        gallery=gallery,
        traffic=traffic, on_listening=partial(_say_where, classifiers, keys is not None, dashboard),
    )  # fmt: skip
    return 0


def _say_where(classifiers: tuple[str, ...], with_keys: bool, with_pages: bool, url: str) -> None:
    """The address, that of the pages, and of each classifier the command that asks it."""
    print_message(f"serving at {url}; Ctrl-C stops.")
    if with_pages:
        print_message(f"dashboard at {url}/dashboard/")
    key = ("-H", "authorization: Bearer KEY") if with_keys else ()
    for name in served_sources(classifiers, TrafficOptions()).champions:
        ask = f"{url}/v1/models/{name}/predict"
        print_next_command(
            "curl", "--data-binary", "@IMAGE.jpg", "-H", "content-type: image/jpeg", *key, ask
        )


app = App(
    name="serve",
    usage="Usage: holotype serve RUN... [OPTIONS] | holotype serve status | holotype serve keys",
    help="Answer HTTP requests with classifiers, on this machine.",
    help_epilogue="Example:\n  holotype serve runs/photos-1 --port 8000",
)
app.default(serve)


@app.command
def status(
    model: str | None = None,
    /,
    *,
    url: str = "http://127.0.0.1:8000",
    key: str | None = None,
    as_json: AsJson = False,
) -> int:
    """Say what a running server answers with, how versions compare, and what is logged.

    Args:
        model: Its name in the path of requests; all of them by default.
        url: Of the server.
        key: That the server needs.
    """
    found = server_status(url, model, key)
    if as_json:
        print_json(found)
    else:
        print_result("\n\n".join(map(status_text, found)))
    return 0


keys_app = App(name="keys", help="Make, list and remove the keys that requests need.")
app.command(keys_app)


@keys_app.command
def add(
    name: str,
    /,
    *,
    keys: Path,
    rate: float = 20.0,
    rights: Annotated[tuple[str, ...], Several] = (),
) -> int:
    """Make a key and print it, once; the file holds its hash.

    Args:
        name: What the key is for, such as the program that will use it.
        keys: The file of keys; made where there is none.
        rate: Requests a second that it allows.
        rights: What it opens in the dashboard: look, review, promote; or several. Without
            it the key is for the API alone.
    """
    words = [word for given in rights for word in given.split(",") if word]
    print_result(key_files.add_key(keys, name, rate, words))
    print_message(f"{keys} holds its hash; the key itself is shown this once.")
    return 0


@keys_app.command(name="list")
def list_keys(*, keys: Path) -> int:
    """List the keys of a file by name."""
    rows = [
        [key.name, f"{key.requests_per_second:g}", ", ".join(key.rights) or "API only"]
        for key in key_files.read_keys(keys)
    ]
    print_result(text_table(["key", "requests a second", "rights"], rows))
    return 0


@keys_app.command
def remove(name: str, /, *, keys: Path) -> int:
    """Remove a key; a running server refuses it within a second."""
    key_files.remove_key(keys, name)
    print_message(f"{name} is removed from {keys}")
    return 0
