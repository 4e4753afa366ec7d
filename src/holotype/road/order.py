"""What one call of `train` asks for, once its pictures are known."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holotype.narration import Narrator
from holotype.road.audited import Audited
from holotype.run import Run

if TYPE_CHECKING:
    from holotype.dataset.findings import Findings
    from holotype.dataset.leaks import OnLeak
    from holotype.training.disk import DiskBudget
    from holotype.training.recipe import Recipe

Published = Sequence[tuple[str, float, str]]  # who, accuracy as a fraction, what differs


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """What one call of `train` asks for, once its pictures are known.

    Attributes:
        recipe: resolved.
        name: what the classifier is called.
        sources: the pictures, as they were named.
        audited: the pictures, unusable ones too, and what the audit found.
        options: how labels and groups are read, by the option's name.
        others: see `train`.
    """

    recipe: "Recipe"
    name: str
    sources: Sequence[str]
    audited: Audited
    device: str
    narrator: Narrator
    on_leak: "OnLeak" = "keep"
    exclude: str | None = None
    save_memory: bool = False
    budget: "DiskBudget | None" = None
    resume: bool = False
    published: Published = ()
    notes: Sequence[str] = ()
    options: Mapping[str, str | bool | None] = field(default_factory=dict)

    @property
    def findings(self) -> "Findings":
        """Of the audit."""
        return self.audited.findings

    @property
    def data(self) -> str:
        """The pictures, in words."""
        return ", ".join(self.sources)

    def command(self, run: Run, *more: str) -> str:
        """What repeats the run; a file of the user's is run only where it is named."""
        from holotype.models.catalog import is_own

        words = ["holotype", "train", *self.sources, "--recipe", str(run.recipe), *more]
        words += ["--model", self.recipe.model] if is_own(self.recipe.model) else []
        words += ["--on-leak", self.on_leak] if self.on_leak != "keep" else []
        words += ["--exclude", self.exclude] if self.exclude else []
        for option, value in self.options.items():
            words += [option] if value is True else [option, value] if value else []
        return shlex.join(words)


def write_environment(run: Run, device: str) -> None:
    import os
    import platform

    from holotype.files import write_json
    from holotype.training.train import made_by

    write_json(
        run.environment,
        {
            "command": shlex.join(sys.argv),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "device": device,
            "versions": made_by(),
        },
    )
