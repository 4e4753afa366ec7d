"""`holotype demo`: real images, a trained classifier, and published figures beside it."""

import shlex
from pathlib import Path

from holotype import demo as elpv_demo
from holotype.cli.output import print_message, print_result
from holotype.dataset.index import read_index_file
from holotype.progress import to_stderr
from holotype.terminal import text_table


def demo(*, output: Path | None = None) -> int:
    """Needs the extras train and samples.

    Args:
        output: The run directory; runs/demo-1, -2, … unless said otherwise.
    """
    trained = elpv_demo.demo(output, progress=to_stderr())
    run = trained.run.path
    ours = ("Holotype, this run", f"{trained.metrics['accuracy']}", "")
    theirs = [(who, f"{score:.4f}", differs) for who, score, differs in elpv_demo.PUBLISHED]
    print_result(text_table(("weighted accuracy of", "on test", "what differs"), [ours, *theirs]))
    print_result(f"\n{elpv_demo.CAVEAT}\n")
    print_result(f"run     {run}")
    print_result(f"report  {trained.run.report / 'index.html'}")
    print_message("\nNext, try:")
    for words in (
        ("explain", run, _a_test_image(trained.run.index), "--output", "why.png"),
        ("fetch", "synthetic", "--output", "shapes"),
        ("train", "shapes", "--recipe", "linear"),
    ):
        print_message(f"  {shlex.join(['holotype', *map(str, words)])}")
    return 0


def _a_test_image(index: Path) -> Path:
    test = read_index_file(index).part("test")
    return test.file(str(test.table["path"].iloc[0]))
