"""A process that has imported everything, and runs command lines in forked children.

    LD_PRELOAD=… python -m tests.guarantees.chaos_parent RECIPE

Started with `chaos_shim.c` preloaded; reads one request a line from stdin, answers one line. It has
trained by the recipe once: a child takes seconds where a new process would take twenty.
"""

import ctypes
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import matplotlib.pyplot  # noqa: F401
import onnx  # noqa: F401
import onnxruntime  # noqa: F401
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import scipy.stats  # noqa: F401
import skl2onnx  # noqa: F401
import sklearn.linear_model  # noqa: F401
import timm  # noqa: F401
import torch
import torch.onnx

import holotype.cli.ensemble
import holotype.cli.fetch
import holotype.cli.slice
import holotype.cli.split
import holotype.cli.train
import holotype.training.finetuning.finetune  # noqa: F401
from holotype.cli.app import run
from holotype.dataset.sources.synthetic import make_synthetic
from tests.plot_stand_ins import stand_ins

torch.set_num_threads(1)

MAX_PATH, MAX_FILES = 4096, 65536


class Page(ctypes.Structure):
    """What the shim is told, and what it counts; see chaos_shim.c."""

    _fields_ = [
        ("prefix", ctypes.c_char * MAX_PATH),
        ("renames", ctypes.c_int),
        ("files", ctypes.c_int),
        ("kill_at_rename", ctypes.c_int),
        ("after", ctypes.c_int),
        ("fail_at_file", ctypes.c_int),
        ("error", ctypes.c_int),
        ("only_once", ctypes.c_int),
        ("failed", ctypes.c_int),
        ("seen", ctypes.c_int),
        ("inodes", ctypes.c_ulong * MAX_FILES),
    ]


def _page() -> Page:
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.chaos_page.restype = ctypes.POINTER(Page)
    page: Page = shim.chaos_page().contents
    return page


def _child(request: dict[str, Any], words: list[str], output: str) -> None:
    code = 70
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(request["folder"])
        os.environ["HOLOTYPE_CACHE"] = request["cache"]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)  # before two threads at once make the pool that a fork has lost
        code = run(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _answer(page: Page, request: dict[str, Any]) -> dict[str, Any]:
    """Run the commands of a request side by side."""
    ctypes.memset(ctypes.byref(page), 0, ctypes.sizeof(page))
    page.prefix = request["prefix"].encode()
    for name in ("kill_at_rename", "after", "fail_at_file", "error", "only_once"):
        setattr(page, name, request.get(name, 0))
    children = []
    began = time.monotonic()
    for number, words in enumerate(request["commands"]):
        output = f"{request['said']}.{number}"
        child = os.fork()
        if child == 0:
            _child(request, words, output)
        children.append((child, output))
    if request.get("signal"):
        time.sleep(request["after_seconds"])
        os.kill(children[0][0], request["signal"])  # not yet waited for: it is still ours
    results = []
    for child, output in children:
        _, status = os.waitpid(child, 0)
        with open(output, encoding="utf-8", errors="replace") as file:
            results.append({"code": os.waitstatus_to_exitcode(status), "said": file.read()})
    return {
        "results": results, "renames": page.renames, "files": page.files, "failed": page.failed,
        "seconds": time.monotonic() - began,
    }  # fmt: skip


def _warm_up(recipe: str) -> None:
    """What is imported and registered on the way, each child would do again.

    Without gradients: where torch has computed any, it computes none in a fork.
    """
    with tempfile.TemporaryDirectory() as folder:
        images = make_synthetic(Path(folder) / "images", classes=2, images=30, image_size=32)
        os.environ["HOLOTYPE_CACHE"] = str(Path(folder) / "cache")
        words = ["train", str(images), "--recipe", recipe, "--output", str(Path(folder) / "run")]
        assert run([*words, "--deterministic"]) == 0


def main() -> None:
    page = _page()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with stand_ins():
        _warm_up(sys.argv[1])
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(page, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
