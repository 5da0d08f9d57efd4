"""Measure every recipe, an epoch against the usual way, memory and inference; store benchmark.json.

    python tools/benchmark.py

Takes about a quarter of an hour on two cores and wants the machine to itself. Each recipe is
trained on all 60,000 training images, once for each seed, and judged at its last step on the test
images. Times drift from run to run: what is compared is measured in turn, in one run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from lenet_utils import data, evaluation, training
from lenet_utils.data import write_whole
from lenet_utils.models import LeNet

RESULTS = Path(__file__).with_name("benchmark.json")
SEEDS = [0, 1, 2, 3, 4]
ROUNDS = 5
ONE_EPOCH = training.Recipe(epochs=1, softmax=True)  # of the write-up's recipe


def train_and_judge(recipe: training.Recipe, seed: int) -> tuple[float, float]:
    """Test accuracy of a network trained by a recipe, and the seconds its training took."""
    train, test = data.load("full"), data.load("test")
    torch.manual_seed(seed)
    model = LeNet(softmax=recipe.softmax)
    start = time.perf_counter()
    training.fit(model, train, recipe, seed=seed)
    seconds = time.perf_counter() - start
    predicted = evaluation.predict(model, test.images).argmax(1)
    return evaluation.accuracy(predicted, test.labels), seconds


def our_epoch(train: data.Digits) -> None:
    training.fit(LeNet(softmax=True), train, ONE_EPOCH)


def usual_epoch(workers: int) -> None:
    """The same network and arithmetic, over PIL images that are resized one by one."""
    transform = v2.Compose([v2.Resize(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    images = torchvision.datasets.MNIST(data.cache_folder(), train=True, transform=transform)
    model = LeNet(softmax=True)
    optimizer = torch.optim.Adam(model.parameters())
    for inputs, labels in DataLoader(images, batch_size=64, shuffle=True, num_workers=workers):
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def seconds_of(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def images_per_second(model: LeNet, images: torch.Tensor, batch_size: int) -> float:
    """The median of several predictions; as many images as take a moment."""
    images = images[: min(len(images), 200 * batch_size)]
    evaluation.predict(model, images, batch_size)
    seconds = [seconds_of(evaluation.predict, model, images, batch_size) for _ in range(ROUNDS)]
    return len(images) / statistics.median(seconds)


def peak_memory() -> int | None:
    """Megabytes that a process of its own needs to train an epoch; None where it cannot be told."""
    program = (
        "import resource; from lenet_utils import data, training; "
        "from lenet_utils.models import LeNet; "
        "training.fit(LeNet(), data.load('full'), training.Recipe(epochs=1)); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    if sys.platform not in ("linux", "darwin"):
        return None
    run = [sys.executable, "-c", program]
    peak = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return round(peak / (1000 if sys.platform == "linux" else 1_000_000))


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure() -> dict:
    results = {
        "command": "python tools/benchmark.py",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "processor": f"{processor()}, {torch.get_num_threads()} threads",
        "memory_mb": peak_memory(),
        "epoch_seconds": {"ours": [], "usual, 0 workers": [], "usual, 2 workers": []},
        "images_per_second": {},
        "recipes": {},
    }
    train, test = data.load("full"), data.load("test")
    model = training.load().model
    for size in [1, 10, 100, 250, 1_000, 10_000]:
        results["images_per_second"][str(size)] = round(images_per_second(model, test.images, size))
    times = results["epoch_seconds"]
    for _ in range(ROUNDS):
        times["ours"].append(round(seconds_of(our_epoch, train), 2))
        for workers in [0, 2]:
            times[f"usual, {workers} workers"].append(round(seconds_of(usual_epoch, workers), 2))
    for name, recipe in training.RECIPES.items():
        runs = [train_and_judge(recipe, seed) for seed in SEEDS]
        results["recipes"][name] = {
            "seeds": SEEDS,
            "accuracy": [accuracy for accuracy, _ in runs],
            "seconds": [round(seconds, 1) for _, seconds in runs],
        }
    return results


def speed_up(results: dict) -> float:
    """How many times as fast as the usual way ours is: the median of ratios within a round."""
    times = results["epoch_seconds"]
    usual = map(min, times["usual, 0 workers"], times["usual, 2 workers"])
    return statistics.median(u / ours for u, ours in zip(usual, times["ours"], strict=True))


def table(results: dict) -> str:
    """The recipes as README shows them."""
    lines = ["| recipe | epochs | test accuracy | training |", "|---|---|---|---|"]
    for name, result in results["recipes"].items():
        percent = [100 * accuracy for accuracy in result["accuracy"]]
        mean, spread = statistics.mean(percent), statistics.stdev(percent)
        seconds = statistics.median(result["seconds"])
        epochs = training.RECIPES[name].epochs
        lines.append(f"| `{name}` | {epochs} | {mean:.2f} ± {spread:.2f} % | {seconds:.0f} s |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    results = measure()
    write_whole(RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    print(table(results))
    print(f"an epoch is {speed_up(results):.2f} times as fast as the usual way")
    print(f"peak memory {results['memory_mb']} MB")
    print("images/s by batch size", results["images_per_second"])


if __name__ == "__main__":
    main()
