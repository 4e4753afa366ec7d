"""Images that are kept beside the log because somebody asked for it; none is by default."""

from dataclasses import dataclass
from pathlib import Path

from holotype.errors import UsageError
from holotype.files import write_bytes
from holotype.serving.request_log.log_row import LogRow, iso_time

# Formats of requests -> how a file of it ends; nothing of the request's own file name is used.
_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


@dataclass(frozen=True)
class KeptImages:
    """How long and how much is kept of the images themselves.

    Attributes:
        max_days: older images are removed.
        max_bytes: the oldest images are removed beyond this size of all.
    """

    max_days: float = 30.0
    max_bytes: int = 5 << 30

    def __post_init__(self) -> None:
        if self.max_days <= 0 or self.max_bytes <= 0:
            raise UsageError(
                f"images are kept for {self.max_days} days and {self.max_bytes} bytes; expected "
                "numbers above 0."
            )


def keep_image(folder: Path, row: LogRow, content: bytes) -> str:
    """Write an image, named after the hash of its bytes, into a folder of its day.

    Returns:
        The path of the file below `folder`, with forward slashes.

    Raises:
        OSError: the disk is full or gone.
    """
    assert row.facts is not None
    day = iso_time(row.time_s)[:10]
    name = f"{day}/{row.facts.sha256}{_ENDINGS.get(row.facts.format, '.bin')}"
    if not (folder / name).exists():
        write_bytes(folder / name, content)
    return name
