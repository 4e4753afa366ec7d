"""Images that visitors sent: in memory, never on disk, and for a while only."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_BYTES = 256 << 20  # of all; beyond that the oldest are forgotten
MAX_IMAGES = 200  # of one upload


@dataclass(eq=False)
class Upload:
    """Images that were sent together, or one after another to the same page.

    Attributes:
        id: random, so that nobody guesses it.
        owner: the session that sent them; another one does not see them.
        images: file name and bytes of each.
    """

    id: str
    owner: str
    images: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(len(content) for _, content in self.images)


class Uploads:
    """The uploads of a server, the oldest first; several threads may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, owner: str, images: Sequence[tuple[str, bytes]], to: str = "") -> Upload:
        """Keep images, in an upload that is there and has room, or in a new one."""
        more_bytes = sum(len(content) for _, content in images)
        with self._lock:
            upload = self.find(to, owner)
            if (
                upload is None
                or len(upload.images) + len(images) > MAX_IMAGES
                or upload.size + more_bytes > MAX_BYTES
            ):
                upload = Upload(secrets.token_urlsafe(12), owner)
            upload.images.extend(images)
            self._kept[upload.id] = upload
            self._kept.move_to_end(upload.id)
            while self.size > MAX_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
            return upload

    @property
    def size(self) -> int:
        return sum(one.size for one in self._kept.values())

    def find(self, upload_id: str, owner: str) -> Upload | None:
        """An upload of this session, if it is still kept."""
        found = self._kept.get(upload_id)
        return found if found is not None and found.owner == owner else None
