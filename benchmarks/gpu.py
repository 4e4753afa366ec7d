"""On a GPU: images a second in training, beside a plain loop over timm; parity; resuming.

Every number is of one run on one machine, the two sides in turn. Random weights, since speed does
not depend on them. Both sides decode the same JPEG files, anew in every epoch.

    benchmarks/gpu.sh OUTPUT
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NETWORKS = {"resnet50": "resnet50", "convnext_base": "convnext_base"}  # Holotype's name, timm's
SIZE, BATCH, EPOCHS = 224, 64, 8
HOLOTYPE = [sys.executable, "-c", "from holotype.cli.app import main; main()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("/tmp/holotype-gpu"))
    parser.add_argument("--images", type=int, default=3000)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    os.environ["HOLOTYPE_CACHE"] = str(asked.output / "cache")
    data = _write_data(asked.output / "data", asked.images)
    results: dict[str, Any] = {"device": _device(), "cores": os.cpu_count()}
    for name, timm_name in NETWORKS.items():
        results[f"{name}: timm, images/s"] = _timm_loop(timm_name, data / "train")
        _say(results)
        results[f"{name}: holotype, images/s"] = _holotype(name, data, asked.output / name)
        _say(results)
    results["frozen pass of resnet50"] = _frozen(data)
    _say(results)
    results["resumed"] = _resumed(data, asked.output)
    _say(results)
    (asked.output / "gpu.json").write_text(json.dumps(results, indent=2))


def _say(results: dict[str, Any]) -> None:
    key = list(results)[-1]
    print(f"{key}: {results[key]}", flush=True)


def _device() -> str:
    import torch

    return str(torch.cuda.get_device_name(0))


def _write_data(folder: Path, count: int) -> Path:
    """Two classes of JPEG files of 256 x 256, in train, val and test folders."""
    if folder.exists():
        return folder
    rng = np.random.default_rng(0)
    ramps = np.add.outer(np.arange(256), np.arange(256)) / 2
    for part, share in (("train", 1.0), ("val", 0.1), ("test", 0.1)):
        for number, label in enumerate(("fine", "coarse")):
            (folder / part / label).mkdir(parents=True)
            for i in range(int(count * share) // 2):
                noise = rng.normal(0, 40, (256 >> (1 + number), 256 >> (1 + number), 3))
                pixels = np.kron(noise, np.ones((2 << number, 2 << number, 1)))
                pixels += ramps[..., None] * rng.random(3)
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / part / label / f"{i}.jpg", quality=90)
    return folder


def _timm_loop(name: str, folder: Path) -> float:
    """What thirty lines give: ImageFolder, workers, bf16, channels last, AdamW."""
    import timm
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    change = transforms.Compose([
        transforms.Resize((SIZE, SIZE)), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3),
    ])  # fmt: skip
    loader = torch.utils.data.DataLoader(
        ImageFolder(folder, change), batch_size=BATCH, shuffle=True, drop_last=True,
        num_workers=os.cpu_count() or 1, pin_memory=True, persistent_workers=True,
    )  # fmt: skip
    model = timm.create_model(name, num_classes=2).cuda().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    model.train()
    seconds = []
    for _ in range(EPOCHS):
        began, seen = time.perf_counter(), 0
        for images, targets in loader:
            images = images.cuda(non_blocking=True).to(memory_format=torch.channels_last)
            with torch.autocast("cuda", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(
                    model(images), targets.cuda(non_blocking=True)
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            seen += len(images)
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / seen)
    return round(1 / min(seconds[1:]), 1)


def _train(data: Path, run: Path, name: str, epochs: int, *words: str) -> list[str]:
    return [
        *HOLOTYPE, "train", str(data), "--model", name, "--weights", "none", "--recipe", "scratch",
        "--image-size", str(SIZE), "--batch-size", str(BATCH), "--epochs", str(epochs),
        "--device", "cuda", "--output", str(run), "--set", "stages.0.precision=bf16",
        "--set", f"stages.0.views={epochs}", "--set", "stages.0.patience=null", *words,
    ]  # fmt: skip


def _holotype(name: str, data: Path, run: Path) -> dict[str, Any]:
    """From the times of epochs in train.log; an epoch includes its pass over validation."""
    began = time.perf_counter()
    done = subprocess.run(_train(data, run, name, EPOCHS), capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr[-1500:]}
    whole = time.perf_counter() - began
    lines = (run / "train.log").read_text("utf-8").splitlines()
    ends = [
        datetime.strptime(line.split()[0], "%Y-%m-%dT%H:%M:%S%z")
        for line in lines
        if " epoch " in line and "epoch 0/" not in line
    ]
    images = len(list((data / "train").rglob("*.jpg")))
    with (run / "history.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    return {
        "images/s": round((len(ends) - 1) * images / (ends[-1] - ends[0]).total_seconds(), 1),
        "whole command, s": round(whole, 1),
        "device memory, MB": row["device_memory_mb"],
        "utilisation, %": row["device_utilisation"],
    }


def _frozen(data: Path) -> dict[str, Any]:
    """The frozen pass of a linear head, beside the bare forward pass of the same network."""
    import timm
    import torch

    model = timm.create_model("resnet50", num_classes=0).cuda().eval()
    model = model.to(memory_format=torch.channels_last)
    batch = torch.rand(BATCH, 3, SIZE, SIZE, device="cuda").to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(5):
            model(batch)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(30):
            model(batch)
        torch.cuda.synchronize()
    bare = 30 * BATCH / (time.perf_counter() - began)
    files = sorted((data / "train").rglob("*.jpg"))[:1000]
    began = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda file: np.asarray(Image.open(file).resize((SIZE, SIZE))), files))
    decoded = len(files) / (time.perf_counter() - began)
    return {"bare forward fp32, images/s": round(bare), "decode alone, images/s": round(decoded)}


def _resumed(data: Path, output: Path) -> dict[str, Any]:
    """Whether a killed run ends with the bundle of one that nobody killed."""
    words = ("--deterministic", "--set", "stages.0.precision=fp32")
    whole, killed = output / "whole", output / "killed"
    first = subprocess.run(
        _train(data, whole, "resnet18", EPOCHS, *words), capture_output=True, text=True
    )
    if first.returncode:
        return {"failed": first.stderr[-1500:]}
    process = subprocess.Popen(
        _train(data, killed, "resnet18", EPOCHS, *words), stderr=subprocess.DEVNULL
    )
    history = killed / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(history.glob("*.state*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(
        _train(data, killed, "resnet18", EPOCHS, *words, "--resume"), capture_output=True, text=True
    )
    if again.returncode:
        return {"failed": again.stderr[-1500:]}
    same = (whole / "bundle/manifest.json").read_bytes() == (
        killed / "bundle/manifest.json"
    ).read_bytes()
    return {"same bundle": same}


if __name__ == "__main__":
    main()
