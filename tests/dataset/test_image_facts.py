"""What is said of validation images is what a server says of the same images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.dataset.image_facts import FACTS, facts_of_files, image_facts
from holotype.imaging.preprocessing import Preprocessing
from holotype.serving.engine.worker import UploadedImage

SMALL = Preprocessing(32, 32, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3, bits=12)


@pytest.mark.parametrize("name", ["twelve_bits.png", "large.jpg"])
def test_files_are_read_as_a_server_reads_them(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (500, 500))
    levels = noise.astype(np.uint16) if name.endswith("png") else (noise >> 4).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    decode_at, _ = UploadedImage("<image>", content).open()
    served = image_facts(decode_at(SMALL.minimum_size, SMALL.decode_options), content)
    numbers, formats = facts_of_files([tmp_path / name], preprocessing=SMALL)
    assert {fact: numbers[fact][0] for fact in FACTS} == {f: getattr(served, f) for f in FACTS}
    assert formats == [served.format]
