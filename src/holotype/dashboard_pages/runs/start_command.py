"""A training as a command line: made of the fields of a form, shown, and started as it is shown."""

import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from holotype.architectures.catalog import is_custom_model
from holotype.dataset.reading.source_types import source_name
from holotype.dataset.safe_filenames import safe_filename
from holotype.errors import UsageError
from holotype.files import cache_directory
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.run_directory import next_run_path
from holotype.training.config.resolve import recipe_names

NUMBERS = ("seed", "image_size", "epochs", "batch_size", "folds")
TABLES = ("exclude", "relabel")
FIELDS = ("data", "name", "recipe", "model", *NUMBERS, *TABLES, "settings")
MAX_SETTINGS = 50


@dataclass(frozen=True)
class StartedTraining:
    """A training that this server has started.

    Attributes:
        run: its directory.
        words: after `holotype`.
        process: of this machine; it outlives the server.
        log: what it says.
    """

    run: Path
    words: tuple[str, ...]
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def command(self) -> str:
        return command_line(self.words)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    @property
    def has_begun(self) -> bool:
        """Whether the run is there to look at: its images have been audited and split."""
        return (self.run / "recipe.yaml").is_file()

    def last_words(self) -> str:
        """The end of what it said."""
        try:
            said = self.log.read_bytes()[-8000:].decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(said.splitlines()[-15:])


def train_words(fields: Mapping[str, str], folder: Path) -> list[str]:
    """The words of a command line after `holotype`, checked as `train` checks them.

    Args:
        fields: of `FIELDS`; empty ones are left to `train`.
        folder: the run is made in it.

    Raises:
        HolotypeError: something is missing or makes no sense.
    """
    given = {name: fields.get(name, "").strip() for name in FIELDS}
    data = Path(given["data"])
    if not given["data"] or given["data"].startswith("-") or not data.exists():
        raise UsageError(
            f"the data is {given['data']!r}; expected a folder with one folder per class, or a "
            "table, on the machine of this server."
        )
    output = _output(given["name"], data, folder)
    words = ["train", str(data.absolute()), "--output", str(output)]
    if given["recipe"]:
        if given["recipe"] not in recipe_names():
            raise UsageError(f"{given['recipe']!r} is no recipe of Holotype; choose one.")
        words += ["--recipe", given["recipe"]]
    if given["model"]:
        words += ["--model", given["model"]]
    for name in NUMBERS:
        if given[name]:
            words += [f"--{name.replace('_', '-')}", str(_number(name, given[name]))]
    for name in TABLES:
        if given[name]:
            words += [f"--{name}", str(Path(given[name]).absolute())]
    for line in given["settings"].splitlines()[:MAX_SETTINGS]:
        if line.strip():
            words += ["--set", _setting(line.strip())]
    _check(words, given)
    return words


def command_line(words: Sequence[str]) -> str:
    """The command as a shell takes it."""
    return shlex.join(["holotype", *words])


def start_training(words: Sequence[str], run: Path) -> StartedTraining:
    """Start exactly this command; it goes on when the server ends."""
    logs = cache_directory() / "dashboard" / "started"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{safe_filename(run.name)}.log"
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, "-m", "holotype", *words],
            stdin=subprocess.DEVNULL, stdout=opened, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return StartedTraining(run, tuple(words), process, log)


def output_of(words: Sequence[str]) -> Path:
    """The directory of the run that a command makes."""
    return Path(words[words.index("--output") + 1])


def _output(name: str, data: Path, folder: Path) -> Path:
    folder = folder.absolute()
    if not name:
        return next_run_path(safe_filename(source_name(data)), folder)
    if name != safe_filename(name) or name.startswith(("-", ".")):
        raise UsageError(f"{name!r} cannot be the name of a run; expected letters and digits.")
    if (folder / name).exists():
        raise UsageError(f"{name!r} is there already; choose another name.")
    return folder / name


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r}; expected a whole number.") from None


def _setting(line: str) -> str:
    key, equals, _ = line.partition("=")
    if not equals or not key.replace(".", "").replace("_", "").isalnum():
        raise UsageError(f"{line!r} is no setting; expected KEY=VALUE, one in each line.")
    return line


def _check(words: Sequence[str], given: Mapping[str, str]) -> None:
    """Refuse what `train` would refuse before it reads an image, and what would run a file."""
    settings = [word for before, word in pairwise(words) if before == "--set"]
    short = {name: int(given[name]) for name in ("epochs", "batch_size") if given[name]}
    request = TrainingRequest(
        data=given["data"],
        recipe=given["recipe"] or None,
        model=given["model"] or None,
        seed=int(given["seed"]) if given["seed"] else None,
        image_size=int(given["image_size"]) if given["image_size"] else None,
        overrides=[*(f"{key}={value}" for key, value in short.items()), *settings],
    )
    named = [given["model"], *(line.partition("=")[2] for line in settings)]
    if any(".py:" in one for one in named) or is_custom_model(request.resolve_recipe().model):
        raise UsageError(
            "a model from a Python file runs that file, which no page may start; use the command "
            "line on that machine."
        )
