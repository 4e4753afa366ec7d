"""A registry keeps versions, moves aliases on evidence, and forgets nothing."""

import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.errors import (
    ChampionMoved,
    CorruptBundle,
    InvalidTable,
    MissingExtra,
    NotABundle,
    NotARegistry,
    NotARun,
    PromotionRefused,
    RegistryError,
    UnknownVersion,
    UsageError,
)
from holotype.files import write_json
from holotype.registry import alias_moves, database
from holotype.registry.registered_name import parse_registered_name
from holotype.registry.registry import Registry
from holotype.registry.version_record import data_fingerprint
from tests.ensembles.runs import make_run, split_shapes
from tests.registry.made import answers, write_run, write_sealed


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry, which `registry://` names."""
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("HOLOTYPE_REGISTRY_FILES", raising=False)
    return Registry(who="ana")


def versions(registry: Registry, tmp_path: Path, *accuracies: float) -> None:
    """Register runs of these accuracies on the same validation images as cells/1, cells/2, …"""
    for number, accuracy in enumerate(accuracies, start=1):
        run = write_run(tmp_path / f"run-{number}", f"number {number}", accuracy=accuracy)
        registry.add(run, name="cells")


def test_a_version_keeps_what_its_run_knew(registry: Registry, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", accuracy=0.9)
    added = registry.add(run, name="cells", reason="the first")
    shown = registry.show("cells/1")
    assert shown == added
    assert (shown.name, shown.version, shown.who, shown.reason) == ("cells", 1, "ana", "the first")
    assert shown.metrics["accuracy"] == holotype.Run(run).metrics["accuracy"]
    assert shown.accuracy.value == 0.9
    assert shown.recipe == (run / "recipe.yaml").read_text()
    assert shown.environment["python"] == "3.11"
    assert shown.git_commit == "0123abc"
    assert shown.bundle_sha256 == holotype.load(run).digest
    assert abs(datetime.fromisoformat(shown.at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_run_is_not_needed_again(registry: Registry, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    digest = holotype.load(run).digest
    registry.add(run, name="cells")
    run.rename(tmp_path / "elsewhere")
    registry.promote("cells", 1)
    assert holotype.load("registry://cells@champion").digest == digest
    assert holotype.Run("registry://cells/1").metrics["accuracy"].value == 0.9


def test_a_bundle_is_stored_once(registry: Registry, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    first = registry.add(run, name="cells")
    again = registry.add(run, name="cells")
    other = registry.add(run, name="others")
    assert again == first
    assert other.version == 1
    assert len(list((registry.files / "bundles").iterdir())) == 1
    assert len(list((registry.files / "runs").iterdir())) == 1
    assert [event.action for event in registry.history("cells").events] == ["register"]


@pytest.mark.parametrize("target", ["registry://cells@champion", "registry://cells/2"])
def test_a_registered_name_is_taken_wherever_a_run_is(
    target: str, registry: Registry, tmp_path: Path, synthetic: Path
) -> None:
    index = split_shapes(synthetic)
    other = make_run(tmp_path / "other", index, side=24)
    for number in (1, 2):
        run = make_run(tmp_path / f"r{number}", index, seed=number)
        write_json(run.report / "metrics.json", {})
        registry.add(run.path, name="cells")
    registry.promote("cells", 2)
    images = sorted((synthetic / "disc").iterdir())[:3]
    expected = holotype.load(tmp_path / "r2")
    assert holotype.load(target).digest == expected.digest
    found = holotype.predict(target, images)
    np.testing.assert_array_equal(found.probabilities, expected.predict(images).probabilities)
    report = holotype.evaluate(target, synthetic)
    assert "taught this classifier" in report.caveats[0]
    sheets = holotype.explain(target, images[0], output=tmp_path / "why.png", method="occlusion")
    assert len(sheets) == 1
    compared = holotype.compare([target, other.path], speed_images=0)
    assert compared.main.names == ("cells@champion" if "@" in target else "cells/2", "other")
    both = holotype.ensemble([target, other.path], output=tmp_path / "both")
    assert target in both.recipe.to_yaml()


def test_the_first_champion_needs_no_test(registry: Registry, tmp_path: Path) -> None:
    registry.add(write_sealed(tmp_path / "bundle").path, name="cells")
    assert registry.current_version("cells") is None
    event = registry.promote("cells", 1, reason="something to begin with")
    assert event.test is None
    assert registry.current_version("cells") == 1


def test_a_version_that_is_surely_worse_is_refused(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9, 0.7)
    registry.promote("cells", 1)
    with pytest.raises(PromotionRefused, match=r"surely worse .* -20\.0 points \[-.*p = "):
        registry.promote("cells", 2)
    with pytest.raises(UsageError, match="--reason"):
        registry.promote("cells", 2, force=True)
    assert registry.current_version("cells") == 1
    event = registry.promote("cells", 2, force=True, reason="licence of the first")
    assert (event.previous_version, event.version, event.forced) == (1, 2, True)
    assert event.test.difference == pytest.approx(-0.2)
    assert event.test.p_value < 1e-6
    assert registry.history("cells").events[-1] == event


def test_a_version_that_is_not_surely_worse_is_promoted(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9, 0.89, 0.95)
    registry.promote("cells", 1)
    event = registry.promote("cells", 2)
    assert event.test.difference == pytest.approx(-0.01)
    assert not event.forced
    assert registry.promote("cells", 3).test.difference == pytest.approx(0.06)


def test_versions_are_tested_on_the_images_that_both_were_validated_on(
    registry: Registry, tmp_path: Path
) -> None:
    for number, images in enumerate((range(200), range(50, 250), range(190, 390)), start=1):
        said = answers(0.9, images=images)
        run = write_run(tmp_path / f"r{number}", f"{number}", validation=said)
        registry.add(run, name="cells")
    registry.promote("cells", 1)
    assert registry.promote("cells", 2).test.num_images == 150
    with pytest.raises(PromotionRefused, match="share 60 of 200 images of val, too few"):
        registry.promote("cells", 3)


def test_what_cannot_be_tested_is_promoted_by_force_only(
    registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9)
    registry.add(write_sealed(tmp_path / "alone", "alone").path, name="cells")
    registry.promote("cells", 1)
    with pytest.raises(PromotionRefused, match="cannot be compared"):
        registry.promote("cells", 2)
    event = registry.promote("cells", 2, force=True, reason="checked by hand")
    assert event.forced
    assert event.test is None


def test_an_alias_moves_only_from_where_the_caller_thinks_it_is(
    registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9, 0.9, 0.9)
    registry.promote("cells", 1, if_champion=0)
    registry.promote("cells", 2, if_champion=1)
    with pytest.raises(ChampionMoved, match="is 2 now, not 1; look again"):
        registry.promote("cells", 3, if_champion=1)
    with pytest.raises(ChampionMoved, match="not none"):
        registry.promote("cells", 3, if_champion=0)
    with pytest.raises(ChampionMoved):
        registry.rollback("cells", if_champion=3)
    registry.tag("cells", 3, "challenger", if_version=0)
    with pytest.raises(ChampionMoved, match="challenger of cells is 3"):
        registry.tag("cells", 1, "challenger", if_version=2)
    registry.promote("cells", "challenger")
    assert registry.current_version("cells") == registry.current_version("cells", "challenger") == 3


def test_rollbacks_go_back_through_the_champions(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9, 0.9, 0.9)
    for number in (1, 2, 3):
        registry.promote("cells", number)
    event = registry.rollback("cells", reason="complaints")
    assert (event.previous_version, event.version) == (3, 2)
    assert registry.rollback("cells").version == 1
    with pytest.raises(RegistryError, match="had no champion before"):
        registry.rollback("cells")
    registry.promote("cells", 3)
    assert registry.rollback("cells").version == 1


def test_the_past_can_be_asked_for(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9, 0.9)
    moves = [registry.promote("cells", 1), registry.promote("cells", 2), registry.rollback("cells")]
    moves.append(registry.tag("cells", 2, "challenger"))
    for event, champion in zip(moves, (1, 2, 1, 1), strict=True):
        assert registry.show("cells", at=event.at).champion == champion
        assert registry.show("cells@champion", at=event.at).version == champion
    before = registry.history("cells").events[0].at
    then = registry.show("cells", at=before)
    assert then.aliases == {}
    assert [version.version for version in then.versions] == [1]
    assert registry.show("cells").aliases == {"champion": 1, "challenger": 2}
    with pytest.raises(UnknownVersion, match="was registered later"):
        registry.show("cells", at="2020-01-01")
    with pytest.raises(UsageError, match="is no time"):
        registry.show("cells", at="yesterday")


def test_times_of_events_only_grow(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9)
    ahead = "2999-01-01T00:00:00.000000Z"
    with sqlite3.connect(registry.files / "registry.db") as database:
        database.execute("UPDATE holotype_events SET at = ?", [ahead])
    assert registry.promote("cells", 1).at == "2999-01-01T00:00:00.000001Z"


def test_a_removed_version_stays_in_the_history(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9, 0.9, 0.9)
    registry.promote("cells", 1)
    registry.promote("cells", 2)
    with pytest.raises(RegistryError, match="is the champion; move that first"):
        registry.remove("cells", 2)
    with pytest.raises(RegistryError, match="was the champion once"):
        registry.remove("cells", 1)
    registry.remove("cells", 3)
    registry.remove("cells", 1, force=True, reason="its images were withdrawn")
    for number in (1, 3):
        with pytest.raises(UnknownVersion, match="was removed at"):
            holotype.load(f"registry://cells/{number}")
    with pytest.raises(RegistryError, match="had no champion before"):
        registry.rollback("cells")
    run = write_run(tmp_path / "run-4", "number 4")
    assert registry.add(run, name="cells").version == 4
    assert "removed" in str(registry.show("cells"))
    assert registry.list().models[0]["versions"] == 2


def test_an_alias_is_removed_and_the_champion_is_no_alias_of_tag(
    registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9)
    registry.tag("cells", 1, "stable")
    assert registry.tag("cells", None, "stable").version is None
    assert registry.show("cells").aliases == {}
    with pytest.raises(UnknownVersion, match="no alias 'stable'"):
        registry.tag("cells", None, "stable")
    with pytest.raises(UsageError, match="promote"):
        registry.tag("cells", 1, "champion")
    with pytest.raises(UsageError, match="number of a version"):
        registry.tag("cells", 1, "7")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("registry://cells/9", "has no version 9; the newest is 1"),
        ("registry://cells@champion", "has no 'champion'; it has no alias"),
        ("registry://cell/1", "did you mean 'cells'"),
    ],
)
def test_what_is_not_registered_is_named(
    target: str, message: str, registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9)
    with pytest.raises(UnknownVersion, match=message):
        holotype.load(target)


@pytest.mark.parametrize(
    "text", ["registry://", "registry://cells@", "registry://cells/x", "registry://a/b/1", "a b/1"]
)
def test_a_name_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"registry://NAME|cannot be registered"):
        parse_registered_name(text)


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "é", "x" * 65])
def test_a_name_that_could_not_stand_in_a_path_is_refused(
    name: str, registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot be registered"):
        registry.add(write_run(tmp_path / "run"), name=name)


def test_without_a_registry_nothing_is_made_by_reading(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotARegistry, match="holotype registry add"):
        registry.list()
    with pytest.raises(NotARegistry):
        holotype.load("registry://cells@champion")
    assert not (tmp_path / "registry").exists()


def test_a_registry_of_a_newer_holotype_is_left_alone(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9)
    with sqlite3.connect(registry.files / "registry.db") as database:
        database.execute("UPDATE holotype_format SET format = 2")
    for work in (Registry().list, lambda: Registry().tag("cells", 1, "stable")):
        with pytest.raises(NotARegistry, match="update Holotype"):
            work()


def test_what_is_not_finished_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "report" / "metrics.json").unlink()
    with pytest.raises(NotARun, match="not finished"):
        registry.add(run, name="cells")
    with pytest.raises(NotABundle):
        registry.add(tmp_path, name="cells")
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize("file", ["manifest.json", "backbone.onnx", "head.onnx"])
def test_one_flipped_bit_is_refused(file: str, registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9)
    stored = registry.show("cells/1").bundle / file
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with pytest.raises(CorruptBundle, match=file):
        holotype.load("registry://cells/1")
    found = registry.verify()
    assert not found.is_intact
    assert file in found.problems["cells/1"][0]
    registry.add(tmp_path / "run-1", name="cells")  # puts it right
    registry.add(tmp_path / "run-1", name="other")
    assert registry.verify().is_intact


def test_a_changed_record_of_a_run_is_found(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9)
    (registry.show("cells/1").path / "recipe.yaml").write_text("name: other\n")
    assert "was changed" in registry.verify("cells").problems["cells/1"][0]


def test_a_history_that_does_not_fit_the_aliases_is_found(
    registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9, 0.9)
    registry.promote("cells", 1)
    assert registry.verify().is_intact
    with sqlite3.connect(registry.files / "registry.db") as database:
        database.execute("UPDATE holotype_aliases SET version = 2")
        database.execute("DELETE FROM holotype_events WHERE number = 1")
    problems = registry.verify().problems
    assert "its history says {'champion': 1}" in problems["cells"][0]
    assert "gaps" in problems["events"][0]


def test_older_runs_are_imported_once(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for number, name in enumerate(("b", "a", "deep/c")):
        run = write_run(folder / name, f"My cells {name[-1]}")
        os.utime(run / "recipe.yaml", (number, number))
    unfinished = write_run(folder / "unfinished", "u")
    (unfinished / "report" / "metrics.json").unlink()
    found = registry.import_runs(folder, name="cells")
    assert [Path(version.source).name for version in found.versions] == ["b", "a", "c"]
    assert [version.version for version in found.versions] == [1, 2, 3]
    assert list(found.left_out) == [str(unfinished)]
    assert len(registry.import_runs(folder, name="cells").versions) == 3
    assert len(registry.history("cells").events) == 3
    assert registry.import_runs(folder).versions[0].name == "My-cells-b"
    with pytest.raises(UsageError, match="is no folder"):
        registry.import_runs(tmp_path / "nowhere")


def test_of_a_search_only_the_winner_is_imported_and_of_a_registry_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    search = tmp_path / "cells-search-1"
    for name in ("trials/0000", "trials/0001", "best"):
        write_run(search / name, f"cells {name[-1]}")
    write_json(search / "search.json", {})
    for _ in range(2):  # the second time there is a registry in the folder
        found = registry.import_runs(tmp_path, name="cells")
        assert [version.source for version in found.versions] == [str(search / "best")]
        assert not found.left_out


def test_a_fingerprint_of_data_knows_labels_and_parts_but_not_places(
    tmp_path: Path, synthetic: Path
) -> None:
    one = make_run(tmp_path / "a", split_shapes(synthetic), learns=False, seals=False)
    same = make_run(tmp_path / "b", split_shapes(synthetic), seed=1, learns=False, seals=False)
    other = make_run(tmp_path / "c", split_shapes(synthetic, seed=1), learns=False, seals=False)
    assert data_fingerprint(one) == data_fingerprint(same) != data_fingerprint(other)


def test_asking_for_the_champion_is_quick(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9)
    registry.promote("cells", 1)
    began = time.perf_counter()
    for _ in range(100):
        registry.current_version("cells")
    assert (time.perf_counter() - began) / 100 < 0.005


def test_postgresql_needs_a_place_for_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLOTYPE_REGISTRY_FILES", raising=False)
    with pytest.raises(UsageError, match="HOLOTYPE_REGISTRY_FILES"):
        Registry("postgresql://somewhere/db")
    with pytest.raises(RegistryError, match="cannot be kept in 'mysql'"):
        Registry("mysql://somewhere/db", files="here")


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    registry = Registry("postgresql://ana:secret@127.0.0.1:1/db", files=tmp_path)
    assert "secret" not in repr(registry)
    with pytest.raises(RegistryError) as refused:
        registry.list()
    assert "secret" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)


def test_without_its_extra_the_command_that_installs_it_is_named(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(MissingExtra, match=r"holotype\[registry\]"):
        holotype.load("registry://cells@champion")


def test_results_show_themselves(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.9, 0.95)
    registry.promote("cells", 1)
    for found in (registry.list(), registry.show("cells"), registry.show("cells/1"),
                  registry.history("cells"), registry.verify()):  # fmt: skip
        assert repr(found)
        assert "<" in found._repr_html_()
        lines = [line for line in str(found).splitlines() if str(tmp_path) not in line]
        assert max(map(len, lines)) <= 80
    assert registry.show("cells").to_frame()["accuracy"].tolist() == [0.95, 0.9]
    assert registry.history("cells").to_frame()["action"].tolist()[-1] == "promote"
    assert registry.list().to_frame()["name"].tolist() == ["cells"]


def test_verifying_holds_nobody_up(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(registry, tmp_path, 0.9)
    monkeypatch.setattr(database, "WAIT_SECONDS", 1)

    def promote_meanwhile(*digests: str) -> list[str]:
        Registry(who="bo").promote("cells", 1)
        return []

    monkeypatch.setattr(registry.store, "verify", promote_meanwhile)
    assert registry.verify().is_intact
    assert registry.show("cells@champion").version == 1


def test_rolling_back_never_leads_to_where_it_is(registry: Registry, tmp_path: Path) -> None:
    versions(registry, tmp_path, 0.8, 0.9)
    registry.promote("cells", 1)
    registry.promote("cells", 2)
    registry.promote("cells", 1, force=True, reason="a fault")
    registry.remove("cells", 2, force=True, reason="a fault")
    with pytest.raises(RegistryError, match="no champion before"):
        registry.rollback("cells")


def test_numbers_and_times_beyond_all_bounds_are_refused(
    registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9)
    with pytest.raises(UnknownVersion, match="no version 999"):
        registry.promote("cells", "9" * 5000)
    with pytest.raises(UsageError, match="before the year 1"):
        registry.show("cells", at="0001-01-01T00:00+10:00")


def test_a_database_that_was_replaced_is_the_one_that_is_read(
    registry: Registry, tmp_path: Path
) -> None:
    versions(registry, tmp_path, 0.9)
    assert registry.database.file is not None
    backup = registry.database.file.read_bytes()
    registry.add(write_run(tmp_path / "run-2", "number 2", accuracy=0.8), name="cells")
    assert len(registry.history("cells").events) == 2
    registry.database.file.unlink()
    registry.database.file.write_bytes(backup)
    assert len(registry.history("cells").events) == 1


def test_force_promotes_where_the_champions_predictions_are_damaged(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(registry, tmp_path, 0.8, 0.9)
    registry.promote("cells", 1)

    def damaged(*rows: object) -> None:
        raise InvalidTable("val.parquet cannot be read as predictions.")

    monkeypatch.setattr(alias_moves, "compare_with_champion", damaged)
    with pytest.raises(PromotionRefused, match="cannot be compared"):
        registry.promote("cells", 2)
    assert registry.promote("cells", 2, force=True, reason="checked by hand").forced
