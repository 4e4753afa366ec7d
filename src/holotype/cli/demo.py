"""`holotype demo`: real images, a trained classifier, and published figures beside it."""

import shlex
from pathlib import Path

from holotype import elpv_demo as elpv_demo
from holotype.cli.output import print_message, print_result
from holotype.dataset.index import Index
from holotype.progress import to_stderr
from holotype.text_tables import text_table


def demo(*, output: Path | None = None) -> int:
    """Needs the extras train and samples.

    Args:
        output: The run directory; runs/demo-1, -2, … unless said otherwise.
    """
    run = elpv_demo.demo(output, progress=to_stderr())
    ours = ("Holotype, this run", f"{run.metrics['accuracy']}", "")
    theirs = [(who, f"{score:.4f}", differs) for who, score, differs in elpv_demo.PUBLISHED]
    print_result(text_table(("weighted accuracy of", "on test", "what differs"), [ours, *theirs]))
    print_result(f"\n{elpv_demo.CAVEAT}\n")
    print_result(f"run     {run.path}")
    print_result(f"report  {run.report.path}")
    print_message("\nNext, try:")
    for words in (
        ("explain", run.path, _a_test_image(run.index), "--output", "why.png"),
        ("fetch", "synthetic", "--output", "shapes"),
        ("train", "shapes", "--recipe", "linear"),
        ("dashboard", run.path.parent),
    ):
        print_message(f"  {shlex.join(['holotype', *map(str, words)])}")
    return 0


def _a_test_image(index: Index) -> Path:
    test = index.part("test")
    return test.file(str(test.table["path"].iloc[0]))
