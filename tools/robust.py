"""Choose and judge the network that ships as `robust`; store lenet_utils/measured/robust.json.

    python tools/robust.py          the trials: what is missing
    python tools/robust.py --test   the recipe `robust`, beside `plain`: what is missing

A trial learns from the 55,000 training images and is judged at its last step by the 5,000
validation images and by altered copies of them: ALTERATIONS, prepared by `data.prepare`, and others
that are not prepared (turned, shifted, thinner, thicker). Once the recipe stands, --test trains it
on all 60,000 and judges it by the test images, by their altered copies, and by scikit-learn's 1,797
digits, which other people wrote; it refuses if the recipe is none of the trials'. (Which kinds of
distortion there are came first, from a trial that looked at these.) Each result is stored as it
comes, with date and commit.
"""

import argparse
import datetime
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmark import SEEDS, one_thread_each
from ladder import Ladder
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import affine, rotate

from lenet_utils import data, evaluation, training
from lenet_utils.alterations import ALTERATIONS
from lenet_utils.data import Digits
from lenet_utils.lesson import MEASURED

RESULTS = MEASURED / "robust.json"
TRIAL_SEEDS = SEEDS[:2]


def trials() -> dict[str, training.Recipe]:
    """All of them, by name: how long, and how far."""
    recipe = training.RECIPES["robust"]
    made = {f"{n} epochs": replace(recipe, epochs=n) for n in (30, 60, 1, 12)}
    smaller = {kind: round(0.75 * n, 4) for kind, n in recipe.distortions.items()}
    made["30 epochs, extents times 0.75"] = replace(recipe, epochs=30, distortions=smaller)
    return made


def altered(name: str, subset: str) -> Tensor:
    """All images of a subset, altered with the first seed and prepared: uint8 (N, 1, 32, 32)."""
    chance, images = np.random.default_rng(0), data.load(subset, 28).images[:, 0].numpy()
    return torch.cat([data.prepare(ALTERATIONS[name](image, chance)) for image in images])


def unprepared(images: Tensor) -> dict[str, Tensor]:
    """Images uint8 (N, 1, 32, 32), turned, shifted, with thinner and thicker strokes."""
    bilinear, corner = InterpolationMode.BILINEAR, F.pad(images.float(), (0, 1, 0, 1))
    made = {f"turned by {n:+}°": rotate(images, n, interpolation=bilinear) for n in (-30, 30)}
    for way, move in {"left": [-4, 0], "right": [4, 0], "up": [0, -4], "down": [0, 4]}.items():
        shifted = affine(images, angle=0, translate=move, scale=1, shear=[0, 0])
        made[f"4 pixels {way}"] = shifted
    made["thinner"] = (-F.max_pool2d(-corner, 2, 1)).to(torch.uint8)
    made["thicker"] = F.max_pool2d(corner, 2, 1).to(torch.uint8)
    return made


def of_others() -> dict[str, Digits]:
    """scikit-learn's digits, 8×8, of 13 writers, resized only, and prepared."""
    digits = load_digits()
    labels = torch.from_numpy(digits.target)
    resized = data.resize(digits.images / 16)
    prepared = torch.cat([data.prepare(image) for image in digits.images])
    return {
        "other people's, resized": Digits(resized, labels),
        "other people's, prepared": Digits(prepared, labels),
    }


def judged(pool, subset: str) -> dict[str, Digits]:
    """What a network is judged by: a subset as it is, and altered; for "test", others' digits."""
    digits = data.load(subset)
    runs = {name: pool.submit(altered, name, subset) for name in ALTERATIONS}
    sets = {"as they are": digits.images} | unprepared(digits.images)
    sets |= {name: run.result() for name, run in runs.items()}
    made = {name: Digits(images, digits.labels) for name, images in sets.items()}
    return made | (of_others() if subset == "test" else {})


def judge(recipe: training.Recipe, subset: str, seed: int, file: Path) -> dict:
    """One training at its last step: accuracies on the sets in a file; seconds, date, commit."""
    digits, start = data.load(subset), time.perf_counter()
    model = training.train(recipe, digits, seed=seed, progress=False).model
    seconds = round(time.perf_counter() - start, 1)
    accuracy = accuracies(model, torch.load(file))
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=MEASURED, capture_output=True, text=True).stdout.strip()
    date = f"{datetime.date.today()}"
    return {"accuracy": accuracy, "seconds": seconds, "date": date, "commit": commit}


def accuracies(model: torch.nn.Module, sets: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    answers = {
        name: evaluation.predict(model, images).argmax(1) for name, (images, _) in sets.items()
    }
    return {name: round(evaluation.accuracy(answers[name], sets[name][1]), 6) for name in sets}


def table(tests: dict) -> str:
    """What the recipes were judged by, as the cards of the networks show it."""
    names = list(tests)
    lines = [f"| accuracy (%) | {' | '.join(f'`{n}`' for n in names)} |", "|---" * 3 + "|"]
    for of in tests[names[0]]["accuracy"][0]:
        cells = []
        for name in names:
            percent = [100 * accuracy[of] for accuracy in tests[name]["accuracy"]]
            mean, spread = statistics.mean(percent), statistics.stdev(percent)
            cells.append(f"{mean:.2f} ± {spread:.2f}")
        lines.append(f"| {of} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", action="store_true", help="judge the recipe by test images")
    test = parser.parse_args().test
    os.environ["LENET_DEVICE"] = "cpu"
    recipes, seeds, part = trials(), TRIAL_SEEDS, "trials"
    learn, judge_by = "train", "validation"
    if test:
        recipes = {name: training.RECIPES[name] for name in ("plain", "robust")}
        if recipes["robust"] not in trials().values():
            parser.error("expected a recipe that was a trial: add it, and run the trials first")
        seeds, part, learn, judge_by = SEEDS, "tests", "train+validation", "test"
    ladder = Ladder(RESULTS, "python tools/robust.py", part)
    left = ladder.missing({name: {"recipe": asdict(r)} for name, r in recipes.items()}, seeds)
    with one_thread_each() as pool, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sets.pt")
        if left:
            torch.save({name: tuple(of) for name, of in judged(pool, judge_by).items()}, file)
        ladder.measure(pool, left, lambda name, seed: (judge, recipes[name], learn, seed, file))


if __name__ == "__main__":
    main()
