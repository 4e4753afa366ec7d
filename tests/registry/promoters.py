"""Processes that register and promote at once, and what must hold of the registry afterwards."""

import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path

from holotype.errors import ChampionMoved, PromotionRefused
from holotype.registry.registry import Registry
from tests.registry.made import copy_with_name


@dataclass(frozen=True)
class Work:
    """What one process does."""

    number: int
    place: str
    files: str
    template: Path
    scratch: Path
    registrations: int
    promotions: int


def work(task: Work) -> tuple[list[int], list[int]]:
    """Register and promote in a random order; the versions, and the numbers of the promotions."""
    registry = Registry(task.place, files=task.files, who=f"process {task.number}")
    rng = random.Random(task.number)
    versions: list[int] = []
    promotions: list[int] = []
    while len(versions) < task.registrations or len(promotions) < task.promotions:
        left = task.registrations - len(versions), task.promotions - len(promotions)
        if not versions or rng.randrange(sum(left)) < left[0]:
            name = f"{task.number}-{len(versions)}"
            run = copy_with_name(task.template, task.scratch / name, name)
            versions.append(registry.add(run, name="cells").version)
            continue
        seen = registry.current_version("cells") or 0
        try:
            event = registry.promote(
                "cells", rng.choice(versions), if_champion=seen if rng.random() < 0.5 else None
            )
        except (ChampionMoved, PromotionRefused):  # another was first, or it is the champion
            continue
        promotions.append(event.number)
    registry.close()
    return versions, promotions


def work_at_once(
    place: str, files: Path, template: Path, scratch: Path, counts: tuple[int, int, int]
) -> None:
    """Let processes work at once, and look at what they leave.

    Args:
        counts: of processes, and of registrations and promotions by each.
    """
    processes, registrations, promotions = counts
    tasks = [
        Work(number, place, str(files), template, scratch, registrations, promotions)
        for number in range(processes)
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = pool.map(work, tasks, chunksize=1)
    registry = Registry(place, files=files)
    all_versions = sorted(version for versions, _ in done for version in versions)
    assert all_versions == list(range(1, processes * registrations + 1))
    events = registry.history("cells").events
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    moved = {event.number for event in events if event.action == "promote"}
    assert moved == {number for _, numbers in done for number in numbers}
    assert len(moved) == processes * promotions
    assert len(events) == processes * (registrations + promotions)
    times = [event.at for event in events]
    assert times == sorted(set(times))
    champion = None
    for event in events:
        if event.action == "promote":
            assert event.previous_version == champion
            champion = event.version
        if event.number % 97 == 0:
            assert registry.show("cells", at=event.at).champion == champion
    assert registry.current_version("cells") == champion
    assert registry.verify().is_intact
    registry.close()
