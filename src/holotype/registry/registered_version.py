"""What the registry answers: a version, all versions of a name, all names, and events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import Metrics
from holotype.notebook import data_frame, html_result, html_table, shorten
from holotype.progress import pluralize
from holotype.registry.bundle_store import BundleStore
from holotype.registry.registered_name import CHAMPION
from holotype.registry.registry_events import short_time
from holotype.text_tables import printable, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

SHOWN_VERSIONS = 20  # of a name, the newest
SHOWN_MODELS = 50


@dataclass(frozen=True, repr=False)
class RegisteredVersion:
    """One version of a classifier.

    Attributes:
        name, version: the number counts from 1 for each name; none is used twice.
        at, who, reason: when (UTC), by whom and why it was registered.
        aliases: those that point at it, now or at the time that was asked for.
        files: where the registry stores bundles and runs.
        bundle_sha256: the bundle's identity.
        record_sha256: of what its run recorded; "" of a bundle without a run.
        source: where it was registered from.
        model, data: architecture, and what the data set is called.
        data_sha256: a hash of bytes, labels, groups and parts of all images; "" where unknown.
        git_commit: of the directory that the training was started in; "" where unknown.
        part, num_images, accuracy: with its interval; None where its run has no report.
        removed_at: when it was removed; None while it is there.
        metrics, recipe, environment: all scores, the YAML, and `environment.json`; None where many
            versions are listed.
    """

    name: str
    version: int
    at: str
    who: str
    reason: str
    aliases: tuple[str, ...]
    files: Path
    bundle_sha256: str
    record_sha256: str
    source: str
    model: str
    data: str
    data_sha256: str
    git_commit: str
    part: str
    num_images: int | None
    accuracy: Estimate | None
    removed_at: str | None = None
    metrics: Metrics | None = None
    recipe: str | None = None
    environment: Mapping[str, Any] | None = None

    @property
    def bundle(self) -> Path:
        """The directory of its bundle."""
        return BundleStore(self.files).bundle(self.bundle_sha256)

    @property
    def path(self) -> Path:
        """Its run as far as it is kept, or its bundle; either is taken wherever a run is."""
        if not self.record_sha256:
            return self.bundle
        return BundleStore(self.files).record(self.record_sha256)

    @property
    def uri(self) -> str:
        """The address that is taken wherever a run is."""
        return f"registry://{self.name}/{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Everything but the recipe's text and the environment where they were not read."""
        found: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "uri": self.uri,
            "aliases": list(self.aliases),
            "registered_at": self.at,
            "registered_by": self.who,
            "reason": self.reason,
            "path": str(self.path),
            "bundle": str(self.bundle),
            "bundle_sha256": self.bundle_sha256,
            "source": self.source,
            "model": self.model,
            "data": self.data,
            "data_sha256": self.data_sha256 or None,
            "git_commit": self.git_commit or None,
            "part": self.part or None,
            "num_images": self.num_images,
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "removed_at": self.removed_at,
        }
        if self.metrics is not None:
            found["metrics"] = {name: score.to_json() for name, score in self.metrics.items()}
            found["recipe"] = self.recipe
            found["environment"] = self.environment
        return found

    def row(self) -> tuple[object, ...]:
        """Of a table of versions; see `VERSION_HEADER`."""
        aliases = "removed" if self.removed_at else shorten(", ".join(self.aliases), 18)
        score = "" if self.accuracy is None else str(self.accuracy)
        return self.version, aliases, score, shorten(self.model, 18), short_time(self.at)

    def rows(self) -> list[tuple[str, str]]:
        """What is known of it, in words."""
        score = "not reported"
        if self.accuracy is not None:
            score = f"{self.accuracy} on {self.num_images:,} images ({self.part})"
        known = [
            ("registered", f"{short_time(self.at)} UTC by {self.who}"),
            ("removed", f"{short_time(self.removed_at)} UTC" if self.removed_at else ""),
            ("aliases", ", ".join(self.aliases)),
            ("reason", self.reason),
            ("model", self.model),
            ("data", f"{self.data} {self.data_sha256[:12]}".rstrip()),
            ("accuracy", score),
            ("commit", self.git_commit[:12]),
            ("trained in", self.source),
            ("digest", self.bundle_sha256),
        ]
        return [(what, value) for what, value in known if value]

    def __str__(self) -> str:
        lines = [f"{self.name}/{self.version}"]
        lines += [f"  {what:<10}  {value}" for what, value in self.rows()]
        return printable("\n".join(lines))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        return html_result(f"{self.name}/{self.version}", html_table(["", ""], self.rows()))


VERSION_HEADER = ("version", "aliases", "accuracy", "model", "registered (UTC)")


@dataclass(frozen=True, repr=False)
class RegisteredModel:
    """All versions of a name, the newest first, and where its aliases point.

    Attributes:
        at: the time that was asked for; None: now.
        aliases: the version of each.
    """

    name: str
    aliases: Mapping[str, int]
    versions: Sequence[RegisteredVersion]
    at: str | None = None

    @property
    def champion(self) -> int | None:
        return self.aliases.get(CHAMPION)

    def to_frame(self) -> "pd.DataFrame":
        """One row per version."""
        found = [version.to_json() for version in self.versions]
        keys = ("version", "aliases", "registered_at", "registered_by", "reason", "model", "data")
        columns = {key: [one[key] for one in found] for key in keys}
        scores = [version.accuracy for version in self.versions]
        columns["accuracy"] = [None if score is None else score.value for score in scores]
        columns["accuracy_low"] = [None if score is None else score.low for score in scores]
        columns["accuracy_high"] = [None if score is None else score.high for score in scores]
        columns["bundle_sha256"] = [one["bundle_sha256"] for one in found]
        columns["removed_at"] = [one["removed_at"] for one in found]
        return data_frame(columns)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "at": self.at,
            "champion": self.champion,
            "aliases": dict(self.aliases),
            "versions": [version.to_json() for version in self.versions],
        }

    def __str__(self) -> str:
        rows = [version.row() for version in self.versions]
        return f"{self._title}\n{text_table(VERSION_HEADER, rows, max_rows=SHOWN_VERSIONS)}"

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        rows = [version.row() for version in self.versions]
        return html_result(self._title, html_table(VERSION_HEADER, rows))

    @property
    def _title(self) -> str:
        count = sum(version.removed_at is None for version in self.versions)
        points = ", ".join(f"{alias} {version}" for alias, version in self.aliases.items())
        when = f" at {short_time(self.at)} UTC" if self.at else ""
        return f"{self.name}{when}: {pluralize(count, 'version')}; {points or 'no alias'}"


MODEL_HEADER = ("name", "versions", "champion", "accuracy", "newest")


@dataclass(frozen=True, repr=False)
class RegisteredModels:
    """All names of a registry.

    Attributes:
        models: one row per name, see `to_json`.
    """

    place: str
    models: Sequence[Mapping[str, Any]]

    def to_frame(self) -> "pd.DataFrame":
        """One row per name."""
        keys = ("name", "versions", "champion", "newest", "newest_at")
        return data_frame({key: [model[key] for model in self.models] for key in keys})

    def to_json(self) -> dict[str, Any]:
        """For each name how many versions there are, its aliases, its newest and its champion.

        The champion is an object with version, path, bundle, bundle_sha256, model and accuracy.
        """
        return {"registry": self.place, "models": list(self.models)}

    def _rows(self) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for model in self.models:
            champion = model["champion"] or {}
            score = champion.get("accuracy")
            rows.append(
                (
                    shorten(model["name"], 28),
                    model["versions"],
                    champion.get("version", "none"),
                    "" if score is None else str(Estimate(**score)),
                    model["newest"],
                )
            )
        return rows

    def __str__(self) -> str:
        title = f"{pluralize(len(self.models), 'classifier')} in {self.place}"
        return f"{title}\n{text_table(MODEL_HEADER, self._rows(), max_rows=SHOWN_MODELS)}"

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        return html_result(self.place, html_table(MODEL_HEADER, self._rows()))
