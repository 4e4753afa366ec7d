"""Files that are no plain files, huge, or small and costly: refused, or decoded in turn."""

import io
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.errors import FileTooLarge, TooManyPixels, TruncatedImage, UnreadableFile
from holotype.imaging import decode as decode_module
from holotype.imaging.decode import decode, read_header
from holotype.imaging.decoding_memory import BYTES_PER_PIXEL, DecodingMemory, new_lock_file
from holotype.imaging.file_limits import require_plain_file

MEGAPIXEL = 10**6


def jpeg_of_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: valid, and each costs a pass."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PillowImage.fromarray(pixels).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def test_a_sparse_file_of_4_gb_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with path.open("wb") as file:
        file.write(b"II*\0\x08\0\0\0" + struct.pack("<H", 0))
        file.truncate(4 * 2**30)
    began = time.perf_counter()
    for read in (decode, read_header):
        with pytest.raises(FileTooLarge, match="4,294,967,296 bytes are more"):
            read(path)
    assert time.perf_counter() - began < 1


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableFile, match="this is a folder or a device"):
        decode(tmp_path / "pipe.png")
    with pytest.raises(UnreadableFile):
        require_plain_file(Path(os.devnull), "null")


def test_a_jpeg_of_thousands_of_scans_is_refused_by_its_header() -> None:
    assert decode(jpeg_of_scans(20)).pixels.size == (64, 64)
    bomb = jpeg_of_scans(5000)
    began = time.perf_counter()
    with pytest.raises(TooManyPixels, match="more than the 100 scans that are read"):
        decode(bomb)
    assert time.perf_counter() - began < 1


def test_what_looks_like_scans_within_a_comment_is_no_scan() -> None:
    content = jpeg_of_scans(1)
    comment = b"\xff\xda" * 1000
    marked = content[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment
    assert decode(marked + content[2:]).pixels.size == (64, 64)


def test_large_images_are_decoded_in_turn_over_all_threads() -> None:
    memory = DecodingMemory(limit_bytes=100 * MEGAPIXEL * BYTES_PER_PIXEL)
    peak, lock = [0], threading.Lock()

    def work() -> None:
        release = memory.reserve(40 * MEGAPIXEL)
        with lock:
            peak[0] = max(peak[0], memory.used_bytes)
        time.sleep(0.01)
        release()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert peak[0] == 80 * MEGAPIXEL * BYTES_PER_PIXEL
    assert memory.used_bytes == 0


def test_no_thread_waits_for_itself_and_none_for_ever() -> None:
    memory = DecodingMemory(limit_bytes=100 * MEGAPIXEL * BYTES_PER_PIXEL, patience_s=0.05)
    began = time.perf_counter()
    for _ in range(3):
        memory.reserve(90 * MEGAPIXEL)
    assert time.perf_counter() - began < 0.04  # what it held before is given back
    other = threading.Thread(target=memory.reserve, args=(90 * MEGAPIXEL,))
    other.start()
    other.join(timeout=10)
    assert not other.is_alive()


def test_one_image_larger_than_the_limit_is_decoded_alone() -> None:
    memory = DecodingMemory(limit_bytes=10 * MEGAPIXEL * BYTES_PER_PIXEL)
    release = memory.reserve(50 * MEGAPIXEL)
    assert memory.used_bytes == 50 * MEGAPIXEL * BYTES_PER_PIXEL
    release()
    release()  # giving back twice changes nothing
    assert memory.used_bytes == 0


_TRY_TURN = """
import fcntl, sys
try:
    fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free")
except OSError:
    print("held")
"""


def test_of_several_processes_one_at_a_time_decodes_more_than_its_part() -> None:
    lock_file = new_lock_file()
    assert lock_file is not None

    def other_process() -> str:
        words = [sys.executable, "-c", _TRY_TURN, str(lock_file)]
        return subprocess.run(
            words, pass_fds=(lock_file,), capture_output=True, text=True, check=True
        ).stdout.strip()

    memory = DecodingMemory(limit_bytes=100 * MEGAPIXEL * BYTES_PER_PIXEL)
    memory.share(lock_file, 4)
    release = memory.reserve(25 * MEGAPIXEL)
    assert other_process() == "free"
    release()
    release = memory.reserve(26 * MEGAPIXEL)
    assert other_process() == "held"
    release()
    assert other_process() == "free"


def test_an_image_holds_its_memory_until_it_is_no_longer_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = DecodingMemory()
    monkeypatch.setattr(decode_module, "DECODING_MEMORY", memory)
    file = io.BytesIO()
    PillowImage.new("L", (2000, 1000)).save(file, "PNG")
    image = decode(file.getvalue())
    assert memory.used_bytes == 2 * MEGAPIXEL * BYTES_PER_PIXEL
    assert image.pixels.size == (2000, 1000)
    del image
    assert memory.used_bytes == 0
    broken = file.getvalue()[:-30]
    with pytest.raises(TruncatedImage):
        decode(broken)
    assert memory.used_bytes == 0


PEAK = """
import io, resource
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from holotype.imaging import decode as module
from holotype.imaging.decoding_memory import DecodingMemory

module.DECODING_MEMORY = DecodingMemory(limit_bytes=600 << 20)
file = io.BytesIO()
image = Image.new("RGBA", (5000, 5000), (1, 2, 3, 100))
image.save(file, "WEBP", lossless=True, quality=0, method=0)

def work(_):
    module.decode(file.getvalue()).pixels.convert("F").resize((64, 64))

work(0)
alone = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(4) as threads:
    list(threads.map(work, range(12)))
print(alone, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_four_threads_take_little_more_than_one() -> None:
    """3.5 kB of WebP hold 25 million pixels; what is freed goes back to the system."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    alone, together = map(int, done.stdout.split())
    assert together < 1.4 * alone
