"""The traffic of a server: which version answers each request, and what becomes of the answer.

Everything but feedback runs on the event loop, and takes microseconds.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from holotype.dataset.class_names import class_name, similar_class_name
from holotype.dataset.image_facts import ImageFacts
from holotype.errors import CorruptFile, HolotypeError
from holotype.files import read_json, reading, write_json
from holotype.serving.deployment import (
    AnsweredImage,
    KnownLabel,
    ModelVersion,
    NoFeedback,
    NoSuchImage,
    NoSuchRequest,
    Route,
)
from holotype.serving.request_log.feedback_store import FeedbackRow, FeedbackStore, feedback_rows
from holotype.serving.request_log.log_row import TOP_CLASSES, Arm, LogRow, Timing, hashed_key
from holotype.serving.request_log.log_writer import LogWriter
from holotype.serving.request_log.read_log import read_feedback
from holotype.serving.traffic.experiment import Experiment, ExperimentPlan
from holotype.serving.traffic.recent_answers import RecentAnswers, find_in_log

LOGGER = logging.getLogger("holotype.serve")


@dataclass
class RefusedVersion:
    """A version that was not taken into service, and why."""

    slot: str
    version: str
    reason: str
    time_s: float


@dataclass
class ServedModel:
    """One model in service.

    Attributes:
        champion: answers.
        challenger: is compared with it; None where nothing is compared.
        plan: how they are compared.
        experiment: the comparison; None where nothing is compared.
        exchanges: how often another champion was taken.
        refused: the last version of each slot that was not taken.
    """

    champion: ModelVersion
    plan: ExperimentPlan = field(default_factory=ExperimentPlan)
    challenger: ModelVersion | None = None
    experiment: Experiment | None = None
    exchanges: int = 0
    refused: dict[str, RefusedVersion] = field(default_factory=dict)


class VersionTraffic:
    """Versions in service, their comparison, the request log and feedback.

    Args:
        log: None keeps nothing, and then there is no feedback.
    """

    def __init__(self, log: LogWriter | None = None) -> None:
        self._log = log
        self._feedback = None if log is None else FeedbackStore(log.folder)
        self._models: dict[str, ServedModel] = {}
        self._being_taken = ""
        self._recent = RecentAnswers()
        self._looking_back = asyncio.Lock()

    # What the API asks

    @property
    def wants_image_facts(self) -> bool:
        return self._log is not None

    @property
    def champions(self) -> Mapping[str, ModelVersion]:
        return {name: served.champion for name, served in self._models.items()}

    def route(self, model: str, key: str) -> Route:
        served = self._models[model]
        return served.experiment.route(key) if served.experiment else Route(served.champion)

    def on_answered(self, answered: AnsweredImage) -> None:
        arm: Arm = answered.route.arm
        if answered.answered_by is not answered.route.version:
            arm = "shadow"
        experiment = self._experiment(answered.route.experiment)
        if experiment is not None:
            experiment.count_answer(answered, arm)
        if self._log is None:
            return
        if answered.predicted is not None:
            self._remember(answered, arm, experiment)
        self._log.append(log_row(answered, arm), answered.content)

    async def add_feedback(
        self, request_id: str, image: int, label: str, client: str = ""
    ) -> KnownLabel:
        """The true class of an image that was answered; on disk when this returns.

        It may be a class that the model does not have; what is returned says so.

        Raises:
            NoSuchRequest: it is not known.
            NoSuchImage: the request is known, and no image at this place was answered.
            NoFeedback: nothing is kept here.
            OSError: the disk is full.
        """
        if self._log is None or self._feedback is None:
            raise NoFeedback("this server keeps no request log, and so no feedback: use --log.")
        answer = self._recent.of(request_id, image)
        if not answer.predicted:
            answer = await self._look_back(request_id, image)
        row = replace(answer, label=label, client=client, time_s=time.time())
        await asyncio.to_thread(self._feedback.add, [row])
        experiment = self._experiment(answer.experiment)
        if experiment is not None:
            experiment.count_label(row)
        served = self._models.get(answer.model)
        return KnownLabel() if served is None else _known_label(label, served.champion.classes)

    # What the exchange of versions asks

    def serve(self, champion: ModelVersion, plan: ExperimentPlan | None = None) -> None:
        """Serve a further model."""
        self._models[champion.model] = ServedModel(champion, plan or ExperimentPlan())

    def of(self, model: str) -> ServedModel:
        return self._models[model]

    async def set_champion(self, champion: ModelVersion) -> None:
        """Answer with another version from the next request on."""
        served = self._models[champion.model]
        experiment = await self._compare(served, champion, served.challenger)
        served.champion, served.experiment = champion, experiment
        served.exchanges += 1

    async def set_challenger(self, model: str, challenger: ModelVersion | None) -> None:
        """Compare another version with the champion, or none."""
        served = self._models[model]
        experiment = await self._compare(served, served.champion, challenger)
        served.challenger, served.experiment = challenger, experiment

    @property
    def digests(self) -> set[str]:
        """Of all versions that may be asked."""
        found = {served.champion.digest for served in self._models.values()}
        return found | {each.challenger.digest for each in self._models.values() if each.challenger}

    @contextmanager
    def taking(self, digest: str) -> Iterator[None]:
        """While a version is checked: nobody may close it, though it answers no request yet."""
        self._being_taken = digest
        try:
            yield
        finally:
            self._being_taken = ""

    def is_needed(self, digest: str) -> bool:
        """Whether a version may be asked, or is about to be."""
        return digest == self._being_taken or digest in self.digests

    def decide_rollouts(self) -> None:
        """Let rollouts go on, hold or stop; called every second or so."""
        for name, served in self._models.items():
            if served.experiment is not None and served.experiment.decide():
                rollout = served.experiment.rollout
                if rollout is None:
                    LOGGER.warning("%s: the arms do not get the shares that were set", name)
                else:
                    LOGGER.info(
                        "rollout of %s: %g %% (%s) %s",
                        name, 100 * rollout.share, rollout.state, rollout.reason,
                    )  # fmt: skip
                self._save_state(name, served.experiment)

    def status(self, model: str) -> dict[str, Any]:
        """What is in service and how it compares, for JSON."""
        served = self._models[model]
        return {
            "model": model,
            "champion": {"version": served.champion.version, "digest": served.champion.digest},
            "exchanges": served.exchanges,
            "refused": [vars(each) for each in served.refused.values()],
            "experiment": served.experiment and served.experiment.to_json(),
            "log": None if self._log is None else vars(self._log.status()),
        }

    def gauges(self) -> dict[str, tuple[str, float]]:
        """For `/metrics`: name -> what it is, its value."""
        models = self._models.values()
        found = {
            "holotype_version_exchanges": (
                "How often another champion was taken.", float(sum(m.exchanges for m in models)),
            ),
            "holotype_versions_refused": (
                "Versions that should be in service and were refused.",
                float(sum(len(m.refused) for m in models)),
            ),
        }  # fmt: skip
        if self._log is None:
            return found
        status = self._log.status()
        return found | {
            "holotype_log_rows_written": ("Rows in the request log.", status.written),
            "holotype_log_rows_dropped": ("Rows that the log could not take.", status.dropped),
            "holotype_log_rows_waiting": ("Rows that are not written yet.", status.waiting),
            "holotype_log_failures": ("Failures of writing, fsync or rolling.", status.failures),
            "holotype_log_alive": ("Whether the log is being written.", float(status.alive)),
        }

    def close(self) -> None:
        """Write what waits."""
        for name, served in self._models.items():
            if served.experiment is not None:
                self._save_state(name, served.experiment)
        if self._feedback is not None:
            self._feedback.close()
        if self._log is not None:
            self._log.close()

    # How it works

    async def _look_back(self, request_id: str, image: int) -> FeedbackRow:
        """An answer that is not remembered, from the log.

        Raises:
            NoSuchRequest, NoSuchImage: there is none.
        """
        assert self._log is not None
        async with self._looking_back:
            found = await asyncio.to_thread(find_in_log, self._log.folder, request_id)
        if image in found and found[image].predicted:
            return found[image]
        found |= self._recent.of_request(request_id)
        said = f"no image {image} of a request {request_id} was answered here."
        if not found:
            raise NoSuchRequest(said)
        raise NoSuchImage(said, sorted(place for place, row in found.items() if row.predicted))

    def _experiment(self, identity: str) -> Experiment | None:
        """The comparison of this id, if it still goes on."""
        if identity:
            for served in self._models.values():
                if served.experiment is not None and served.experiment.id == identity:
                    return served.experiment
        return None

    def _remember(self, answered: AnsweredImage, arm: Arm, experiment: Experiment | None) -> None:
        assert answered.predicted is not None
        recent = self._recent.of(answered.request_id, answered.image)
        by = answered.answered_by
        predicted = by.classes[answered.predicted]
        if arm == "shadow":
            recent = replace(recent, shadow_digest=by.digest, shadow_predicted=predicted)
        else:
            recent = replace(
                recent, arm=arm, share=answered.route.share, experiment=answered.route.experiment,
                key=hashed_key(answered.key), model=by.model, digest=by.digest,
                predicted=predicted, answered_s=answered.time,
            )  # fmt: skip
        self._recent.keep(recent)
        if experiment is not None and recent.predicted and recent.shadow_predicted:
            experiment.count_agreement(recent.predicted == recent.shadow_predicted)

    async def _compare(
        self, served: ServedModel, champion: ModelVersion, challenger: ModelVersion | None
    ) -> Experiment | None:
        """The comparison of two versions: the one that goes on, or a new one."""
        if challenger is None or challenger.digest == champion.digest:
            return None
        experiment = Experiment(served.plan, champion, challenger)
        if served.experiment is not None and served.experiment.id == experiment.id:
            return served.experiment
        if self._log is not None:
            await asyncio.to_thread(self._restore, champion.model, experiment)
        return experiment

    def _restore(self, model: str, experiment: Experiment) -> None:
        """Go on with a comparison that another process began."""
        assert self._log is not None
        file = rollout_file(self._log.folder, model)
        try:
            if file.is_file():
                saved = read_json(file)
                with reading(file):
                    experiment.restore(saved)
        except CorruptFile as error:
            LOGGER.warning("the rollout of %s begins anew: %s", model, error)
        try:
            found = read_feedback(self._log.folder, experiment=experiment.id)
        except HolotypeError as error:
            LOGGER.warning("feedback of %s is not counted again: %s", experiment.id, error)
            return
        for row in feedback_rows(found):
            experiment.count_label(row)

    def _save_state(self, model: str, experiment: Experiment) -> None:
        if self._log is None or not (experiment.rollout or experiment.is_mismatch):
            return
        try:
            write_json(rollout_file(self._log.folder, model), experiment.state())
        except OSError as error:
            LOGGER.warning("the rollout of %s was not saved: %s", model, error)


def _known_label(label: str, classes: Sequence[str]) -> KnownLabel:
    """By the rule of retraining, which takes no label for new that differs by its form only."""
    label, names = class_name(label), [class_name(name) for name in classes]
    known = label in names
    return KnownLabel(known, None if known else similar_class_name(label, names))


def rollout_file(log_folder: Path, model: str) -> Path:
    """Where the state of a comparison is kept, so that a new process goes on with it."""
    return log_folder / f"rollout-{model}.json"


def log_row(answered: AnsweredImage, arm: Arm) -> LogRow:
    """What is logged of an answer."""
    by = answered.answered_by
    top, probabilities = (), ()
    if answered.probabilities_C is not None:
        order = np.argsort(-answered.probabilities_C, kind="stable")[:TOP_CLASSES]
        top = tuple(by.classes[c] for c in order)
        probabilities = tuple(answered.probabilities_C.tolist())
    return LogRow(
        request_id=answered.request_id,
        model=by.model,
        version=by.version,
        digest=by.digest,
        outcome=answered.outcome,
        timing=Timing(
            answered.total_ms, answered.queue_ms, answered.decode_ms,
            max(0.0, answered.run_ms - answered.decode_ms),
        ),
        image=answered.image,
        arm=arm,
        share=answered.route.share,
        experiment=answered.route.experiment,
        key="" if answered.key == answered.request_id else answered.key,
        client=answered.client,
        top_classes=top,
        probabilities=probabilities,
        unknown=answered.unknown,
        set_size=None if answered.set is None else len(answered.set),
        embedding_D=answered.embedding_D,
        facts=None if answered.image_facts is None else ImageFacts(**answered.image_facts),
    )  # fmt: skip
