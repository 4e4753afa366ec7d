"""`holotype retrain`: a successor of the champion from labels that came since."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from holotype.cli.options import AsJson, Device, Needs, Several, Switch
from holotype.cli.output import print_found, print_next_command
from holotype.progress import to_stderr
from holotype.watching.retraining.promotion_decision import MARGIN
from holotype.watching.retraining.retrain import retrain as retrain_champion
from holotype.watching.retraining.retraining_schedule import RetrainingSchedule

PROMOTION, SCHEDULE = Group("Promotion", sort_key=1), Group("Schedule", sort_key=2)


def retrain(
    champion: str,
    /,
    *,
    labels: Annotated[tuple[Path, ...], Parameter(name="--with"), Several],
    output: Path | None = None,
    start: Literal["anew", "champion"] = "anew",
    accept_labels: Switch = False,
    promote: Annotated[Switch, Parameter(group=PROMOTION)] = False,
    margin: Annotated[float, Parameter(group=PROMOTION)] = MARGIN,
    when: Annotated[Literal["always", "alarm"], Parameter(group=SCHEDULE)] = "always",
    watch: Annotated[
        Path | None, Parameter(group=SCHEDULE), Needs("when", "--when alarm", "alarm")
    ] = None,
    every: Annotated[str | None, Parameter(group=SCHEDULE)] = None,
    budget: Annotated[str | None, Parameter(group=SCHEDULE)] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Called again it goes on. Exit code 1 if labels are refused, or the candidate is worse.

    Args:
        champion: registry://NAME, of which the champion is retrained.
        labels: A folder of images to label, a CSV file with the columns path and label, or a
            request log with feedback; or several.
        output: The directory; retrained/NAME-1, -2, … unless said otherwise.
        start: Train anew, or from the weights of the champion.
        accept_labels: Train on the new labels even where many look wrong.
        promote: Let the candidate take the champion's place where it is surely better on the fresh
            labels, and not worse by more than the margin on the old test.
        margin: Accuracy that may be lost on the old test.
        when: Only where watching says that there is an alarm.
        watch: The folder of the watch that says so; watch-NAME by default.
        every: Again and again after so long, such as 1d or 6h.
        budget: Time for one retraining, such as 2h; the next call goes on.
    """
    found = retrain_champion(
        champion, labels=labels, output=output, start=start, promote=promote, margin=margin,
        accept_labels=accept_labels, device=device,
        schedule=RetrainingSchedule(when=when, watch=watch, every=every, budget=budget),
        progress=to_stderr(),
    )  # fmt: skip
    print_found(found, as_json=as_json)
    if found.next_command and not as_json:
        print_next_command(*found.next_command)
    return int(found.failed)
