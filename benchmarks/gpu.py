"""On a GPU: images a second in training, beside a plain loop over timm; parity; resuming.

Every number is of one run on one machine, the two sides in turn. Random weights, since speed does
not depend on them. Both sides read the same JPEG files: timm in every epoch, Holotype after the
first one those that it did not keep.

    benchmarks/gpu.sh --output FOLDER
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NETWORKS = {"resnet50": "resnet50", "convnext_base": "convnext_base"}  # Holotype's name, timm's
SIZE, BATCH, EPOCHS = 224, 64, 4
FROZEN_IMAGES = 20_000  # of the frozen pass: processes start in half a second, a GPU's 3,000 images
HOLOTYPE = [sys.executable, "-c", "from holotype.cli.app import main; main()"]
# Changes that both sides make: images are mirrored.
FLIPS = {
    "symmetry": "horizontal", "rotation_degrees": 0, "zoom": 0, "shift": 0, "brightness": 0,
    "contrast": 0,
}  # fmt: skip


def main() -> None:
    parts = {"train": _trained, "frozen": _frozen, "resumed": _resumed}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("/tmp/holotype-gpu"))
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    os.environ["HOLOTYPE_CACHE"] = str(asked.output / "cache")
    results: dict[str, Any] = {"device": _device(), "cores": os.cpu_count()}
    for part in asked.parts:
        for key, value in parts[part](asked.output, asked.images):
            results[key] = value
            print(f"{key}: {value}", flush=True)
            (asked.output / "gpu.json").write_text(json.dumps(results, indent=2))


def _device() -> str:
    import torch

    return str(torch.cuda.get_device_name(0))


def _write_data(folder: Path, count: int) -> Path:
    """Two classes of JPEG files of 256 x 256, in train, val and test folders."""
    if folder.exists():
        return folder
    jobs = []
    for part, share in (("train", 1.0), ("val", 0.1), ("test", 0.1)):
        for number, label in enumerate(("fine", "coarse")):
            (folder / part / label).mkdir(parents=True)
            jobs += [
                (folder / part / label / f"{i}.jpg", number, len(jobs) + i)
                for i in range(int(count * share) // 2)
            ]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write_image, jobs, chunksize=50))
    return folder


def _write_image(job: tuple[Path, int, int]) -> None:
    file, number, seed = job
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8 << number, 8 << number, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC))
    pixels = pixels + rng.normal(0, 4, pixels.shape)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def _trained(output: Path, images: int) -> Iterator[tuple[str, Any]]:
    data = _write_data(output / f"data-{images}", images)
    for name, timm_name in NETWORKS.items():
        yield f"{name}: timm, images/s", _timm_loop(timm_name, data, output / "timm.pth")
        yield f"{name}: holotype, images/s", _holotype(name, data, output / name)


def _timm_loop(name: str, data: Path, checkpoint: Path) -> dict[str, Any]:
    """What fifty lines give: workers, bf16, channels last, AdamW, validation, a checkpoint."""
    import timm
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    last = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    squash = transforms.Resize((SIZE, SIZE))
    change = transforms.Compose([squash, transforms.RandomHorizontalFlip(), *last])
    options: dict[str, Any] = {
        "batch_size": BATCH, "num_workers": os.cpu_count() or 1, "pin_memory": True,
        "persistent_workers": True,
    }  # fmt: skip
    loader = torch.utils.data.DataLoader(
        ImageFolder(data / "train", change), shuffle=True, drop_last=True, **options
    )
    validation = torch.utils.data.DataLoader(
        ImageFolder(data / "val", transforms.Compose([squash, *last])), **options
    )
    model = timm.create_model(name, num_classes=2).cuda().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)

    def logits_and_targets(batch: Any) -> Any:
        images, targets = (part.cuda(non_blocking=True) for part in batch)
        with torch.autocast("cuda", torch.bfloat16):
            return model(images.to(memory_format=torch.channels_last)), targets

    training, whole = [], []
    for _ in range(EPOCHS):
        began, seen = time.perf_counter(), 0
        model.train()
        for batch in loader:
            logits, targets = logits_and_targets(batch)
            loss = torch.nn.functional.cross_entropy(logits, targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            seen += len(targets)
        torch.cuda.synchronize()
        training.append(seen / (time.perf_counter() - began))
        model.eval()
        with torch.inference_mode():
            for batch in validation:
                logits, targets = logits_and_targets(batch)
                (logits.argmax(1) == targets).sum().item()
        torch.save([model.state_dict(), optimiser.state_dict()], checkpoint)
        whole.append(seen / (time.perf_counter() - began))
    return {
        "training alone": round(float(np.median(training[1:])), 1),
        "images/s": round(float(np.median(whole[1:])), 1),
    }


def _train(data: Path, run: Path, name: str, epochs: int, *words: str) -> list[str]:
    return [
        *HOLOTYPE, "train", str(data), "--model", name, "--weights", "none", "--recipe", "scratch",
        "--image-size", str(SIZE), "--batch-size", str(BATCH), "--epochs", str(epochs),
        "--device", "cuda", "--output", str(run), "--set", "stages.0.precision=bf16",
        "--set", f"stages.0.views={epochs}", "--set", "stages.0.patience=null", *words,
        *(w for key, to in FLIPS.items() for w in ("--set", f"stages.0.augmentation.{key}={to}")),
    ]  # fmt: skip


def _holotype(name: str, data: Path, run: Path) -> dict[str, Any]:
    """From the times of epochs in train.log; an epoch includes its pass over validation."""
    began, said = time.perf_counter(), run.with_suffix(".txt")
    with said.open("w", encoding="utf-8") as stream:
        done = subprocess.run(_train(data, run, name, EPOCHS), stdout=stream, stderr=stream)
    if done.returncode:
        return {"failed": said.read_text("utf-8")[-1500:]}
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


def _frozen(output: Path, images: int) -> Iterator[tuple[str, Any]]:
    """The frozen pass that fills the cache, beside the bare forward pass of the same network."""
    import torch

    from holotype.dataset.index import read_index
    from holotype.progress import Progress
    from holotype.training.config.resolve import resolve_recipe
    from holotype.training.features.frozen_features import cache_features
    from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone

    images = max(images, FROZEN_IMAGES)
    data = _write_data(output / f"data-{images}", images)
    index = read_index(data / "train")
    index = replace(index, table=index.table.assign(split="train"))
    few = replace(index, table=index.table[: 4 * BATCH])
    for name in NETWORKS:
        recipe = resolve_recipe(
            "scratch", model=name, image_size=SIZE, overrides={"weights": "none"}
        )
        pretrained = PretrainedBackbone(recipe, few, Progress())
        features = {}
        for device in ("cpu", "cuda"):
            part = pretrained.feature_extractor(EMBEDDING, device)
            features[device] = cache_features(part, recipe.preprocessing, few).first_view()
        began = time.perf_counter()
        cache_features(part, recipe.preprocessing, index)
        passed = (len(index) - len(few)) / (time.perf_counter() - began)
        session, batch = part.open_session(), torch.rand(BATCH, 3, SIZE, SIZE).numpy()
        resident = torch.from_numpy(batch).cuda()
        module = session._module
        resident = resident.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for _ in range(5):
                module(resident)
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(30):
                module(resident)
            torch.cuda.synchronize()
        bare = 30 * BATCH / (time.perf_counter() - began)
        apart = np.abs(features["cuda"] - features["cpu"]).max() / np.abs(features["cpu"]).max()
        yield f"{name}, frozen", {
            "pass, images/s": round(passed), "bare forward, images/s": round(bare),
            "share": round(passed / bare, 3), "apart from ONNX on the CPU": f"{apart:.1e}",
        }  # fmt: skip
    files = sorted((data / "train").rglob("*.jpg"))[:4000]
    began = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        list(pool.map(_decode, files, chunksize=20))
    yield (
        "decoding and resizing in processes, images/s",
        round(4000 / (time.perf_counter() - began)),
    )


def _decode(file: Path) -> int:
    return np.asarray(Image.open(file).resize((SIZE, SIZE))).size


def _resumed(output: Path, images: int) -> Iterator[tuple[str, Any]]:
    """Whether a killed run ends with the bundle of one that nobody killed."""
    yield "resumed", _killed_and_resumed(_write_data(output / "data-600", 600), output)


def _killed_and_resumed(data: Path, output: Path) -> dict[str, Any]:
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
