"""The comparison as one HTML page: images inside, nothing loaded, every name escaped.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.result import Comparison
from holotype.comparison.tables import sections
from holotype.reporting.templates import jpeg_url, plot_image, render

MAX_SIDE_PX = 240  # pixels of an image on the page


def page(
    comparison: Comparison,
    figures: Mapping[str, bytes],
    images: Mapping[str, NDArray[np.uint8]],
) -> str:
    """The page as text.

    Args:
        figures: PNG bytes by name.
        images: uint8 (H, W, 3) by the id of a disagreement.
    """
    main = comparison.main
    return render(
        "comparison.html.j2",
        comparison=comparison,
        main=main,
        notes=[*comparison.notes, *main.caveats],
        sections=sections(comparison),
        plot_images={name: plot_image(png) for name, png in figures.items()},
        agreement=comparison.agreement,
        cards=[
            (image, jpeg_url(images[image.id], MAX_SIDE_PX) if image.id in images else None)
            for image in comparison.disagreements
        ],
    )
