"""What `holotype serve status` prints of one model."""

from collections.abc import Mapping
from typing import Any

from holotype.text_tables import text_table


def status_text(status: Mapping[str, Any]) -> str:
    """A model, its arms and their comparison, as `GET /v1/models/NAME/traffic` tells them."""
    champion, experiment = status["champion"], status["experiment"]
    lines = [f"{status['model']}: version {champion['version']}, digest {champion['digest'][:12]}"]
    for one in status["refused"]:
        lines.append(f"refused: {one['slot']} {one['version']}: {one['reason']}")
    if experiment is not None:
        lines += ["", *_experiment(experiment)]
    log = status["log"]
    if log is not None:
        dropped = log["dropped_full"] + log["dropped_failed"]
        lines += ["", f"request log: {log['written']:,} rows written, {dropped:,} dropped"]
        if log["last_failure"]:
            lines.append(f"request log: {log['last_failure']}")
    return "\n".join(lines)


def _experiment(found: Mapping[str, Any]) -> list[str]:
    how = "in shadow" if found["mode"] == "shadow" else f"{100 * found['share']:g} % of requests"
    lines = [f"challenger: version {found['challenger']['version']}, {how}", ""]
    header = ("arm", "requests", "images", "labelled", "accuracy", "p50 ms", "p95 ms", "p99 ms")
    lines.append(text_table(header, [_arm(*pair) for pair in found["arms"].items()]))
    if found["answered_by_both"]:
        lines.append(f"agreement: {found['agreement']:.1%} of {found['answered_by_both']:,} images")
    if found["sample_ratio"]["mismatch"]:
        lines.append(
            "sample ratio: the arms did not get their shares; the comparison means nothing"
        )
    lines.append(_test(found["test"]))
    rollout = found["rollout"]
    if rollout is not None:
        stages = ", ".join(f"{each:g}" for each in rollout["percentages"])
        reason = f": {rollout['reason']}" if rollout["reason"] else ""
        lines.append(
            f"rollout: stage {rollout['stage'] + 1} of {stages} %, {rollout['state']}{reason}"
        )
    return lines


def _arm(name: str, arm: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy = "" if arm["accuracy"] is None else f"{arm['accuracy']:.1%}"
    latency = ["" if each is None else f"{each:g}" for each in arm["latency_ms"].values()]
    images = sum(arm["images"].values())
    return (name, f"{arm['requests']:,}", f"{images:,}", f"{arm['labelled']:,}", accuracy, *latency)


def _test(test: Mapping[str, Any]) -> str:
    low, high = (f"{100 * test[f'difference_{end}']:+.1f}" for end in ("low", "high"))
    said = {
        "challenger": "the challenger is better",
        "champion": "the challenger is worse",
        None: "neither is surely better yet",
    }[test["winner"]]
    return f"challenger minus champion: {low} to {high} points at every look (95 %); {said}"
