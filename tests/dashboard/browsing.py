"""Read pages and send their forms as a browser without scripts does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from starlette.testclient import TestClient

from holotype.dashboard_pages.include import include_dashboard
from holotype.serving.engine.worker_pool import WorkerPool
from holotype.serving.http.app import build_app
from holotype.serving.http.keys import Keys, add_key
from holotype.serving.http.prometheus_metrics import Metrics
from holotype.serving.http.service import Service
from holotype.serving.server_settings import ServerSettings
from holotype.serving.traffic.version_traffic import VersionTraffic


class Elements(HTMLParser):
    """The elements of a page that a visitor can use, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}  # rows of cells, by the name of the region
        self._region = ""  # whose table comes
        self._rows: list[list[str]] | None = None  # of the table's body that is being read
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self._silent = tag in ("script", "style")
        if found.get("role") == "region":
            self._region = str(found["aria-label"])
        elif tag == "tbody" and self._region:
            self._rows = self.tables[self._region] = []
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows is not None:
            self._rows[-1].append("")
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag == "form":
            self.forms.append({**found, "fields": {}})
        if tag == "input" and found.get("name") and self.forms:
            self.forms[-1]["fields"][found["name"]] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._silent = False
        if tag == "tbody":
            self._region, self._rows = "", None

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)
            if self._rows and self._rows[-1]:
                self._rows[-1][-1] = " ".join(f"{self._rows[-1][-1]}{data}".split())

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@dataclass(eq=False)
class Visit:
    """One browser: its cookies, and the page it is on.

    Attributes:
        app: the application; None of a server in another process.
        client: of httpx, or one that calls the application.
        keys: the file of keys; None on loopback without.
    """

    app: Any
    client: Any
    keys: Path | None = None
    answer: Any = None  # of httpx or httpx2, whichever Starlette finds

    def get(self, path: str, **options: Any) -> Elements:
        """Go to a page, relative to this one; redirections are followed."""
        self.answer = self.client.get(self._address(path), **options)
        return self.page

    def post(self, path: str, data: Mapping[str, Any] | None = None, **options: Any) -> Elements:
        """Send fields as they are."""
        self.answer = self.client.post(self._address(path), data=data, **options)
        return self.page

    def submit(self, action: str, files: Any = None, **values: object) -> Elements:
        """Fill in the form of this page whose action ends so, and send it."""
        form = next(one for one in self.page.forms if str(one.get("action")).endswith(action))
        fields = {**form["fields"], **values}
        return self.post(str(form["action"]), fields, files=files)

    @property
    def token(self) -> str:
        """That the forms of this page send."""
        return str(self.page.forms[0]["fields"]["csrf"])

    def login(self, *rights: str, name: str = "") -> str:
        """Make a key with these rights, and log in with it."""
        assert self.keys is not None
        key = add_key(self.keys, name or "-".join(rights) or "none", 1000.0, rights)
        self.read_keys_again()
        self.get("/dashboard/login")
        self.submit("login", key=key)
        return key

    def read_keys_again(self) -> None:
        """As the server does within a second."""
        assert self.keys is not None
        self.app.state.service.keys = Keys(self.keys)

    @property
    def page(self) -> Elements:
        return Elements(str(self.answer.text))

    @property
    def status(self) -> int:
        return int(self.answer.status_code)

    def _address(self, path: str) -> str:
        here = "/dashboard/" if self.answer is None else str(self.answer.url)
        return urljoin(here, unescape(path))


def open_dashboard(folder: Path, keys: Path | None = None, **settings: Any) -> Visit:
    """A dashboard in this process, over the runs below a folder; no worker is started."""
    folder.mkdir(parents=True, exist_ok=True)
    if keys is not None and not keys.exists():
        add_key(keys, "api")
    options = ServerSettings(keys=keys, **settings)
    engine = WorkerPool(options.engine)
    found = None if keys is None else Keys(keys)
    app = build_app(Service(engine, VersionTraffic(), Metrics(), options, found))
    include_dashboard(folder)(app)
    client = TestClient(app, base_url="http://127.0.0.1")
    return Visit(app, client, keys)
