"""The frame of all pages: sessions, rights, forms, headers, links, refusals."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import Request

import holotype
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.sessions import COOKIE, SessionSigner, session_secret
from holotype.dashboard_pages.visitors import MayLook, MayReview
from holotype.errors import UsageError
from holotype.serving.http.keys import read_keys, remove_key
from holotype.serving.server_settings import BehindProxy
from tests.dashboard.browsing import Visit, open_dashboard


def test_on_loopback_without_keys_all_is_open(visit: Visit) -> None:
    page = visit.get("/dashboard/")
    assert visit.status == 200
    assert "Log out" not in page.text


def test_the_address_of_the_server_leads_to_the_pages(visit: Visit) -> None:
    page = visit.get("/")
    assert (visit.status, page.text) == (200, visit.get("/dashboard/").text)


def test_with_keys_it_leads_to_the_login(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.get("/")
    assert str(visit.answer.url).partition("?")[0].endswith("/dashboard/login")


def test_every_page_forbids_scripts_and_frames_of_others(visit: Visit) -> None:
    for path in ("/dashboard/", "/dashboard/login", "/dashboard/nowhere"):
        visit.get(path)
        policy = visit.answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert visit.answer.headers["x-content-type-options"] == "nosniff"
        assert visit.answer.headers["referrer-policy"] == "no-referrer"


def test_styles_and_scripts_come_from_here_and_are_kept(visit: Visit) -> None:
    page = visit.get("/dashboard/")
    named = [
        found.get("href") or found.get("src")
        for tag, found in page.tags
        if tag in ("link", "script")
    ]
    files = [str(name) for name in named if name != "data:,"]
    assert len(files) == 4
    for file in files:
        assert "//" not in file
        visit.client.get("/dashboard/" + file).raise_for_status()
    changed = files[0].replace(files[0].split("/")[1], "0" * 16)
    assert visit.client.get("/dashboard/" + changed).status_code == 404


def test_without_a_session_every_page_asks_for_a_key(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    page = visit.get("/dashboard/?a=b")
    assert str(visit.answer.url).endswith("/dashboard/login?next=%3Fa%3Db")
    assert "Log in" in page.text
    assert "Sections" not in visit.answer.text


@pytest.mark.parametrize("rights", [["look"], ["review"], ["promote", "review"]])
def test_a_key_opens_what_its_rights_say(
    rights: list[str], visit_with_keys: Callable[..., Visit]
) -> None:
    visit = visit_with_keys()
    visit.login(*rights)
    assert "Log out" in visit.page.text
    assert visit.keys is not None
    assert set(read_keys(visit.keys)[-1].rights) == {"look", *rights}


def test_a_key_without_rights_and_a_wrong_one_open_nothing(
    visit_with_keys: Callable[..., Visit],
) -> None:
    visit = visit_with_keys()
    visit.login()
    assert visit.status == 403
    assert "for the API alone" in visit.page.text
    visit.get("/dashboard/login")
    page = visit.submit("login", key="holotype_wrong")
    assert visit.status == 403
    assert "no key of this server" in page.text


def test_a_removed_key_ends_its_sessions(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.login("look", name="ada")
    assert visit.keys is not None
    remove_key(visit.keys, "ada")
    visit.read_keys_again()
    visit.get("/dashboard/")
    assert "/login" in str(visit.answer.url)


def test_logging_out_forgets_the_session(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.login("look")
    visit.submit("logout")
    visit.get("/dashboard/")
    assert "/login" in str(visit.answer.url)


def test_the_cookie_is_out_of_reach(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.get("/dashboard/login")
    kept = visit.answer.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=strict" in kept
    assert "Secure" not in kept
    secure = open_dashboard(Path(visit.app.state.dashboard.folder), keys=visit.keys)
    secure.client.base_url = "https://127.0.0.1"
    answer = secure.client.get("https://127.0.0.1/dashboard/login")
    assert "Secure" in answer.headers["set-cookie"]


def test_a_forged_cookie_is_nobody(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.login("promote")
    good = visit.client.cookies[COOKIE]
    other = SessionSigner(b"0" * 32)
    session = visit.app.state.dashboard.signer.session(good)
    payload, _, signature = good.partition(".")
    for bad in (other.cookie(session), f"{payload}.", f"{payload[:-2]}.{signature}", "ä.ö", ""):
        visit.client.cookies.clear()
        answer = visit.client.get("/dashboard/", headers={b"cookie": f"{COOKIE}={bad}".encode()})
        assert "/login" in str(answer.url)


def test_a_session_outlives_a_restart(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.login("look")
    again = open_dashboard(visit.app.state.dashboard.folder, keys=visit.keys)
    again.client.cookies = visit.client.cookies
    assert "Log out" in again.get("/dashboard/").text


def test_only_the_user_may_read_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secret = session_secret(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert session_secret(file) == secret
    assert len(secret) == 32


def test_a_form_without_its_token_changes_nothing(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    key = visit.login("look")
    stranger = open_dashboard(visit.app.state.dashboard.folder, keys=visit.keys)
    stranger.get("/dashboard/login")
    theirs = stranger.page.forms[0]["fields"]["csrf"]
    for token in ("", "x", theirs, "ä"):
        page = visit.post("/dashboard/logout", {"csrf": token})
        assert visit.status == 403
        assert "too old" in page.text
    stranger.post("/dashboard/login", {"key": key})
    assert stranger.status == 403
    visit.get("/dashboard/")
    assert "Log out" in visit.page.text


def test_whoever_has_no_key_sends_little(visit_with_keys: Callable[..., Visit]) -> None:
    """Bodies at the login would take the room of those of the API, and time to decode."""
    visit = visit_with_keys(proxy=BehindProxy(root_path="/cells"))
    visit.get("/cells/dashboard/login")
    visit.submit("login", key="x" * 70_000)
    assert visit.status == 413
    assert "At most 64 KiB" in visit.page.text
    visit.post("login", {"key": "x"}, files={"images": b"x" * 70_000})
    assert visit.status == 413


def test_a_form_without_files_is_small(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.login("promote")
    page = visit.get("/dashboard/runs/start")
    visit.post("start", {"csrf": page.forms[0]["fields"]["csrf"], "settings": "x" * 70_000})
    assert visit.status == 413


@pytest.mark.parametrize(
    "next_page", ["https://evil.example", "//evil.example", "..//x", "a\\b", "/x"]
)
def test_a_login_leads_to_no_other_server(
    next_page: str, visit_with_keys: Callable[..., Visit]
) -> None:
    visit = visit_with_keys()
    key = visit.login("look")
    visit.submit("logout")
    visit.get("/dashboard/login", params={"next": next_page})
    visit.submit("login", key=key)
    assert str(visit.answer.url) == "http://127.0.0.1/dashboard/"


def test_a_page_of_a_further_room_has_rights_forms_and_legible_names(
    visit_with_keys: Callable[..., Visit],
) -> None:
    visit = visit_with_keys()
    add_page(visit)
    visit.login("look")
    page = visit.get("/dashboard/greeting/", params={"name": HOSTILE})
    assert "<script>" not in visit.answer.text
    assert "\u202e" not in visit.answer.text
    assert "\\u202e" in page.text
    assert "\\x1b[31m" in page.text
    token = visit.token
    visit.post("", {"csrf": token})
    assert visit.status == 403
    assert "right “review”" in visit.page.text
    visit.login("review")
    visit.get("/dashboard/greeting/", params={"name": HOSTILE})
    visit.post("", {"csrf": visit.token})
    assert str(visit.answer.url).endswith("/dashboard/greeting/?name=x")


HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"


def add_page(visit: Visit) -> None:
    """A page as a further room would have it."""
    router = page_router("greeting")

    @router.get("/")
    def show(request: Request, visitor: MayLook, name: str = "") -> object:
        return render(request, "refusal.html.j2", title=name, told=name)

    @router.post("/")
    def greet(request: Request, visitor: MayReview) -> object:
        assert posted_form(request).get("csrf")
        return redirect(request, "greeting/?name=x")

    visit.app.include_router(router)


def test_others_reach_no_dashboard_without_keys(tmp_path: Path) -> None:
    for proxy in (BehindProxy(root_path="/a"), BehindProxy(proxies=("127.0.0.1",))):
        with pytest.raises(UsageError, match="--rights"):
            holotype.dashboard(tmp_path, proxy=proxy)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        holotype.dashboard(tmp_path / "nothing")


def test_links_hold_at_any_depth_and_behind_a_prefix(tmp_path: Path) -> None:
    visit = open_dashboard(tmp_path / "runs", proxy=BehindProxy(root_path="/a/b"))
    page = visit.get("/dashboard/static/x/y/z")
    assert visit.status == 404
    assert "../../../" in page.links
    assert not [link for link in page.links if link.startswith("/")]
    assert "Path=/a/b/" in visit.answer.headers["set-cookie"]


def test_the_api_still_needs_its_key(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    visit.login("promote")
    for path in ("/v1/models", "/metrics", "/dashboardx"):
        assert visit.client.get(path).status_code == 401
