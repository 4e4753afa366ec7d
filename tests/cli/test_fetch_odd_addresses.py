"""Addresses and archives that are odd: one line, before anything is downloaded or written."""

import zipfile
from pathlib import Path

import pytest

from holotype.dataset.sources.download import ascii_url
from tests.conftest import Cli


@pytest.mark.parametrize("address", ["http://[::1/x", "http://", "http://a:b/x.zip", "ftp://a/b"])
def test_what_is_no_address_is_refused(address: str, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("fetch", address, "--output", tmp_path / "out")
    assert code == 2
    assert err.splitlines()[-1] == (
        f"error: {address!r} cannot be downloaded; expected http://… or https://…."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("http://a.b/ä b.zip?q=ü&r=1", "http://a.b/%C3%A4%20b.zip?q=%C3%BC&r=1"),
        ("http://a.b/%C3%A4.zip", "http://a.b/%C3%A4.zip"),
        ("https://bücher.example:8080/x.zip#part", "https://xn--bcher-kva.example:8080/x.zip"),
        ("http://user:word@127.0.0.1:9/x.zip", "http://user:word@127.0.0.1:9/x.zip"),
    ],
)
def test_other_letters_are_encoded(address: str, sent: str) -> None:
    assert ascii_url(address) == sent


def test_an_umlaut_in_an_address_is_no_bug(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    code, _, err = cli("fetch", "http://127.0.0.1:9/ä.zip", "--output", tmp_path / "out")
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith(".")


def test_a_zip_member_without_a_name_is_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("a/1.png", b"x")
        monkeypatch.setattr(zipfile.ZipInfo, "is_dir", lambda self: False)  # fails without a name
        archive.writestr(zipfile.ZipInfo(""), b"x")
    monkeypatch.undo()
    code, _, err = cli("fetch", tmp_path / "odd.zip", "--output", tmp_path / "out")
    assert code == 1
    assert "a member has no name" in err
    assert not (tmp_path / "out").exists()


def test_a_text_file_is_no_weights(cli: Cli, synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.txt").write_text("no weights\n")
    code, _, err = cli(
        "train", synthetic, "--weights", tmp_path / "weights.txt", "--output", tmp_path / "run"
    )
    assert code in (1, 2)
    assert "weights.txt" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
