"""Two images compared, unknown ones grouped, and how well all of it is done."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score

import holotype
from holotype.errors import NotComparable, UsageError
from holotype.identification.discovery import average_linkage, discover_individuals
from holotype.identification.evaluate_gallery import questions_of_data
from holotype.identification.matching.gallery_calibration import calibrate
from holotype.identification.matching.pair_rule import logistic_regression
from holotype.identification.query_gallery import FittedGallery
from holotype.identification.storage.gallery_images import GalleryImages
from holotype.progress import Progress
from tests.conftest import Cli
from tests.identification.individuals import Sighting, made_block, sightings, write, write_table

LEFT = {"side": "left"}


def test_two_images_of_one_individual_are_told_from_two_individuals(
    known: holotype.Gallery, tmp_path: Path
) -> None:
    one, again, other = write(tmp_path, [Sighting(30, 0), Sighting(30, 1), Sighting(31, 0)])
    same, different = known.compare(one, again), known.compare(one, other)
    assert same.is_same
    assert not different.is_same
    assert same.probability > 0.9 > 0.1 > different.probability
    assert same.figure.width > 3 * 40
    assert known.compare(one, one).probability >= same.probability


def test_compare_is_a_command_that_draws(cli: Cli, known: holotype.Gallery, tmp_path: Path) -> None:
    one, again = write(tmp_path, [Sighting(30, 0), Sighting(30, 1)])
    output = tmp_path / "both.png"
    code, out, _ = cli("identify", "compare", known.path, one, again, "--output", output)
    assert code == 0
    assert out.startswith("the same individual: probability")
    assert output.is_file()
    code, out, _ = cli("identify", "compare", known.path, one, again, "--json")
    assert json.loads(out)["is_same"]
    with pytest.raises(UsageError, match="expected two"):
        known.compare(tmp_path, one)


def test_unknown_images_are_grouped_by_individual(
    cli: Cli, known: holotype.Gallery, tmp_path: Path
) -> None:
    unknown = sightings(5, 4)
    unknown = [Sighting(40 + one.individual, one.encounter) for one in unknown]
    paths = write(tmp_path / "new", unknown)
    found = known.discover(paths, attributes=LEFT)
    cluster_of = {image: one.name for one in found for image in one.images}
    truth = [one.name for one in unknown]
    assert adjusted_rand_score(truth, [cluster_of[path.as_posix()] for path in paths]) > 0.9
    assert found.questions == 20
    assert all(0 <= one.confidence <= 1 for one in found)
    assert found[0].confidence > 0.8
    code, out, _ = cli(
        "identify", "discover", known.path, *paths, "--attribute", "side=left",
        "--output", tmp_path / "found",
    )  # fmt: skip
    assert code == 0
    assert "unknown-1" in out
    with (tmp_path / "found" / "individuals.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["path"]: row["individual"] for row in rows} == cluster_of
    assert (tmp_path / "found" / "index.html").read_text().count("<img") == 20


def test_what_was_discovered_is_added_from_its_table(
    tiny: Path, known: holotype.Gallery, tmp_path: Path
) -> None:
    paths = write(tmp_path / "new", [Sighting(40, e) for e in range(3)])
    known.discover(paths, attributes=LEFT, output=tmp_path / "found")
    gallery = holotype.Gallery(tmp_path / "g", tiny)
    assert gallery.add(tmp_path / "found" / "individuals.csv").num_added == 3


def test_the_table_of_what_was_discovered_is_added_from_wherever_it_lies(
    known: holotype.Gallery, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("new"), [Sighting(40, e) for e in range(3)])
    known.discover("new", attributes=LEFT, output="found")
    gallery = holotype.Gallery("g", tiny)
    added = gallery.add("found/individuals.csv", attributes={"side": None})
    assert (added.num_added, added.refused) == (3, ())


def test_the_table_of_what_was_discovered_keeps_what_was_known(
    known: holotype.Gallery, tiny: Path, tmp_path: Path
) -> None:
    asked = [Sighting(40, e, n, "right") for e in range(2) for n in range(2)]
    known.discover(write_table(tmp_path / "new" / "table.csv", asked), output=tmp_path / "found")
    gallery = holotype.Gallery(tmp_path / "g", tiny)
    gallery.add(tmp_path / "found" / "individuals.csv", attributes={"side": None})
    assert {image.encounter for image in gallery.images} == {"t40-e0", "t40-e1"}
    assert {image.attributes["side"] for image in gallery.images} == {"right"}
    assert all(image.date.startswith("2026-") for image in gallery.images)


def test_average_linkage_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    for cut in (-1.0, 0.0, 0.5):
        score = random.normal(size=(30, 30))
        score = (score + score.T) / 2
        expected = AgglomerativeClustering(
            n_clusters=None, distance_threshold=-cut + 10, metric="precomputed", linkage="average"
        ).fit_predict(10 - score)
        assert adjusted_rand_score(expected, average_linkage(score, cut)) == 1


def test_what_cannot_be_compared_counts_for_nothing() -> None:
    # 0 and 1 cannot be compared, and 2 is like both: all three are one.
    score = np.array([[0, -np.inf, 2.0], [-np.inf, 0, 2.0], [2.0, 2.0, 0]])
    assert len(set(average_linkage(score, 0.0).tolist())) == 1
    # Nothing can be compared: three.
    assert len(set(average_linkage(np.full((3, 3), -np.inf), 0.0).tolist())) == 3


def test_the_logistic_rule_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(200, 3))
    truth = features @ [1.0, -2.0, 0.5] + random.normal(size=200) > 0.3
    weights = random.uniform(0.5, 2, 200)
    expected = LogisticRegression(tol=1e-12, max_iter=10_000).fit(features, truth, weights)
    found, intercept = logistic_regression(features, truth.astype(float), weights)
    np.testing.assert_allclose(found, expected.coef_[0], atol=1e-5)
    assert intercept == pytest.approx(expected.intercept_[0], abs=1e-5)


@pytest.mark.usefixtures("real_plots")
def test_a_gallery_is_evaluated_on_itself(
    cli: Cli, known: holotype.Gallery, tmp_path: Path
) -> None:
    found = known.evaluate(output=tmp_path / "first")
    metrics = found.metrics
    assert metrics["rank_1"].value > 0.9
    assert metrics["baus"].value > 0.9
    assert metrics["discovery_ari"].value > 0.8
    assert 0 < metrics["image_map"].value <= 1
    known_questions = [one for one in found.questions if one.is_known]
    assert len(known_questions) == len(found.questions) / 2 == 45
    for name, each in metrics.items():
        assert each.low <= each.value <= each.high, name
    page = (tmp_path / "first" / "index.html").read_text()
    assert "Hardest questions" in page
    assert page.count("<img") == 2 + 3 * len(found.hard_pairs)
    code, out, _ = cli("identify", "evaluate", known.path, "--against", tmp_path / "first")
    assert code == 0
    assert "on 90 questions of both: rank-1 0.000" in out


def test_an_evaluation_says_what_it_did_not_ask(
    known: holotype.Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known.evaluate().notes == ()
    monkeypatch.setattr("holotype.identification.evaluate_gallery.MOST_QUESTIONS", 30)
    monkeypatch.setattr("holotype.identification.evaluate_gallery.MOST_DISCOVERED", 20)
    assert known.evaluate().notes == (
        "30 of the 45 encounters of the gallery are asked about, taken evenly over its individuals",
        "discovery_ari is of the first 20 questions",
    )


def test_images_of_one_day_are_one_encounter_where_none_is_named(
    tiny: Path, tmp_path: Path
) -> None:
    seen = sightings(12, 2, images=2)
    paths = write(tmp_path / "images", seen)
    lines = [
        f"{path},{one.name},2026-0{1 + one.encounter}-01T1{one.number}:00:00"
        for path, one in zip(paths, seen, strict=True)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["path,individual,date", *lines]) + "\n")
    gallery = holotype.Gallery(tmp_path / "gallery", tiny)
    gallery.add(tmp_path / "table.csv")
    found = gallery.evaluate()
    assert len(found.questions) == 2 * 24  # known, and as if new: a day of an individual each
    assert any(
        note.startswith("each question is judged without one in") and "fewer than 10" in note
        for note in found.notes
    )


def test_images_of_no_question_are_not_grouped(known: holotype.Gallery) -> None:
    block = known.images.blocks[0].select(range(12))
    calibration, few = known.calibration(Progress()), {str(n): [2 * n, 2 * n + 1] for n in range(3)}
    alone = discover_individuals(block.select(range(6)), few, calibration)
    assert discover_individuals(block, few, calibration) == alone


@pytest.mark.usefixtures("real_plots")
def test_a_gallery_is_evaluated_on_labelled_images_with_new_individuals(
    known: holotype.Gallery, tmp_path: Path
) -> None:
    asked = [Sighting(i, 8, 0, side) for i in range(11, 21) for side in ("left", "right")]
    table = write_table(tmp_path / "table.csv", asked)
    found = known.evaluate(table, output=tmp_path / "out")
    assert sorted({one.individual for one in found.questions if one.is_known}) == [
        "t11", "t12", "t13", "t14",
    ]  # fmt: skip
    assert len({one.individual for one in found.questions if not one.is_known}) == 6
    assert found.metrics["baks"].value == found.metrics["baus"].value == 1
    with (tmp_path / "out" / "questions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10
    with pytest.raises(NotComparable, match="no question in common"):
        known.evaluate(against=tmp_path / "out")


def test_answers_are_a_page_with_the_best_pairs(
    cli: Cli, known: holotype.Gallery, tmp_path: Path
) -> None:
    image = write(tmp_path / "<b>", [Sighting(5, 9)])[0]
    code, _, err = cli(
        "identify", "query", known.path, image, "--attribute", "side=left",
        "--output", tmp_path / "answers",
    )  # fmt: skip
    assert code == 0
    assert "called new at a rate of 0.05" in err
    page = (tmp_path / "answers" / "index.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>/" not in page
    assert (
        page.count("<img") >= 1 + 2 * 1 + 2
    )  # the question, the best pair and its overlap, two more
    assert json.loads((tmp_path / "answers" / "answers.json").read_text())["questions"]


def test_images_of_the_same_encounter_answer_no_question_of_labelled_data() -> None:
    block = made_block(48, 12, 8)
    images = tuple(
        replace(image, encounter=f"dive {n // 12 % 2}") for n, image in enumerate(block.images)
    )  # of every individual two images of two dives each
    block = replace(block, images=images)
    gallery = GalleryImages((block.select(range(24)),), "")
    found = questions_of_data(
        block.select(range(24, 48)), FittedGallery(gallery, calibrate(gallery), None), 0.05
    )
    own = [
        [image.individual == individual and image.encounter == name for image in gallery]
        for name, individual in zip(found.names, found.identities, strict=True)
    ]
    np.testing.assert_array_equal(np.array(found.hidden), own)
    assert np.array(own).sum(axis=1).tolist() == [1] * 24
