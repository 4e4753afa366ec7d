"""Pages for people, on the same server: try a classifier, look at runs and data, promote versions.

`holotype.dashboard(...)` is a verb, and this folder has its name: Python puts the folder in the
place of the verb as soon as one of its modules is imported. So the folder can be called too.
"""

import inspect
import sys
from types import ModuleType
from typing import Any

from holotype.arguments import check_arguments
from holotype.dashboard.dashboard import dashboard as _dashboard

_verb = check_arguments(_dashboard)


class _Verb(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        _verb(*args, **kwargs)


_folder = sys.modules[__name__]
_folder.__class__ = _Verb
_folder.__doc__ = _dashboard.__doc__
_folder.__signature__ = inspect.signature(_dashboard)  # type: ignore[attr-defined]
