"""A gallery behind HTTP answers as it does in Python, and grows by those who may review."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import holotype
from holotype.serving.client_errors import ServerError
from holotype.serving.http.keys import add_key
from tests.bundle.tiny import write_tiny
from tests.identification.individuals import Sighting, sightings, write, write_table
from tests.serving.running import Running, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, a gallery of it with two sides, and keys of two rights."""
    place = tmp_path_factory.mktemp("identify")
    write_tiny(place / "tiny").without_decision()
    table = write_table(place / "known" / "table.csv", sightings(12, 2, 1, ("left", "right")))
    holotype.Gallery(place / "gallery", place / "tiny").add(table, attributes={"side": None})
    return place


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    file = folder / "keys.json"
    return {name: add_key(file, name, 1000, [name]) for name in ("look", "review")}


@pytest.fixture(scope="module")
def server(folder: Path, keys: dict[str, str]) -> Iterator[Running]:
    words = ("--gallery", folder / "gallery", "--keys", folder / "keys.json", "--workers", "1")
    with running(f"turtles={folder / 'tiny'}", *words) as found:
        yield found


def ask(server: Running, path: str, key: str, files: list[Path], **query: object) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/models/turtles/{path}",
        params=query,
        files=[("images", file.read_bytes()) for file in files],
        headers={"authorization": f"Bearer {key}"},
        timeout=60,
    )


def test_answers_are_those_of_python(
    server: Running, folder: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    paths = write(tmp_path, [Sighting(individual, 9) for individual in (2, 5, 30)])
    expected = holotype.Gallery(folder / "gallery").query(paths, attributes={"side": "left"})
    answer = ask(server, "identify", keys["look"], paths, attributes="side=left", top=3)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [one["answer"] for one in found["questions"]] == [one.answer for one in expected]
    for one, other in zip(found["questions"], expected, strict=True):
        assert one["new_probability"] == pytest.approx(other.new_probability, abs=1e-6)
        assert [each["individual"] for each in one["ranked"]] == [
            each.individual for each in other.ranked[:3]
        ]
        for each, expected_one in zip(one["ranked"], other.ranked, strict=False):
            assert each["probability"] == pytest.approx(expected_one.probability, abs=1e-6)
    together = ask(
        server, "identify", keys["look"], paths[:1] * 2, attributes="side=left", together=True
    )
    assert len(together.json()["questions"]) == 1
    dive = ask(server, "identify", keys["look"], paths, attributes="side=left", encounter="dive 9")
    assert [one["name"] for one in dive.json()["questions"]] == ["dive 9"]  # as in Python


def test_who_was_confirmed_is_added_and_found(
    server: Running, folder: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    new = write(tmp_path, [Sighting(40, 0), Sighting(40, 1)])
    options = {"label": "t40", "attributes": "side=left", "date": "2026-07-01"}
    refused = ask(server, "individuals", keys["look"], new[:1], **options)
    assert (refused.status_code, refused.json()["type"]) == (403, "no_right")
    added = ask(server, "individuals", keys["review"], new[:1], **options)
    assert added.json()["new_individuals"] == ["t40"]
    found = ask(server, "identify", keys["look"], new[1:], attributes="side=left").json()
    assert found["questions"][0]["ranked"][0]["individual"] == "t40"
    assert holotype.Gallery(folder / "gallery").history("t40")[0].dates == ("2026-07-01",)
    again = ask(server, "individuals", keys["review"], new[:1], **{**options, "label": "t41"})
    assert again.json()["conflicts"][0]["known_as"] == "t40"


def test_a_request_without_the_side_or_an_image_is_refused(
    server: Running, keys: dict[str, str], tmp_path: Path
) -> None:
    paths = write(tmp_path, [Sighting(2, 9)])
    refused = ask(server, "identify", keys["look"], paths)
    assert refused.status_code == 422
    assert "side=VALUE" in refused.json()["detail"]
    empty = ask(server, "identify", keys["look"], [], attributes="side=left")
    assert (empty.status_code, empty.json()["type"]) == (415, "unsupported_media_type")
    bad, left = tmp_path / "bad.png", {"attributes": "side=left"}
    bad.write_bytes(b"no image")
    both = ask(server, "identify", keys["look"], [bad, *paths], **left)
    assert both.status_code == 200
    assert [one["image"] for one in both.json()["refused"]] == [0]
    assert [one["name"] for one in both.json()["questions"]] == ["image 1"]
    only = ask(server, "identify", keys["look"], [bad], **left)
    assert only.status_code == 422


def test_the_client_answers_as_the_gallery(
    server: Running, folder: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    paths = write(tmp_path, [Sighting(individual, 9) for individual in (2, 5, 30)])
    bad, left = tmp_path / "bad.png", {"side": "left"}
    bad.write_bytes(b"no image")
    gallery = holotype.Gallery(folder / "gallery")
    with holotype.Client(server.url, "turtles", key=keys["look"]) as client:
        for options in ({"top": 3, "new_rate": 0.3}, {"encounter": "dive 9"}):
            expected = gallery.query([*paths, bad], attributes=left, **options)
            found = client.identify([*paths, bad], attributes=left, **options)
            assert [one.name for one in found] == [one.name for one in expected]
            assert [one.answer for one in found] == [one.answer for one in expected]
            assert [one.images for one in found] == [one.images for one in expected]
            assert found.threshold == expected.threshold
            for one, other in zip(found, expected, strict=True):
                assert len(one.ranked) == len(other.ranked)
                for each, its in zip(one.ranked, other.ranked, strict=True):
                    assert each.individual == its.individual
                    assert each.best_pair.asked == its.best_pair.asked
                    assert each.probability == pytest.approx(its.probability, abs=1e-6)
            assert [one.file for one in found.refused] == [str(bad)]
        with pytest.raises(ServerError, match="side=VALUE"):
            client.identify(paths)
        with pytest.raises(ServerError, match="rate"):
            client.identify(paths, attributes=left, new_rate=0.001)
        with pytest.raises(holotype.errors.UsageError, match="no image"):
            client.identify([], attributes=left)
