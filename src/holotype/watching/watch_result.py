"""What `holotype.watch` returns: the state of a model, as a value that prints itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.notebook import data_frame, html_result, html_table
from holotype.text_tables import printable, short_text, text_table
from holotype.watching.telling.messages import naming, sentence
from holotype.watching.watch_status import WatchStatus

if TYPE_CHECKING:
    import pandas as pd

SHOWN_MONITORS = 8
_HEADER = ("monitor", "about", "evidence")


@dataclass(frozen=True, repr=False)
class Watch:
    """What watching found.

    Attributes:
        path: the folder with the page, `watch.json` and the state.
        status: all of it.
        new_windows: how many windows were taken this time.
        not_told: messages that could not be sent, with the reason.
        ended: an alarm that came since the last look and is all clear again; "" without one.
    """

    path: Path
    status: WatchStatus
    new_windows: int = 0
    not_told: tuple[str, ...] = ()
    ended: str = ""

    @property
    def alarm(self) -> bool:
        """Whether something changed and was not all clear since."""
        return self.status.alarm

    @property
    def kind(self) -> str | None:
        """Of the change; None without an alarm."""
        return self.status.kind

    @property
    def page(self) -> Path:
        """The report."""
        return self.path / "index.html"

    def to_json(self) -> dict[str, Any]:
        """As `watch.json`."""
        return self.status.to_json()

    def to_frame(self) -> "pd.DataFrame":
        """One row per window."""
        names = ("number", "start", "end", "images", "groups", "evidence", "quiet")
        windows = self.status.windows
        return data_frame({name: [getattr(each, name) for each in windows] for name in names})

    def _rows(self) -> list[tuple[str, str, str]]:
        monitors = self.status.monitors[:SHOWN_MONITORS]
        return [(each.name, each.about, f"{each.evidence:.2f}") for each in monitors]

    def _facts(self) -> list[str]:
        windows = self.status.windows
        total = windows[-1].number if windows else 0
        lines = [f"windows: {total:,}, {self.new_windows:,} of them new"]
        lines += filter(None, [naming(self.status)])
        if self.ended:
            lines.append(f"since the last look there was an alarm, which has ended: {self.ended}")
        for source, found in self.status.accuracy.items():
            if found is None:
                continue
            if found["value"] is None:
                lines.append(f"accuracy {source}: {found['reason']}")
            else:
                interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
                lines.append(f"accuracy {source}: {found['value']:.3f} {interval}")
        return [*lines, *(f"not told: {reason}" for reason in self.not_told)]

    def __str__(self) -> str:
        table = text_table(_HEADER, self._rows())
        return printable("\n".join([sentence(self.status), *self._facts(), table]))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        table = html_table(_HEADER, self._rows(), caption="1 is an alarm")
        return html_result(sentence(self.status), table, notes=self._facts())
