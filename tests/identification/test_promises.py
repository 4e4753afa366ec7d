"""What the recipe `identify` promises of individuals that it never saw, on made and real images."""

from pathlib import Path

import pytest

from benchmarks.identification import RATE, judged_ct, judged_mnist, rate_over_splits


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_learnt_embedding_finds_specimens_it_never_saw_better_than_the_frozen_one(
    tmp_path: Path,
) -> None:
    """Simulated micro-CT: specimens are individuals, and no specimen trains and is judged."""
    found = judged_ct(0, tmp_path, [])
    margin, low, _ = found["margin of mAP"]
    print(f"{found['individuals']} individuals, mAP {margin:+.3f}, at least {low:+.3f}")
    assert found["individuals"] >= 30
    assert margin > low > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_known_digits_are_called_new_as_rarely_as_stated(tmp_path: Path) -> None:
    """0 to 4 are learnt; of 5 to 9 three are enrolled in each of 20 splits, and two are new.

    The threshold of a split is fitted to its 300 enrolled images, so its own rate has a spread: the
    count of one split is beta-binomial, and the plain binomial bound is that of all together.
    """
    found = judged_mnist(tmp_path, 0, [])
    print({name: value for name, value in found.items() if name != "splits"})
    assert len(found["splits"]) == 20
    assert found["called new"] <= found["binomial bound of all"]
    assert found["splits over their bound"] <= found["so many allowed"]
    assert found["by digit"]["low"] <= RATE
    # Not by calling nobody new: new digits are called so far more often than known ones.
    assert all(split["BAUS"] > 3 * split["rate"] for split in found["splits"])


def test_a_rate_that_is_not_kept_is_seen() -> None:
    by_digit = {digit: (16 + n, 200) for n, digit in enumerate("56789")}
    split = {"called new": 90, "queries": 1000, "rate": 0.09, "bound of the rate": 0.075}
    found = rate_over_splits([{**split, "by digit": by_digit}] * 20)
    assert found["called new"] > found["binomial bound of all"]
    assert found["splits over their bound"] == 20 > found["so many allowed"] == 3
    assert found["by digit"]["low"] > RATE
