"""The way from the write-up's training to 99 % in less than one pass: measured/faster.json.

    python tools/faster.py --trials     what the choice was made from: what is missing
    python tools/faster.py --ladder     every rung, judged by the test images: what is missing
    python tools/faster.py --widths     networks of half, twice, four times as many maps
    python tools/faster.py --times      seconds of the rungs and of all else that is timed, in turn:
                                        about 12 minutes, on a machine that does nothing else
    python tools/faster.py --processes  images per second with one process and with two

Trials learn from the 55,000 training images, with seeds that are none of the ladder's, and are
judged at their last step by the 5,000 validation images. The ladder's rungs learn from all 60,000.
All trainings run on one thread; all parts may be stopped and started again.
"""

import argparse
import functools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import benchmark
import torch
import torch.nn.functional as F
from ladder import Ladder
from torch import Tensor, nn
from torchvision.datasets.utils import extract_archive

from lenet_utils import data, evaluation, speed, training
from lenet_utils.lesson import MEASURED
from lenet_utils.models import LeNet

RESULTS = MEASURED / "faster.json"
COMMAND = "python tools/faster.py"
TRIAL_SEEDS = [100, 101, 102, 103, 104]
FEW_SEEDS, SEEDS = benchmark.SEEDS, list(range(10))


@dataclass(frozen=True)
class Rung:
    """A way to train, as plain data."""

    recipe: training.Recipe
    share: float = 1.0  # of the images, in an epoch
    in_memory: bool = True  # or resized one by one, as they are needed
    standardised: bool = True  # or pixels from 0 to 1
    channels_last: bool = True
    fused: bool = True
    quick: bool = False  # QuickLeNet
    muon: float = 0.0  # its momentum, if it is used
    whitened: bool = False  # the first filters' start
    averaged: float = 0.0  # share of the steps whose weights are averaged at the end

    def network(self, images: Tensor) -> nn.Module:
        kind = speed.QuickLeNet if self.quick else LeNet
        if not self.standardised:
            kind = OnInk
        if not self.channels_last:
            kind = type("Default", (DefaultLayout, kind), {})
        model = kind(self.recipe.softmax)
        return speed.whiten(model, images) if self.whitened else model

    def optimizer(self, parameters, recipe: training.Recipe) -> torch.optim.Optimizer:
        options = {"lr": recipe.learning_rate, "betas": recipe.betas}
        if self.muon:
            return speed.Muon(parameters, momentum=self.muon, **options)
        return torch.optim.Adam(parameters, fused=self.fused, **options)


class OnInk(LeNet):
    """A LeNet for pixels from 0 to 1."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images * data.STD + data.MEAN)


class DefaultLayout(nn.Module):
    """Stays in PyTorch's default layout."""

    def to(self, *arguments, memory_format=None, **options):
        return super().to(*arguments, **options)


def learn(rung: Rung, digits: data.Digits, seed: int) -> nn.Module:
    """A rung's network, trained."""
    batches = speed.Part(digits, rung.recipe.batch_size, rung.share)
    steps = rung.recipe.epochs * len(batches)
    average = speed.Average(steps, rung.averaged) if rung.averaged else None
    return training.train(
        rung.recipe,
        batches,
        seed=seed,
        network=functools.partial(rung.network, digits.images),
        optimizer=rung.optimizer,
        after_step=average,
        progress=False,
    ).model


def judge(rung: Rung, seed: int, learn_from: str, judge_by: str) -> dict[str, float]:
    """Accuracy and loss of one training at its last step."""
    model, judged = learn(rung, data.load(learn_from), seed), data.load(judge_by)
    outputs = evaluation.predict(model, judged.images)
    loss = F.cross_entropy(outputs, judged.labels).item()
    accuracy = evaluation.accuracy(outputs.argmax(1), judged.labels)
    return {"accuracy": accuracy, "loss": round(loss, 4)}
