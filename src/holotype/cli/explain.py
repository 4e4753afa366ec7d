"""`holotype explain`: which part of a picture speaks for a class."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.output import show
from holotype.errors import UsageError


def explain(
    run: Path,
    picture: Path,
    /,
    *,
    output: Path,
    class_name: Annotated[str | None, Parameter(name="--class")] = None,
) -> int:
    """Write the picture with a heatmap over it.

    Args:
        run: A run directory, or a bundle.
        picture: The picture to explain.
        output: The PNG file to write.
        class_name: The class to look for; the predicted one unless said otherwise.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(f"--output {str(output)!r} must end in .png, since a PNG is written.")

    from holotype.bundle.bundle import load_bundle
    from holotype.explanation.heatmap import explain as explain_image

    found = explain_image(load_bundle(run), picture, output, class_name=class_name)
    show(f"class        {found.class_name}")
    show(f"probability  {found.probability:.3f}")
    show(f"heatmap      {output} ({found.method})")
    return 0
