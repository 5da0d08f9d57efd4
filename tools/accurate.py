"""How accurate can the network become? A ladder: lenet_utils/measured/accurate.json.

    python tools/accurate.py          the trials: what is missing

A trial learns from the 55,000 training images and is judged at its last step by the 5,000
validation images, with seeds that are none of the five. What decides, said beforehand: the mean
over the seeds of the validation loss (cross-entropy), after division by the temperature that makes
it smallest, so that smoothed and other labels compare. 5,000 images are too few to tell by
accuracy; it is kept, too. Averages of the weights cost next to nothing: each trial is judged
with and without.

It may be stopped and started again: results are stored as they come, and trained networks are kept
in a folder.
"""

import argparse
import datetime
import os
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from benchmark import one_thread_each
from ladder import Ladder
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lenet_utils import data, evaluation, training
from lenet_utils.lesson import MEASURED

RESULTS = MEASURED / "accurate.json"
NETWORKS = Path(__file__).resolve().parents[1] / "networks"  # not in the repository
DECAYS = [0.99, 0.997, 0.999, 0.9997]  # of moving averages of the weights, per step
SHIFTS = [(right, down) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # in pixels


class Trial(NamedTuple):
    recipe: training.Recipe
    seeds: tuple[int, ...] = (5,)


def extents(factor: float, **others: float) -> dict[str, float]:
    """The distortions of `robust`, all as strong as a factor says, but for others."""
    strong = training.RECIPES["robust"].distortions
    return {kind: round(factor * n, 4) for kind, n in strong.items()} | others


def trials() -> dict[str, Trial]:
    """All of them, by name."""
    recipe = training.Recipe(15, 4e-3, "one_cycle", label_smoothing=0.05)
    return {
        f"extents times {factor}": Trial(replace(recipe, distortions=extents(factor)))
        for factor in (0.5, 0.3, 0.75)
    }


class Averages:
    """Moving averages of the weights of a network while it learns: an `after_step` of `fit`.

    models  by decay: after a step an average is decay · average + (1 - decay) · weights; the first
            step's weights begin it
    """

    def __init__(self, decays: list[float]):
        self.decays, self.models = decays, {}

    def __call__(self, model: nn.Module) -> None:
        if not self.models:
            for decay in self.decays:
                rule = get_ema_multi_avg_fn(decay)
                self.models[decay] = AveragedModel(model, multi_avg_fn=rule)
        for average in self.models.values():
            average.update_parameters(model)


def log_probabilities(models: list[nn.Module], images: Tensor, shifts=((0, 0),)) -> Tensor:
    """The logarithm of the probabilities, averaged over networks and shifts: float32 (N, 10).

    shifts  by how many pixels the images go to the right and down
    """
    sums = torch.zeros(len(images), 10)
    for right, down in shifts:
        moved = F.pad(images, (right, -right, down, -down))
        for model in models:
            sums += evaluation.predict(model, moved).softmax(1)
    return (sums / len(shifts) / len(models)).log()


def judged(models: list[nn.Module], digits: data.Digits, shifts=((0, 0),)) -> dict[str, float]:
    """Accuracy, and loss at the temperature that is best for it."""
    outputs = log_probabilities(models, digits.images, shifts)
    outputs /= evaluation.temperature(outputs, digits.labels)
    return {
        "accuracy": evaluation.accuracy(outputs.argmax(1), digits.labels),
        "loss": round(F.cross_entropy(outputs, digits.labels).item(), 5),
    }


def judge(name: str, trial: Trial, seed: int, folder: Path) -> dict:
    """One trial at its last step, and averages of its weights."""
    averages, start = Averages(DECAYS), time.perf_counter()
    trained = training.train(
        trial.recipe, data.load("train"), seed=seed, after_step=averages, progress=False
    )
    result = {"seconds": round(time.perf_counter() - start), "accuracy": {}, "loss": {}}
    models = {"last": trained.model}
    models |= {f"average {decay}": average.module for decay, average in averages.models.items()}
    validation = data.load("validation")
    for of, model in models.items():
        training.save(trained._replace(model=model), folder / f"{name}, seed {seed}, {of}.pt")
        figures = {of: judged([model], validation)}
        if of in ("last", "average 0.999"):
            figures[f"{of}, shifted"] = judged([model], validation, SHIFTS)
        for place, both in figures.items():
            for key in ("accuracy", "loss"):
                result[key][place] = both[key]
    return result | when()


def when() -> dict[str, str]:
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=MEASURED, capture_output=True, text=True).stdout.strip()
    return {"date": f"{datetime.date.today()}", "commit": commit}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=Path, default=NETWORKS, help="where networks are kept")
    folder = parser.parse_args().networks
    os.environ["LENET_DEVICE"] = "cpu"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = trials()
    seeds = sorted({seed for trial in wanted.values() for seed in trial.seeds})
    ladder = Ladder(RESULTS, "python tools/accurate.py", "trials")
    left = ladder.missing({name: {"recipe": asdict(t.recipe)} for name, t in wanted.items()}, seeds)
    left = [(name, seed) for name, seed in left if seed in wanted[name].seeds]
    with one_thread_each() as pool:
        ladder.measure(pool, left, lambda name, seed: (judge, name, wanted[name], seed, folder))


if __name__ == "__main__":
    main()
