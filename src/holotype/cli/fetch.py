"""`holotype fetch`: a sample set as class folders."""

from pathlib import Path

from holotype.cli.output import show, tell_next


def fetch(
    name: str,
    /,
    *,
    output: Path,
    classes: int | None = None,
    images: int | None = None,
    seed: int = 0,
) -> int:
    """Synthetic pictures are drawn here; the others come from installed packages.

    Args:
        name: synthetic, digits, mnist5k, elpv or elpv-blocks.
        output: The directory to write; it must be new or empty.
        classes: How many classes, for synthetic (4).
        images: How many pictures in all, for synthetic (400).
        seed: Another seed draws other synthetic pictures.
    """
    from holotype.dataset.sources import fetch as fetch_source

    fetched = fetch_source(name, output, classes=classes, images=images, seed=seed)
    show(f"pictures  {fetched}")
    tell_next("holotype", "train", fetched)
    return 0
