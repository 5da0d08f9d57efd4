"""Measure recipes, an epoch against the usual way, memory and inference; store the results.

    python tools/benchmark.py
    python tools/benchmark.py --only NAME   that recipe alone, of any kind; the rest stays

writes lenet_utils/measured/benchmark.json. Takes about 20 minutes on two cores and wants the
machine to itself. Each recipe without distortions is trained on all 60,000 images, once per seed,
on a thread of its own, and judged at its last step on the test images. Times drift from run to run:
what is compared is measured in turn, in one run. Then run tools/frame.py, which writes the results
into README.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.datasets.utils import extract_archive
from torchvision.transforms import v2

from lenet_utils import data, evaluation, lesson, training
from lenet_utils.files import write_whole
from lenet_utils.models import LeNet

RESULTS = lesson.MEASURED / "benchmark.json"
SEEDS = [0, 1, 2, 3, 4]
ROUNDS = 2
# What is trained with distortions is judged by tools/robust.py.
RECIPES = {name: recipe for name, recipe in training.RECIPES.items() if not recipe.distortions}
ONE_EPOCH = training.Recipe(epochs=1, softmax=True)  # of the write-up's recipe


def train_and_judge(recipe: training.Recipe, seed: int) -> dict[str, float]:
    """Test accuracy, mean loss of the last 100 steps, and seconds of a training by a recipe."""
    digits, test = data.load("train+validation"), data.load("test")
    start = time.perf_counter()
    trained = training.train(recipe, digits, seed=seed)
    seconds = time.perf_counter() - start
    predicted = evaluation.predict(trained.model, test.images).argmax(1)
    return {
        "accuracy": evaluation.accuracy(predicted, test.labels),
        "loss": round(statistics.mean(trained.history.losses[-100:]), 4),
        "seconds": round(seconds, 1),
    }


def one_thread_each(count: int | None = None) -> ProcessPoolExecutor:
    """Processes of one thread, so many at once, or as many as there are processors."""
    spawn = multiprocessing.get_context("spawn")
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    return ProcessPoolExecutor(count or os.cpu_count(), mp_context=spawn, **one_thread)


def train_all(recipes: dict[str, training.Recipe]) -> dict[str, list[dict[str, float]]]:
    """The trainings of each recipe, one per seed."""
    with one_thread_each() as pool:
        runs = {
            name: [pool.submit(train_and_judge, recipe, seed) for seed in SEEDS]
            for name, recipe in recipes.items()
        }
        return {name: [run.result() for run in of_recipe] for name, of_recipe in runs.items()}


def trained(recipes: dict[str, training.Recipe]) -> dict[str, dict]:
    """The same, as they are stored."""
    made = {}
    for name, runs in train_all(recipes).items():
        made[name] = {"recipe": asdict(recipes[name]), "seeds": SEEDS}
        made[name] |= {key: [run[key] for run in runs] for key in runs[0]}
    return made


def our_epoch(digits: data.Digits) -> None:
    training.train(ONE_EPOCH, digits)


def usual_epoch(folder: str, workers: int, ours: bool, softmax=True, count=None) -> None:
    """The same network and arithmetic, over PIL images that are resized one by one.

    ours   whether the memory layout and the optimiser are those of `training.fit`, not the defaults
    count  the first so many of the images, or None for all
    """
    transform = v2.Compose([v2.Resize(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    images = MNIST(folder, train=True, transform=transform)
    images.data, images.targets = images.data[:count], images.targets[:count]
    model = LeNet(softmax)
    optimizer = torch.optim.Adam(model.parameters())
    if ours:
        model.to(memory_format=torch.channels_last)
        optimizer = training.adam(model.parameters(), ONE_EPOCH)
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
        "training.train(training.Recipe(epochs=1), data.load('train+validation')); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    if sys.platform not in ("linux", "darwin"):
        return None
    run = [sys.executable, "-c", program]
    peak = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return round(peak / (1000 if sys.platform == "linux" else 1_000_000))


def unpack(folder: str) -> None:
    """MNIST's archives, where torchvision looks for their contents."""
    raw = Path(folder, "MNIST", "raw")
    raw.mkdir(parents=True)
    for archive in data.ARCHIVES.glob("*.gz"):
        extract_archive(archive, raw)


def epoch_seconds() -> dict[str, list[float]]:
    """An epoch in each way, in turn."""
    times = {"ours": []}
    digits = data.load("train+validation")
    with tempfile.TemporaryDirectory() as folder:
        unpack(folder)
        for _ in range(ROUNDS):
            times["ours"].append(round(seconds_of(our_epoch, digits), 2))
            for ours in (False, True):
                for workers in (0, 2):
                    name = f"{'our' if ours else 'default'} layout and optimiser, {workers} workers"
                    seconds = round(seconds_of(usual_epoch, folder, workers, ours), 2)
                    times.setdefault(name, []).append(seconds)
    return times


def measure() -> dict:
    results = {
        "command": "python tools/benchmark.py",
        "versions": lesson.versions() | {"threads": torch.get_num_threads()},
        "memory_mb": peak_memory(),
        "images_per_second": {},
        "epoch_seconds": epoch_seconds(),
        "recipes": trained(RECIPES),
    }
    test, model = data.load("test"), training.shipped().model
    for size in [1, 10, 100, 250, 1_000, 10_000]:
        results["images_per_second"][str(size)] = round(images_per_second(model, test.images, size))
    return results


def with_one_more(name: str) -> dict:
    """What is stored, with one recipe measured now; with the versions, which may be others."""
    results = lesson.measured("benchmark")
    (found,) = trained({name: training.RECIPES[name]}).values()
    recipes = results["recipes"] | {name: found | {"versions": lesson.versions()}}
    results["recipes"] = {name: recipes[name] for name in training.RECIPES if name in recipes}
    return results


def speed_up(results: dict, layout: str) -> float:
    """How many times as fast as the usual way ours is: the median of ratios within a round.

    layout  "default" or "our": the layout and optimiser with which the usual way was measured
    """
    times = results["epoch_seconds"]
    ways = [times[f"{layout} layout and optimiser, {workers} workers"] for workers in (0, 2)]
    ratios = [min(usual) / ours for *usual, ours in zip(*ways, times["ours"], strict=True)]
    return statistics.median(ratios)


def table(results: dict) -> str:
    """The recipes as README shows them."""
    lines = ["| recipe | epochs | test accuracy | training |", "|---|---|---|---|"]
    for name, result in results["recipes"].items():
        percent = [100 * accuracy for accuracy in result["accuracy"]]
        mean, spread = statistics.mean(percent), statistics.stdev(percent)
        seconds, epochs = statistics.median(result["seconds"]), result["recipe"]["epochs"]
        lines.append(f"| `{name}` | {epochs} | {mean:.2f} ± {spread:.2f} % | {seconds:.0f} s |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=training.RECIPES, help="measure this recipe alone")
    only = parser.parse_args().only
    os.environ["LENET_DEVICE"] = "cpu"
    results = with_one_more(only) if only else measure()
    write_whole(RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    print(table(results))
    for layout in ("default", "our"):
        faster = speed_up(results, layout)
        print(f"an epoch is {faster:.2f} times as fast as the usual way with {layout} layout")
    print(f"peak memory {results['memory_mb']} MB")
    print("images/s by batch size", results["images_per_second"])


if __name__ == "__main__":
    main()
