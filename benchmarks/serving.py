"""Throughput and latency of `holotype serve` beside the callers that it is made of, a plain FastAPI
handler, and LitServe, with one model on one machine.

    .venv/bin/python benchmarks/serving.py RUN IMAGES --litserve-python ENV/bin/python

Every server runs alone in turn, and the turns repeat, so that all meet the same machine. `ceiling`
is one process for each core that decodes and predicts in a loop: nothing is sent. A plain handler
calls `classifier.predict` inline, as most are written, or in its thread pool. The generator
sends prepared requests. Its processor time is printed: `adjusted` compares with the ceiling less
the share of the cores that the generator took, which a client elsewhere would not take. As other
programs may run beside, the processor time of an answer is given too: it hardly depends on them.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from holotype.serving.engine.usable_cores import usable_cores
from tests.serving.load_generator import Load, Outcome, http_request

CLIENTS = 16
PORT = 18500

CEILING = """
import sys, time
from pathlib import Path
from holotype.imaging.decode import NETWORK
from holotype.pipeline.classifier import load
from holotype.serving.engine.worker import UploadedImage
classifier = load(sys.argv[1])
images = [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())[:200]]
for image in images[:5]:
    classifier.predict(UploadedImage("image", image, policy=NETWORK))
started, cpu, count = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - started < float(sys.argv[3]):
    classifier.predict(UploadedImage("image", images[count % len(images)], policy=NETWORK))
    count += 1
seconds = time.perf_counter() - started
print(count / seconds, (time.process_time() - cpu) / count * 1000)
"""

PLAIN = """
import sys
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from holotype.pipeline.classifier import load
app, classifier = FastAPI(), load(sys.argv[1])

@app.post("/predict")
async def predict(request: Request):
    content = await request.body()
    if sys.argv[3] == "threads":
        found = await run_in_threadpool(classifier.predict, content)
    else:
        found = classifier.predict(content)
    return found.to_json()["predictions"][0]

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""

LITSERVE = """
import sys
import litserve
from holotype.pipeline.classifier import load

class Api(litserve.LitAPI):
    def setup(self, device):
        self.classifier = load(sys.argv[1])
    def decode_request(self, request):
        return request["image"].file.read()
    def predict(self, content):
        return self.classifier.predict(content)
    def encode_response(self, found):
        return found.to_json()["predictions"][0]

if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=int(sys.argv[3]))
    server.run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""


@dataclass(frozen=True)
class Measured:
    """One turn of one server."""

    rate: float
    cpu_ms: float  # of an answer, all its processes
    generator_share: float = 0.0  # of one core
    outcome: Outcome | None = None


def as_request(name: str, path: str, content: bytes) -> bytes:
    """A raw body; LitServe takes files as forms only."""
    if name != "LitServe":
        return http_request(path, content)
    head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="image"\r\n\r\n'
    body = head + content + b"\r\n--b--\r\n"
    return http_request(path, body, "multipart/form-data; boundary=b")


def ceiling(run: str, images: Path, seconds: float) -> Measured:
    words = [sys.executable, "-c", CEILING, run, str(images), str(seconds)]
    callers = [
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(usable_cores())
    ]
    found = [[float(word) for word in caller.communicate()[0].split()] for caller in callers]
    return Measured(sum(rate for rate, _ in found), statistics.mean(cpu for _, cpu in found))


def await_free_port() -> None:
    """Killed workers may hold it for a moment."""
    for attempt in range(100):
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", PORT))
                return
            except OSError:
                if attempt == 99:
                    raise
        time.sleep(0.1)


@contextmanager
def server(words: Sequence[str]) -> Iterator[psutil.Process]:
    """A server that listens on PORT, ended afterwards with all its processes."""
    await_free_port()  # else another server would be measured
    process = subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                asyncio.run(asyncio.wait_for(asyncio.open_connection("127.0.0.1", PORT), 1))
                break
            except (OSError, TimeoutError):
                time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()  # LitServe's have sessions of their own
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_s(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def closed(process: psutil.Process, requests: list[bytes], seconds: float) -> Measured:
    warm = asyncio.run(Load(PORT, requests).closed_loop(CLIENTS, 2))
    if not warm.statuses[200]:
        raise SystemExit(f"no request was answered with 200, but {dict(warm.statuses)}")
    before = cpu_s(process)
    outcome = asyncio.run(Load(PORT, requests).closed_loop(CLIENTS, seconds))
    cpu_ms = (cpu_s(process) - before) / max(1, outcome.statuses[200]) * 1000
    return Measured(outcome.rate, cpu_ms, outcome.cpu_s / outcome.seconds, outcome)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run or a bundle")
    parser.add_argument("images", type=Path, help="a folder of JPEG, PNG or WebP files")
    parser.add_argument(
        "--litserve-python", help="of an environment with litserve, python-multipart and holotype"
    )
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()

    contents = [path.read_bytes() for path in sorted(options.images.iterdir())[:200]]
    holotype_path = "/v1/models/benchmark/predict"
    cores = str(usable_cores())
    servers = {
        "holotype serve": (
            [sys.executable, "-c", "from holotype.cli.app import main; main()", "serve",
             f"benchmark={options.run}", "--port", str(PORT)],
            holotype_path,
        ),
        **{
            f"plain FastAPI, {how}": (
                [sys.executable, "-c", PLAIN, options.run, str(PORT), how], "/predict",
            )
            for how in ("inline", "threads")
        },
    }  # fmt: skip
    if options.litserve_python:
        script = Path(os.environ.get("TMPDIR", "/tmp")) / "holotype_litserve.py"
        script.write_text(LITSERVE)
        words = [options.litserve_python, str(script), options.run, str(PORT), cores]
        servers["LitServe"] = (words, "/predict")

    turns: dict[str, list[Measured]] = {"ceiling": [], **{name: [] for name in servers}}
    for _ in range(options.turns):
        turns["ceiling"].append(ceiling(options.run, options.images, options.seconds))
        for name, (words, path) in servers.items():
            requests = [as_request(name, path, content) for content in contents]
            with server(words) as process:
                turns[name].append(closed(process, requests, options.seconds))
    print_throughput(turns, int(cores))
    words, path = servers["holotype serve"]
    print_latency(words, [http_request(path, content) for content in contents], options.seconds)


def print_throughput(turns: dict[str, list[Measured]], cores: int) -> None:
    """Medians over the turns, and ratios within each turn."""
    print("| | images/s | of the ceiling | adjusted | CPU ms an answer | of the ceiling |")
    print("|---|---|---|---|---|---|")
    for name, found in turns.items():
        pairs = list(zip(found, turns["ceiling"], strict=True))
        ratio = statistics.median(one.rate / top.rate for one, top in pairs)
        adjusted = statistics.median(
            one.rate / (top.rate * (1 - one.generator_share / cores)) for one, top in pairs
        )
        cpu = statistics.median(one.cpu_ms for one in found)
        cpu_ratio = statistics.median(top.cpu_ms / one.cpu_ms for one, top in pairs)
        rate = statistics.median(one.rate for one in found)
        print(
            f"| {name} | {rate:.0f} | {ratio:.2f} | {adjusted:.2f} | {cpu:.2f} | {cpu_ratio:.2f} |"
        )
    answers = [one.outcome for one in turns["holotype serve"] if one.outcome is not None]
    share = statistics.median(one.cpu_s / one.seconds for one in answers)
    print(f"\nThe generator took {share:.1%} of a core.\n")


def print_latency(words: Sequence[str], requests: list[bytes], seconds: float) -> None:
    """Open loop at shares of the capacity that was measured just before, and where time goes."""
    with server(words) as process:
        capacity = closed(process, requests, seconds).rate
        print(f"Capacity {capacity:.0f} images/s.\n")
        print("| load | answered | refused (503) | p50 ms | p95 ms | p99 ms |")
        print("|---|---|---|---|---|---|")
        for share in (0.5, 0.8, 1.0, 1.5):
            load = Load(PORT, requests, keep_bodies=share == 0.5)
            found = asyncio.run(load.open_loop(share * capacity, seconds))
            total = sum(found.statuses.values())
            tail = " | ".join(f"{found.percentile_ms(percent):.0f}" for percent in (50, 95, 99))
            refused = found.statuses[503] / total
            print(f"| {share:.0%} | {found.statuses[200] / total:.0%} | {refused:.0%} | {tail} |")
            time.sleep(3)
            if load.outcome.bodies:
                timings = [json.loads(body)["timing"] for _, body in load.outcome.bodies if body]
                client = statistics.median(found.latency_s[200]) * 1000
        print("\n| of an answer at 50 % | median ms |")
        print("|---|---|")
        run = statistics.median(one["run_ms"] for one in timings)
        queue = statistics.median(one["queue_ms"] for one in timings)
        inside = statistics.median(one["total_ms"] for one in timings)
        print(f"| decoding and inference in a worker | {run:.1f} |")
        print(f"| waiting, and the way to the worker and back | {queue:.1f} |")
        print(
            f"| the rest of the server: body, routes, JSON | {max(0.0, inside - run - queue):.1f} |"
        )
        print(f"| connection and generator | {max(0.0, client - inside):.1f} |")


if __name__ == "__main__":
    main()
