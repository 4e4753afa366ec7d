"""Grey squares in the place of plots: drawing takes three quarters of the time of a small training.

The plots themselves are tested in `tests/reporting` and `tests/comparison`, and in the run that the
fixture `finetuned` trains; a test that looks at them takes the fixture `real_plots`.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from holotype.comparison import comparison_figures
from holotype.files import write_bytes
from holotype.reporting import plot_style, plots
from holotype.search.report import search_figures

_MODULES = (plots, comparison_figures, search_figures)
_REAL: Mapping[Any, Mapping[str, Any]] = {
    **{
        module: {
            name: value
            for name, value in vars(module).items()
            if name.endswith("_figure") and value.__module__ == module.__name__
        }
        for module in _MODULES
    },
    plot_style: {"save": plot_style.save},
}


def _stand_in(*content: object) -> str:
    return "stand-in"


def _save(figure: object, path: Path) -> None:
    assert figure == "stand-in"
    content = io.BytesIO()
    Image.new("L", (8, 6), 128).save(content, "PNG")
    write_bytes(path, content.getvalue())


@contextmanager
def stand_ins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in _MODULES:
            for name in _REAL[module]:
                patch.setattr(module, name, _stand_in)
        patch.setattr(plot_style, "save", _save)
        yield


@contextmanager
def drawing() -> Iterator[None]:
    """Plots are drawn again."""
    with pytest.MonkeyPatch.context() as patch:
        for module, functions in _REAL.items():
            for name, function in functions.items():
                patch.setattr(module, name, function)
        yield
