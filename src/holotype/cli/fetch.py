"""`holotype fetch`: a data set as class folders."""

from pathlib import Path

from holotype.cli.output import print_next_command, print_result
from holotype.dataset.sources.fetch import fetch as fetch_source
from holotype.progress import to_stderr


def fetch(
    name: str,
    /,
    *,
    output: Path,
    classes: int | None = None,
    images: int | None = None,
    seed: int | None = None,
    sha256: str | None = None,
) -> int:
    """Samples are drawn here or come from installed packages; the rest is downloaded.

    Args:
        name: synthetic, synthetic-cats-dogs, synthetic-turtles, micro-ct, digits, mnist5k, elpv or
            elpv-blocks; a set of the field, such as minc-2500, oxford-pets or dogs-vs-cats;
            kaggle:OWNER/NAME or kaggle-competition:NAME; the http address of a zip or tar archive;
            or its path.
        output: The directory to write; it must be new or empty.
        classes: How many classes, for synthetic (4), or turtles, for synthetic-turtles (8).
        images: How many images in all, for synthetic (400) and synthetic-cats-dogs (240).
        seed: Another seed draws other images, of the synthetic sets and micro-ct (0).
        sha256: What the archive must hash to, or it is refused.
    """
    fetched = fetch_source(
        name,
        output,
        classes=classes,
        images=images,
        seed=seed,
        sha256=sha256,
        progress=to_stderr(),
    )
    print_result(f"images  {fetched}")
    print_next_command("holotype", "train", fetched)
    return 0
