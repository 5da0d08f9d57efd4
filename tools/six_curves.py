"""Six trainings, each with another trouble, for the game of chapter 08: measured/six_curves.json.

    python tools/six_curves.py

Which panel has which trouble, TROUBLES says here, and nothing says in the file. Takes about a
minute.
"""

import argparse
import json
import os
from dataclasses import replace

import torch
from torch import nn

from lenet_utils import data, training
from lenet_utils.files import write_whole
from lenet_utils.lesson import MEASURED, versions
from lenet_utils.models import LeNet

RESULTS = MEASURED / "six_curves.json"
SEED, IMAGES, JUDGED, MISSING = 7, 1_500, 500, 3
RECIPE = training.Recipe(epochs=25, learning_rate=0.003)
TROUBLES = {
    "A": "softmax too many",
    "B": "labels shuffled",
    "C": "rate too low",
    "D": "class missing",
    "E": "scaled otherwise",
    "F": "no zero_grad",
}


class Forgetful(torch.optim.Adam):
    """Adam without `zero_grad`."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        pass


def part(digits: data.Digits, chosen) -> data.Digits:
    return data.Digits(*(tensor[chosen] for tensor in digits))


def run(trouble: str, recipe: training.Recipe = RECIPE) -> training.History:
    """What happened in a training with a trouble; an empty name is a healthy one."""
    digits, options = part(data.load("train"), slice(IMAGES)), {}
    if trouble == "softmax too many":
        options["network"] = lambda: nn.Sequential(LeNet(), nn.Softmax(dim=1))
    elif trouble == "labels shuffled":
        order = torch.randperm(400, generator=torch.Generator().manual_seed(SEED))
        digits = data.Digits(digits.images[:400], digits.labels[order])
    elif trouble == "rate too low":
        recipe = replace(recipe, learning_rate=recipe.learning_rate / 500)
    elif trouble == "class missing":
        digits = part(digits, digits.labels != MISSING)
    elif trouble == "scaled otherwise":
        options["transform"] = torch.Tensor.float  # grey levels; judged as data.to_input has them
    elif trouble == "no zero_grad":
        options["optimizer"] = lambda parameters, recipe: Forgetful(parameters, 0.001)
    elif trouble:
        raise ValueError(f"no such trouble: {trouble}")
    judged = part(data.load("validation"), slice(JUDGED))
    options |= {"validation": judged, "seed": SEED, "progress": False}
    return training.train(recipe, digits, **options).history


def curves(history: training.History) -> dict[str, list[float]]:
    """A list over the epochs for each figure."""
    return {key: [round(row[key], 4) for row in history.epochs] for key in history.epochs[0]}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    torch.set_num_threads(1)
    panels = {panel: curves(run(trouble)) for panel, trouble in TROUBLES.items()}
    content = {"command": "python tools/six_curves.py", "versions": versions(), "panels": panels}
    write_whole(RESULTS, (json.dumps(content, indent=1) + "\n").encode())
    for panel, lines in panels.items():
        print(panel, {key: [line[0], line[-1]] for key, line in lines.items()})


if __name__ == "__main__":
    main()
