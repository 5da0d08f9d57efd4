"""Regularisation and friends, compared on validation images: measured/regularisation.json.

    python tools/regularisation.py    what is missing

`methods` names what is compared, in three groups: regularisers with few training images, optimisers
and batch sizes. Each method has one or more trials, which differ in their learning rate or their
strength. Where there are several, a training with a seed of its own tells which is
best by the 5,000 validation images; then the best is trained with five other seeds. All are judged
at their last step by the validation images. Early stopping is judged by one half of them for the
epochs that the other half chose. No test image is looked at. It may be stopped and started again;
all takes about twenty minutes on one core.
"""

import argparse
import functools
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from benchmark import SEEDS, one_thread_each
from ladder import Ladder
from torch import Tensor, nn

from lenet_utils import data, evaluation, models, training
from lenet_utils.lesson import MEASURED

RESULTS = MEASURED / "regularisation.json"
TRIAL_SEED = 5
FEW, FEW_EPOCHS = 2_000, 25
SIZES = [16, 64, 256, 1024, 4096]
MOMENTUM = 0.9
HALVES = ["first half", "second half"]  # every other validation image, from the first and second


@dataclass(frozen=True)
class Trial:
    """One way to train."""

    recipe: training.Recipe
    images: int = 55_000  # of the training images, the first so many
    optimizer: str = "Adam"  # or "SGD with momentum"
    decay: float = 0.0  # AdamW's weight decay
    dropout: float = 0.0  # the share that is set to 0 before each linear layer
    norm: bool = False  # batch norm before each ReLU
    by_epoch: bool = False  # judge after each epoch, by both halves of the validation images


def methods() -> dict[str, dict[str, Trial]]:
    """What is compared: by name, its trials by what tells them apart."""
    return few_images() | optimisers() | batch_sizes()


def few_images() -> dict[str, dict[str, Trial]]:
    rates = [0.001, 0.003, 0.01]
    higher = [*rates, 0.03]

    def trials(rates: list[float], strengths: dict[str, dict], **common) -> dict[str, Trial]:
        made = {}
        for rate in rates:
            for name, strength in strengths.items():
                settings = {"images": FEW, "epochs": FEW_EPOCHS, **common, **strength}
                recipe = training.Recipe(
                    settings.pop("epochs"),
                    rate,
                    "one_cycle",
                    distortions=settings.pop("distortions", {}),
                )
                made[f"rate {rate}{name}"] = Trial(recipe, **settings)
        return made

    extents = training.RECIPES["robust"].distortions
    distorted = {}
    for name, times in {"half": 0.5, "whole": 1, "one and a half": 1.5}.items():
        kinds = {kind: round(times * extent, 4) for kind, extent in extents.items()}
        kinds["stroke"] = min(kinds["stroke"], 1.0)  # it has no more
        distorted[f", {name}"] = {"distortions": kinds}
    constant = Trial(training.Recipe(FEW_EPOCHS), FEW, by_epoch=True)
    return {
        "few: nothing": trials(rates, {"": {}}),
        "few: weight decay": trials(
            higher, {f", {n}": {"decay": n} for n in (0.01, 0.1, 1.0, 3.0)}
        ),
        "few: dropout": trials(rates, {f", {n}": {"dropout": n} for n in (0.1, 0.25, 0.5, 0.7)}),
        "few: batch norm": trials([*higher, 0.1], {"": {"norm": True}}),
        "few: distortions": trials(higher, distorted),
        "few: twice the images": trials(higher, {"": {}}, images=2 * FEW, epochs=13),
        "few: constant rate": {"": constant},
    }


def optimisers() -> dict[str, dict[str, Trial]]:
    """An epoch of all images, one cycle to a rate from a wide range."""
    ranges = {
        "Adam": [0.003, 0.006, 0.012, 0.024],
        "SGD with momentum": [0.015, 0.03, 0.06, 0.12],
    }
    return {
        f"optimiser: {name}": {
            f"rate {rate}": Trial(training.Recipe(1, rate, "one_cycle"), optimizer=name)
            for rate in rates
        }
        for name, rates in ranges.items()
    }


def batch_sizes() -> dict[str, dict[str, Trial]]:
    """An epoch of 20,000 images, one cycle to a rate that grows with the root of the batch size;
    and to the best of rates from an eighth of that to 16 times it, the linear rule's among them."""

    def trial(size: int, rate: float) -> Trial:
        return Trial(training.Recipe(1, rate, "one_cycle", batch_size=size), 20_000)

    by_rule, by_trial = {}, {}
    for size in SIZES:
        root = 0.003 * (size / 64) ** 0.5
        by_rule[f"batch: {size}, square root"] = {"": trial(size, round(root, 6))}
        rates = [round(root * 2.0**power, 6) for power in range(-3, 5)]
        by_trial[f"batch: {size}, best rate"] = {
            f"rate {rate}": trial(size, rate) for rate in rates
        }
    return by_rule | by_trial


def network(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    """LeNet, with the same start, and dropout before linear layers or batch norm before ReLUs."""
    layers = []
    for layer in models.LeNet().network:
        if dropout and isinstance(layer, nn.Linear):
            layers.append(nn.Dropout(dropout))
        if norm and isinstance(layer, nn.ReLU):
            before, count = layers[-1], len(layers[-1].bias)
            kind = nn.BatchNorm1d if isinstance(before, nn.Linear) else nn.BatchNorm2d
            layers.append(kind(count))
        layers.append(layer)
    return nn.Sequential(*layers)


def optimizer(trial: Trial, parameters, recipe: training.Recipe) -> torch.optim.Optimizer:
    """What a trial learns with."""
    if trial.optimizer != "Adam":
        return torch.optim.SGD(parameters, lr=recipe.learning_rate, momentum=MOMENTUM)
    return torch.optim.AdamW(
        parameters, recipe.learning_rate, recipe.betas, weight_decay=trial.decay, fused=True
    )


def judge(trial: Trial, seed: int) -> dict:
    """Validation accuracy and loss of one training at its last step; None for a loss without end.

    With trial.by_epoch, "halves" has for each epoch the accuracy and the loss on both halves.
    """
    train, validation = data.load("train"), data.load("validation")
    few = data.Digits(*(tensor[: trial.images] for tensor in train))
    halves, options = [], {}
    if trial.by_epoch:
        options["after_step"] = each_epoch(few, trial.recipe, validation, halves)
    try:
        model = training.train(
            trial.recipe,
            few,
            seed=seed,
            network=functools.partial(network, trial.dropout, trial.norm),
            optimizer=functools.partial(optimizer, trial),
            progress=False,
            **options,
        ).model
    except FloatingPointError:
        return {"accuracy": None, "loss": None}
    accuracy, loss = scores(evaluation.predict(model, validation.images), validation.labels)
    return {"accuracy": accuracy, "loss": loss} | ({"halves": halves} if trial.by_epoch else {})


def each_epoch(
    train: data.Digits, recipe: training.Recipe, validation: data.Digits, kept: list
) -> Callable[[nn.Module], None]:
    """An `after_step` that keeps, at the end of each epoch, both scores on each half."""
    steps, done = -(-len(train.labels) // recipe.batch_size), []

    def after_step(model: nn.Module) -> None:
        done.append(1)
        if len(done) % steps == 0:
            outputs = evaluation.predict(model, validation.images)
            kept.append(
                [scores(outputs[start::2], validation.labels[start::2]) for start in (0, 1)]
            )

    return after_step


def scores(outputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy, and mean cross-entropy to four decimals."""
    loss = nn.functional.cross_entropy(outputs, labels).item()
    return evaluation.accuracy(outputs.argmax(1), labels), round(loss, 4)


def described(trials: dict[str, Trial]) -> dict[str, dict]:
    """Trials as plain data."""
    return {name: asdict(trial) for name, trial in trials.items()}


def candidates() -> dict[str, Trial]:
    """All trials of those methods that have several."""
    return {
        f"{method}, {name}": trial
        for method, trials in methods().items()
        if len(trials) > 1
        for name, trial in trials.items()
    }


def best(results: dict) -> dict[str, Trial]:
    """Of each method the trial of the highest validation accuracy, the first of those equal."""
    chosen = {}
    for method, trials in methods().items():
        if len(trials) > 1:
            found = {name: results[f"{method}, {name}"]["accuracy"][0] or 0 for name in trials}
            chosen[method] = trials[max(found, key=found.get)]
        else:
            (chosen[method],) = trials.values()
    return chosen


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    command = "python tools/regularisation.py"
    trials = candidates()
    with one_thread_each() as pool:
        ladder = Ladder(RESULTS, command, "trials")
        left = ladder.missing(described(trials), [TRIAL_SEED])
        ladder.measure(pool, left, lambda name, seed: (judge, trials[name], seed))
        chosen = best(ladder.results)
        ladder = Ladder(RESULTS, command, "five")
        left = ladder.missing(described(chosen), SEEDS)
        ladder.measure(pool, left, lambda name, seed: (judge, chosen[name], seed))


if __name__ == "__main__":
    main()
