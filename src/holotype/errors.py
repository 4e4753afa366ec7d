"""All errors that Holotype raises on purpose: one tree below `HolotypeError`.

Every message says what arrived, what was expected and what to do. `exit_code` is what the command
line exits with: 1 where the work failed, 2 where an option or argument was wrong.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path


class HolotypeError(Exception):
    """The root of all errors that Holotype raises on purpose."""

    exit_code = 1

    def __init__(self, *args: object) -> None:
        if args and isinstance(args[0], str):
            args = (with_full_stop(args[0]), *args[1:])
        super().__init__(*args)


def with_full_stop(sentence: str) -> str:
    """The sentence with a full stop at its end, where nothing else ends it.

    A line to copy, such as `pip install 'holotype[train]'`, stays as it is.
    """
    if not sentence or sentence[-1] in ".?!:…" or sentence.endswith("]'"):
        return sentence
    return f"{sentence}."


class UsageError(HolotypeError):
    """An option of a command or an argument of a call is wrong."""

    exit_code = 2


class WrongType(UsageError, TypeError):
    """What Python calls a type error: a number for an image, an argument that does not exist."""


class UnknownModel(UsageError):
    """No architecture of this name."""


class UnknownRecipe(UsageError):
    """No recipe of this name, and no such file."""


class UnknownSource(UsageError):
    """No data set of this name."""


class UnknownClass(UsageError):
    """The classifier has no class of this name."""


class InvalidRecipe(UsageError):
    """A recipe has an unknown key, a value of the wrong type, or an impossible combination."""


class InvalidRatios(UsageError):
    """Split ratios that are negative or do not sum to 1."""


class InvalidFolds(UsageError):
    """Fewer than two folds, or more than there are images or groups to fill."""


class InvalidSelection(UsageError):
    """A selection rule for runs that cannot be parsed, or names a metric that was not measured."""


class InvalidPattern(UsageError):
    """A regular expression that does not compile, lacks its group, or matches no file."""


class DatasetError(HolotypeError):
    """The data as a whole cannot be used."""


class EmptyDataset(DatasetError):
    """No images, or none that can be read."""


class SingleClass(DatasetError):
    """A classifier needs at least two classes."""


class SplitClassMismatch(DatasetError):
    """The folders train, val and test do not hold the same classes."""


class SplitLeakage(DatasetError):
    """Groups or copies of one image are in several parts of a given split."""


class StaleSplit(DatasetError):
    """The folders hold a split of other images, or with other settings."""


class InvalidArchive(DatasetError):
    """An archive that is broken, or that is refused as unsafe."""


class DownloadFailed(DatasetError):
    """A download that failed, or whose size or hash is wrong."""


class InvalidTable(DatasetError):
    """A CSV or Parquet table without the columns or values it needs."""


class FileError(HolotypeError):
    """One file cannot be used; work on the others continues.

    Attributes:
        file: as the caller named it.
        reason: what is wrong with it, without its name.
        advice: what was expected, or what to do.
    """

    def __init__(self, file: str | Path, reason: str, advice: str) -> None:
        self.file = str(file)
        self.reason = reason
        self.advice = advice
        super().__init__(f"{self.file!r}: {reason}; {advice}")

    def __reduce__(self) -> tuple[type["FileError"], tuple[str, str, str]]:
        return type(self), (self.file, self.reason, self.advice)


class ImageError(FileError):
    """One image cannot be used."""

    @property
    def problem(self) -> str:
        """The class name in snake case, such as ``truncated_image``."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class UnreadableFile(ImageError):
    """The file is missing, a folder, or not readable."""


class EmptyFile(ImageError):
    """A file of 0 bytes."""


class NotAnImage(ImageError):
    """The content is no image, whatever the extension."""


class UnsupportedFormat(ImageError):
    """An image of a format that Holotype does not read."""


class UnsupportedMode(ImageError):
    """Pixels whose range is unknown, such as 32-bit integers or floats."""


class TruncatedImage(ImageError):
    """The file is cut off or corrupt within its pixel data."""


class TooManyPixels(ImageError):
    """More pixels, or passes over them, than the limit; refused before decoding."""


class FileTooLarge(ImageError):
    """More bytes than the limit; refused before reading."""


class VolumeError(FileError):
    """One 3-D image cannot be used."""

    def __init__(
        self,
        file: str | Path,
        reason: str,
        advice: str = "expected a TIFF stack, a folder of slices or a .npy array of grey levels. "
        "Save it again, or move it away.",
    ) -> None:
        super().__init__(file, reason, advice)


class CorruptFile(HolotypeError):
    """A file that Holotype wrote earlier is damaged, or was changed to what makes no sense."""


class RunError(HolotypeError):
    """A run directory cannot be used."""


class NotARun(RunError):
    """The path is not a run directory."""


class RunExists(RunError):
    """The directory is not empty."""


class RunLocked(RunError):
    """Another process holds the lock of this run."""


class RunMismatch(RunError):
    """A run cannot be resumed with another recipe or other images."""


class NotComparable(RunError):
    """Runs with different test images or different classes."""


class CorruptCheckpoint(RunError):
    """A training checkpoint that cannot be read."""


class BundleError(HolotypeError):
    """A bundle cannot be written or loaded."""


class NotABundle(BundleError):
    """The path holds no bundle."""


class UnsealedBundle(BundleError):
    """The bundle of a run that is not finished: its decision is not sealed."""


class CorruptBundle(BundleError):
    """A file of the bundle is missing, malformed, or differs from its hash in the manifest."""


class ExternalDataRefused(BundleError):
    """An ONNX graph that reads tensors from other files, which is not allowed."""


class ParityFailed(BundleError):
    """Two exports of one classifier give different outputs on the same images."""


class ExportRefused(BundleError):
    """A bundle cannot be held by a format, or what would be written is not good enough."""


class WeightsError(HolotypeError):
    """Pretrained weights cannot be used."""


class WeightsUnavailable(WeightsError):
    """No source has the weights."""


class WeightsMismatch(WeightsError):
    """The weights do not fit the network."""


class TrainingDiverged(HolotypeError):
    """The loss is not finite."""


class OutOfMemory(HolotypeError):
    """Training does not fit into memory, even with smaller batches."""


class Terminated(HolotypeError):
    """The process got SIGTERM; a checkpoint was written."""

    exit_code = 143


class RegistryError(HolotypeError):
    """The registry cannot be used, or refuses what was asked of it."""


class NotARegistry(RegistryError):
    """There is no registry at this place, or it is of a newer Holotype."""


class UnknownVersion(RegistryError):
    """The registry has no such name, version or alias."""


class ChampionMoved(RegistryError):
    """An alias points at another version than the caller expected."""


class PromotionRefused(RegistryError):
    """A version that is surely worse than the champion, or that cannot be compared with it."""


class GalleryError(HolotypeError):
    """A gallery of individuals cannot be used, or refuses what was asked of it."""


class NotAGallery(GalleryError):
    """There is no gallery at this place."""


class UnknownIndividual(GalleryError, UsageError):
    """A gallery has no individual of this name."""

    exit_code = 2


class ProcessLost(HolotypeError):
    """Another process of a training that several do together has ended."""


class TrackingFailed(HolotypeError):
    """A tracker cannot be reached, or refuses what it is sent."""


class CacheUnwritable(HolotypeError):
    """The cache directory is full or read-only."""


class DamagedCache(UserWarning):
    """A file of the cache failed its checksum; it was removed, and its values are computed anew."""


class MissingExtra(HolotypeError):
    """A feature needs packages of an extra that is not installed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` with the most similar known word, or a full stop."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if not nearest:
        return "."
    if _may_print_alike(word, nearest[0]):
        return f"; did you mean {nearest[0]!r} ({nearest[0]!a}, and not {word!a})?"
    return f"; did you mean {nearest[0]!r}?"


def _may_print_alike(one: str, other: str) -> bool:
    """Whether two words have the same letters in another form, or differ beyond ASCII only."""
    forms = [unicodedata.normalize("NFKC", word) for word in (one, other)]
    return forms[0] == forms[1] or (
        len(one) == len(other)
        and all(max(pair) > "\x7f" for pair in zip(one, other, strict=True) if pair[0] != pair[1])
    )


def require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {value!r}, expected one of {', '.join(known)}.")
