"""`holotype watch label`: the logged images that a person should label."""

from pathlib import Path

from holotype.cli.options import AsJson
from holotype.cli.output import print_json, print_message, print_next_command, print_result
from holotype.progress import to_stderr
from holotype.text_tables import text_table
from holotype.watching.labelling.label_next import HEADER, label_next
from holotype.watching.labelling.label_sheet import LABELS

SHOWN_ROWS = 20


def label(
    champion: str,
    /,
    *,
    log: Path,
    budget: int = 50,
    random_share: float = 0.3,
    days: float = 30.0,
    output: Path = Path("to-label"),
    seed: int = 0,
    as_json: AsJson = False,
) -> int:
    """Choose logged images that are uncertain, novel and unlike each other, and some at random.

    The random ones never train: they tell the accuracy honestly.

    Args:
        champion: registry://NAME@champion, a run or a bundle, whose answers are looked at.
        log: The folder of the request log; only images that it keeps can be labelled.
        budget: How many images at most.
        random_share: Of them, drawn at random; from 0 to 1.
        days: How far back.
        output: The folder that is written; it must be new.
        seed: Of what is drawn.
    """
    found = label_next(
        champion, log=log, budget=budget, random_share=random_share, days=days, output=output,
        seed=seed, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
        return 0
    print_result(found.title)
    print_result(text_table(HEADER, found.table(), max_rows=SHOWN_ROWS))
    for note in found.notes:
        print_message(note)
    print_message(f"Fill the column label of {output / LABELS}, or send feedback to the server.")
    print_next_command("holotype", "retrain", "registry://NAME", "--with", output)
    return 0
