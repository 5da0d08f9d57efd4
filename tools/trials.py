"""Compare recipes on the validation images, and store lenet_utils/measured/trials.json.

    python tools/trials.py          what is missing
    python tools/trials.py --again  everything

Chapters 03 and 04 show them. (`fast` and `plain` came first, from trials in which test images were
read. These compare their rates, schedule, smoothing, length and betas with others, without any.)
Each trial learns from the 55,000 training images, or from the first few, once for each seed, and is
judged at its last step by the 5,000 validation images. All takes about half an hour on two cores.
It may be stopped and started again.
"""

import argparse
import math
import os
from dataclasses import asdict, replace
from typing import NamedTuple

import torch
from benchmark import SEEDS, one_thread_each
from ladder import Ladder

from lenet_utils import data, evaluation, training
from lenet_utils.lesson import MEASURED

RESULTS = MEASURED / "trials.json"
RATES = [0.001, 0.002, 0.003, 0.006, 0.012]


class Trial(NamedTuple):
    recipe: training.Recipe
    images: int = 55_000  # of the training images, the first so many


def trials() -> dict[str, Trial]:
    """All of them, by name."""
    fast, plain = training.RECIPES["fast"], training.RECIPES["plain"]
    made = {
        f"{schedule} {rate}": Trial(training.Recipe(1, rate, schedule))
        for schedule in ("constant", "one_cycle")
        for rate in RATES
    }
    for name in ("write_up", "logits"):
        for epochs in (5, 10):
            recipe = replace(training.RECIPES[name], epochs=epochs)
            made[f"{name}, {epochs} epochs"] = Trial(recipe)
    for smoothing in (0.0, 0.05, 0.1):
        made[f"plain, smoothing {smoothing}"] = Trial(replace(plain, label_smoothing=smoothing))
    made["plain, 1 epoch"] = Trial(replace(plain, epochs=1))
    made["plain, 5 epochs"] = Trial(replace(plain, epochs=5))
    made["plain, betas of fast"] = Trial(replace(plain, betas=fast.betas))
    for smoothing in (0.0, 0.05):
        made[f"fast, smoothing {smoothing}"] = Trial(replace(fast, label_smoothing=smoothing))
    for images in (100, 1_000, 10_000):  # about as many steps as one epoch has
        epochs = round(860 / math.ceil(images / fast.batch_size))
        made[f"fast, {images} images"] = Trial(replace(fast, epochs=epochs), images)
    return made


def judge(trial: Trial, seed: int) -> dict[str, float]:
    """Validation accuracy and loss of one training at its last step."""
    train, validation = data.load("train"), data.load("validation")
    few = data.Digits(*(tensor[: trial.images] for tensor in train))
    trained = training.train(trial.recipe, few, seed=seed, progress=False)
    outputs = evaluation.predict(trained.model, validation.images)
    loss = torch.nn.functional.cross_entropy(outputs, validation.labels).item()
    accuracy = evaluation.accuracy(outputs.argmax(1), validation.labels)
    return {"accuracy": accuracy, "loss": round(loss, 4)}


def described() -> dict[str, dict]:
    """The trials as plain data."""
    return {
        name: {"recipe": asdict(trial.recipe), "images": trial.images}
        for name, trial in trials().items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="forget what is stored")
    if parser.parse_args().again:
        RESULTS.unlink(missing_ok=True)
    os.environ["LENET_DEVICE"] = "cpu"
    ladder = Ladder(RESULTS, "python tools/trials.py")
    with one_thread_each() as pool:
        left = ladder.missing(described(), SEEDS)
        ladder.measure(pool, left, lambda name, seed: (judge, trials()[name], seed))


if __name__ == "__main__":
    main()
