"""Every error that a user can meet, drawn as one tree.

    HolotypeError                    exit code 1: the work failed
    ├── UsageError                   exit code 2: the words were wrong
    │   ├── UnknownModel
    │   ├── UnknownRecipe
    │   ├── UnknownSource
    │   ├── UnknownClass
    │   ├── InvalidRecipe
    │   ├── InvalidRatios
    │   ├── InvalidFolds
    │   ├── InvalidSelection
    │   └── InvalidPattern
    ├── DatasetError
    │   ├── EmptyDataset
    │   ├── SingleClass
    │   ├── SplitClassMismatch
    │   ├── SplitLeakage
    │   ├── StaleSplit
    │   ├── InvalidArchive
    │   ├── DownloadFailed
    │   └── InvalidTable
    ├── ImageError                 costs one image only: carries file, reason and advice
    │   ├── UnreadableFile
    │   ├── EmptyFile
    │   ├── NotAnImage
    │   ├── UnsupportedFormat
    │   ├── UnsupportedMode
    │   ├── TruncatedImage
    │   └── TooManyPixels
    ├── VolumeError                costs one volume only: carries file and reason
    ├── RunError
    │   ├── NotARun
    │   ├── RunExists
    │   ├── RunLocked
    │   ├── RunMismatch
    │   ├── NotComparable
    │   └── CorruptCheckpoint
    ├── BundleError
    │   ├── NotABundle
    │   ├── CorruptBundle
    │   ├── ExternalDataRefused
    │   └── ParityFailed
    ├── WeightsError
    │   ├── WeightsUnavailable
    │   └── WeightsMismatch
    ├── TrainingDiverged
    ├── OutOfMemory
    ├── Terminated                exit code 143, as the shell says of SIGTERM
    ├── CacheUnwritable
    └── MissingExtra

Every message says what arrived, what was expected and what to do.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path


class HolotypeError(Exception):
    """The root: catching it catches everything that Holotype raises on purpose."""

    exit_code = 1


class UsageError(HolotypeError):
    """The words of a command or the arguments of a call were wrong."""

    exit_code = 2


class UnknownModel(UsageError):
    """No architecture of this name."""


class UnknownRecipe(UsageError):
    """No recipe of this name, and no such file."""


class UnknownSource(UsageError):
    """No sample set of this name."""


class UnknownClass(UsageError):
    """The classifier has no class of this name."""


class InvalidRecipe(UsageError):
    """A recipe has an unknown key, a value of the wrong type, or an impossible combination."""


class InvalidRatios(UsageError):
    """Split ratios that are negative or do not sum to 1."""


class InvalidFolds(UsageError):
    """A number of folds that the images cannot fill."""


class InvalidSelection(UsageError):
    """A rule for choosing among runs that cannot be read, or asks for what was not measured."""


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
    """Groups or copies stand on both sides of the split that came with the data."""


class StaleSplit(DatasetError):
    """The folders hold a split of other images, or with other settings."""


class InvalidArchive(DatasetError):
    """An archive that is broken, or asks for what no data set needs."""


class DownloadFailed(DatasetError):
    """A download that did not come, or is not what was announced."""


class InvalidTable(DatasetError):
    """A CSV or Parquet table without the columns or values it needs."""


class ImageError(HolotypeError):
    """One image cannot be used; the others go on.

    Attributes:
        file: the image, as the caller named it.
        reason: what is wrong with it, without the file's name.
        advice: what the user can do about it.
    """

    def __init__(self, file: str | Path, reason: str, advice: str) -> None:
        self.file = str(file)
        self.reason = reason
        self.advice = advice
        super().__init__(f"{self.file!r}: {reason}; {advice}")

    @property
    def problem(self) -> str:
        """The kind of refusal as one word for tables, such as ``truncated_image``."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class UnreadableFile(ImageError):
    """The file cannot be opened: missing, a folder, or not permitted."""


class EmptyFile(ImageError):
    """A file of 0 bytes."""


class NotAnImage(ImageError):
    """The bytes are no image, whatever the file's name says."""


class UnsupportedFormat(ImageError):
    """An image, but of a format that the policy does not admit."""


class UnsupportedMode(ImageError):
    """Pixels whose range is unknown, such as 32-bit integers or floats."""


class TruncatedImage(ImageError):
    """The file ends, or breaks, before its pixels do."""


class TooManyPixels(ImageError):
    """More pixels than the cap; refused before any is decoded."""


class VolumeError(HolotypeError):
    """One 3-D image cannot be used; the others go on.

    Attributes:
        file: the volume, as the caller named it.
        reason: what is wrong with it, without the file's name.
        advice: what was expected, and what to do.
    """

    def __init__(
        self,
        file: str | Path,
        reason: str,
        advice: str = "expected a TIFF stack, a folder of slices or a .npy array of grey levels. "
        "Save it again, or move it away.",
    ) -> None:
        self.file = str(file)
        self.reason = reason
        self.advice = advice
        super().__init__(f"{self.file!r}: {reason}; {advice}")


class RunError(HolotypeError):
    """A run directory cannot be used."""


class NotARun(RunError):
    """The path is not a run directory."""


class RunExists(RunError):
    """The directory already holds something."""


class RunLocked(RunError):
    """Another process is at work in this run."""


class RunMismatch(RunError):
    """A run is asked to go on with another recipe or other images than it began with."""


class NotComparable(RunError):
    """Runs that were not tested on the same images, or know different classes."""


class CorruptCheckpoint(RunError):
    """What a run left to go on from makes no sense."""


class BundleError(HolotypeError):
    """A bundle cannot be written, or must not be loaded."""


class NotABundle(BundleError):
    """The path holds no bundle."""


class CorruptBundle(BundleError):
    """A file is missing, has another hash than the manifest says, or makes no sense."""


class ExternalDataRefused(BundleError):
    """An ONNX graph that reads tensors from other files."""


class ParityFailed(BundleError):
    """Two forms of one classifier disagree on real images."""


class WeightsError(HolotypeError):
    """Pretrained weights cannot be used."""


class WeightsUnavailable(WeightsError):
    """No source has the weights."""


class WeightsMismatch(WeightsError):
    """The weights do not fit the network."""


class TrainingDiverged(HolotypeError):
    """The loss is no longer a finite number."""


class OutOfMemory(HolotypeError):
    """Training does not fit into memory, with smaller batches neither."""


class Terminated(HolotypeError):
    """The process was told to stop, and left what it had."""

    exit_code = 143


class CacheUnwritable(HolotypeError):
    """What was computed cannot be kept."""


class MissingExtra(HolotypeError):
    """A part of Holotype that needs packages which are not installed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known word, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
