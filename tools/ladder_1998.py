"""The way from the network of 1998 to ours, one change at a time: measured/ladder_1998.json.

    python tools/ladder_1998.py          the learning rate of each rung: what is missing
    python tools/ladder_1998.py --test   each rung at its rate, with ten seeds: what is missing

A rung is the network of 1998 with some of CHANGES: the first so many of them, or one alone. All
learn from the 55,000 training images, for two epochs in batches of 64, while the learning rate
rises and falls. Which rate is best at the last step, the 5,000 validation images say, of the same
RATES for all, with a seed that is none of the ten. With --test the rates are frozen: ten
trainings, judged by validation and by test images. It may be stopped and started again; all takes
an hour on two cores.

How the network was taught in 1998 is another matter: lenet_utils.procedure_1998.
"""

import argparse
import functools
import os
from collections.abc import Iterable

import torch
from benchmark import one_thread_each
from ladder import Ladder
from torch import nn

from lenet_utils import data, evaluation, models, training
from lenet_utils.lesson import MEASURED

RESULTS = MEASURED / "ladder_1998.json"
CHANGES = [
    "PyTorch's start",
    "ReLU",
    "max pooling",
    "dense C3",
    "linear output",
    "resized images",
    "standardised input",
    "Adam",
]
RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
SEEDS, TRIAL_SEED, EPOCHS = [*range(5), *range(6, 11)], 5, 2


def rungs() -> dict[str, list[str]]:
    """By name, the changes: none, the first so many, and each alone."""
    made = {"1998": []}
    for number, change in enumerate(CHANGES, start=1):
        made[f"to {change}"] = CHANGES[:number]
    for change in CHANGES[1:]:  # the first alone is the first of the way
        made[f"{change} alone"] = [change]
    return made


def network(changes: Iterable[str]) -> nn.Module:
    """The network of 1998 with these changes; with all of them it computes what a LeNet does."""
    model = models.LeNet1998()
    layers = model.network
    if "max pooling" in changes:
        layers.S2, layers.S4 = nn.MaxPool2d(2), nn.MaxPool2d(2)
        layers.squash_S2, layers.squash_S4 = nn.Identity(), nn.Identity()
    if "ReLU" in changes:
        for name, layer in list(layers.named_children()):
            if isinstance(layer, models.ScaledTanh):
                setattr(layers, name, nn.ReLU())
    if "dense C3" in changes:
        layers.C3 = nn.Conv2d(6, 16, kernel_size=5)
        models.draw_by_fan_in(layers.C3)
    if "linear output" in changes:
        layers.output = nn.Linear(84, 10)
        models.draw_by_fan_in(layers.output)
    if "standardised input" in changes:
        layers.scale = nn.Identity()
    if "PyTorch's start" in changes:
        layers.apply(functools.partial(models.draw_by_fan_in, scale=1.0, power=0.5))
    return model


def learn(changes: list[str], rate: float, seed: int) -> nn.Module:
    """A rung's network, trained."""
    digits = images("train", changes)
    recipe = training.Recipe(EPOCHS, rate, "one_cycle")
    options = {"network": functools.partial(network, changes), "progress": False}
    if "linear output" not in changes:
        options["criterion"] = models.map_loss
    if "Adam" not in changes:
        options["optimizer"] = gradient_descent
    return training.train(recipe, digits, seed=seed, **options).model


def gradient_descent(parameters, recipe: training.Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=recipe.learning_rate)


def images(subset: str, changes: Iterable[str]) -> data.Digits:
    """A subset, padded to 32×32 pixels as in 1998, or resized."""
    digits = data.load(subset, 32 if "resized images" in changes else 28)
    return data.Digits(data.pad(digits.images), digits.labels)


def judge(changes: list[str], rate: float, seed: int, subsets: list[str]) -> dict:
    """The accuracies of one training at its last step; nothing where its loss was not finite."""
    try:
        model = learn(changes, rate, seed)
    except FloatingPointError:
        return dict.fromkeys(subsets)
    sets = {name: images(name, changes) for name in subsets}
    answers = {name: evaluation.predict(model, of.images).argmax(1) for name, of in sets.items()}
    return {name: evaluation.accuracy(answers[name], of.labels) for name, of in sets.items()}


def best_rates(trials: dict) -> dict[str, float]:
    """Of each rung, the rate of the highest validation accuracy; the lower of two that are equal.

    Raises ValueError if a trial is missing, or if a best rate is the lowest or highest tried.
    """
    best = {}
    for rung in rungs():
        found = {rate: trials[f"{rung}, {rate}"]["validation"] for rate in RATES}
        if [] in found.values():
            raise ValueError(f"expected trials of {rung} at all rates: run those first")
        best[rung] = max(RATES, key=lambda rate: found[rate][0] or 0)
        if best[rung] in (RATES[0], RATES[-1]):
            raise ValueError(f"{rung} is best at {best[rung]}, the end of RATES: add rates there")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", action="store_true", help="judge each rung by test images")
    test = parser.parse_args().test
    os.environ["LENET_DEVICE"] = "cpu"
    trials = {
        f"{rung}, {rate}": {"changes": changes, "rate": rate, "epochs": EPOCHS}
        for rung, changes in rungs().items()
        for rate in RATES
    }
    ladder = Ladder(RESULTS, "python tools/ladder_1998.py", "trials")
    left, wanted, subsets = ladder.missing(trials, [TRIAL_SEED]), trials, ["validation"]
    if test:
        best = best_rates(ladder.results)
        wanted = {rung: trials[f"{rung}, {rate}"] for rung, rate in best.items()}
        ladder = Ladder(RESULTS, "python tools/ladder_1998.py", "tests")
        left, subsets = ladder.missing(wanted, SEEDS), ["validation", "test"]

    def call(name: str, seed: int) -> tuple:
        return judge, wanted[name]["changes"], wanted[name]["rate"], seed, subsets

    with one_thread_each() as pool:
        ladder.measure(pool, left, call)


if __name__ == "__main__":
    main()
