"""How accurate can the network become? A ladder: lenet_utils/measured/accurate.json.

    python tools/accurate.py          the trials: what is missing
    python tools/accurate.py --test   the rungs, with five seeds: what is missing

A trial learns from the 55,000 training images and is judged at its last step by the 5,000
validation images, with seeds that are none of the five. What decides, said beforehand: the mean
over the seeds of the validation loss (cross-entropy), after division by the temperature that makes
it smallest, so that smoothed and other labels compare. 5,000 images are too few to tell by
accuracy; it is kept, too. Averages of the weights cost next to nothing: each trial is judged
with and without.

With --test the rungs are frozen: five trainings each on all 60,000, judged at their last step by
the 10,000 test images and by scikit-learn's 1,797 digits, which other people wrote; each read once
as it is and averaged over nine shifts; then the five together. Those of COUNTED are also judged by
all that chapter 05 counts.

It may be stopped and started again: results are stored as they come, and trained networks are kept
in a folder.
"""

import argparse
import datetime
import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import robust
import torch
import torch.nn.functional as F
from benchmark import SEEDS, one_thread_each
from ladder import Ladder
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from lenet_utils import data, evaluation, training
from lenet_utils.files import write_whole
from lenet_utils.lesson import MEASURED
from lenet_utils.models import LeNet

RESULTS, COMMAND = MEASURED / "accurate.json", "python tools/accurate.py"
NETWORKS = Path(__file__).resolve().parents[1] / "networks"  # not in the repository
DECAYS = [0.99, 0.997, 0.999, 0.9997]  # of moving averages of the weights, per step
HERE = ((0, 0),)
# Which weights a network has at the end: chosen by the trials.
WEIGHTS = "last"
TESTED = ["last", "average 0.999"]
SHIFTS = [(right, down) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # in pixels


class Training(NamedTuple):
    """What is done beyond a recipe; all of it plain data."""

    recipe: training.Recipe
    seeds: tuple[int, ...] = (5,)  # of a trial
    clean: int = 0  # so many epochs at the end without distortions
    weight_decay: float = 0.0  # of AdamW
    teachers: str = ""  # whose networks, together, say how probable each class is
    temperature: float = 1.0  # that softens teachers' and learner's probabilities alike

    def described(self) -> dict:
        """For the file: the recipe, and what else is not as usual."""
        usual = self._field_defaults
        rest = {k: v for k, v in self._asdict().items() if k in usual and v != usual[k]}
        rest.pop("seeds", None)
        return {"recipe": asdict(self.recipe), **rest}


def extents(factor: float, **others: float) -> dict[str, float]:
    """The distortions of `robust`, all as strong as a factor says, but for others."""
    strong = training.RECIPES["robust"].distortions
    return {kind: round(factor * n, 4) for kind, n in strong.items()} | others


def trials() -> dict[str, Training]:
    """All of them, by name."""
    recipe = training.Recipe(15, 4e-3, "one_cycle", label_smoothing=0.05)
    made = {
        f"extents times {n}": replace(recipe, distortions=extents(n)) for n in (0.5, 0.3, 0.75, 1.0)
    }
    half = replace(recipe, distortions=extents(0.5))
    made |= {
        "half, none coarse": replace(half, distortions=extents(0.5, coarse=0.0)),
        "half, no smoothing": replace(half, label_smoothing=0.0),
        "half, batches of 128": replace(half, batch_size=128),
        "half, rate 0.008": replace(half, learning_rate=8e-3),
        "half, rate 0.002": replace(half, learning_rate=2e-3),
    }
    return {name: Training(recipe) for name, recipe in made.items()}


def rungs() -> dict[str, Training]:
    """What --test trains, one change after the other, by name."""
    plain, accurate = (training.RECIPES[name] for name in ("plain", "accurate"))
    longer = replace(plain, epochs=15, learning_rate=accurate.learning_rate)
    recipes = {
        "constant rate": training.Recipe(3),
        "one cycle": replace(plain, label_smoothing=0.0),
        "smoothed labels": plain,
        "15 epochs": longer,
        "strongly distorted, 15 epochs": replace(longer, distortions=extents(1.0)),
        "distorted, 3 epochs": replace(plain, distortions=accurate.distortions),
        "distorted, 15 epochs": replace(longer, distortions=accurate.distortions),
        "accurate": accurate,
    }
    made = {name: Training(recipe, tuple(SEEDS)) for name, recipe in recipes.items()}
    made["distilled"] = made["accurate"]._replace(teachers="accurate")
    return made


COUNTED = ["accurate", "distilled"]


# How they learn


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


class Fading:
    """A recipe's inputs, without distortions after so many batches: a `transform` of `fit`."""

    def __init__(self, recipe: training.Recipe, batches: int):
        self.recipe, self.left = recipe, batches

    def __call__(self, images: Tensor) -> Tensor:
        self.left -= 1
        return self.recipe.inputs(images) if self.left >= 0 else data.to_input(images)


class Lesson:
    """What a learner is told by teachers who see the same inputs: `transform` and `criterion`.

    The loss is the cross-entropy with the teachers' probabilities, averaged, both at a temperature,
    times its square, so that the gradients stay as large (G. Hinton, O. Vinyals, J. Dean,
    "Distilling the knowledge in a neural network", 2015). The labels are not used.
    """

    def __init__(self, teachers: list[nn.Module], temperature: float, transform: Callable):
        self.teachers, self.temperature = teachers, temperature
        self.transform, self.seen = transform, None

    def inputs(self, images: Tensor) -> Tensor:
        self.seen = self.transform(images)
        return self.seen

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            told = [(teacher(self.seen) / self.temperature).softmax(1) for teacher in self.teachers]
        told = torch.stack(told).mean(0)
        return self.temperature**2 * F.cross_entropy(outputs / self.temperature, told)


def learn(
    way: Training, digits: data.Digits, seed: int, teachers: list[nn.Module]
) -> dict[str, training.Trained]:
    """One training: its last step's weights, "last", and "average DECAY" for each of DECAYS."""
    recipe, averages = way.recipe, Averages(DECAYS)
    options = {"transform": recipe.inputs}
    if way.clean:
        batches = math.ceil(len(digits.images) / recipe.batch_size)
        options["transform"] = Fading(recipe, (recipe.epochs - way.clean) * batches)
    if way.teachers:
        lesson = Lesson(teachers, way.temperature, options["transform"])
        options |= {"transform": lesson.inputs, "criterion": lesson.loss}
    if way.weight_decay:
        options["optimizer"] = lambda parameters, recipe: torch.optim.AdamW(
            parameters, recipe.learning_rate, recipe.betas, weight_decay=way.weight_decay
        )
    trained = training.train(
        recipe, digits, seed=seed, after_step=averages, progress=False, **options
    )
    found = {"last": trained}
    for decay, average in averages.models.items():
        found[f"average {decay}"] = trained._replace(model=average.module)
    return found


# How they are judged


def log_probabilities(models: list[nn.Module], images: Tensor, shifts=HERE) -> Tensor:
    """The logarithm of the probabilities, averaged over networks and shifts: float32 (N, 10).

    shifts  by how many pixels the images go to the right and down
    """
    sums = torch.zeros(len(images), 10)
    for right, down in shifts:
        moved = F.pad(images, (right, -right, down, -down))
        for model in models:
            sums += evaluation.predict(model, moved).softmax(1)
    return (sums / len(shifts) / len(models)).log()


def marks(models: list[nn.Module], digits: data.Digits, shifts=HERE) -> dict:
    """Accuracy; loss at the temperature that is best for it; which images are misread, as what."""
    outputs = log_probabilities(models, digits.images, shifts)
    answers = outputs.argmax(1)
    outputs /= evaluation.temperature(outputs, digits.labels)
    wrong = (answers != digits.labels).nonzero().flatten().tolist()
    return {
        "accuracy": round(evaluation.accuracy(answers, digits.labels), 6),
        "loss": round(F.cross_entropy(outputs, digits.labels).item(), 5),
        "wrong": " ".join(f"{image}:{answers[image]}" for image in wrong),
    }


def readings(networks: dict[str, list[nn.Module]], digits: data.Digits, parts: set[str]) -> dict:
    """Parts of the marks by the names of the networks, and, with ", shifted", over SHIFTS."""
    found = {part: {} for part in parts}
    for of, models in networks.items():
        for name, shifts in {of: HERE, f"{of}, shifted": SHIFTS}.items():
            of_reading = marks(models, digits, shifts)
            for part in parts:
                found[part][name] = of_reading[part]
    return found


def judge(name: str, way: Training, seed: int, folder: Path) -> dict:
    """One trial: accuracy and loss of each reading of it."""
    start = time.perf_counter()
    taught = learn(way, data.load("train"), seed, teachers(way, trials(), folder))
    seconds = round(time.perf_counter() - start)
    for of, trained in taught.items():
        training.save(trained, place(folder, name, seed, of))
    networks = {of: [trained.model] for of, trained in taught.items()}
    figures = readings(networks, data.load("validation"), {"accuracy", "loss"})
    return {"seconds": seconds, **figures, **when()}


def place(folder: Path, name: str, seed: int, of: str) -> Path:
    """Where a network is kept."""
    return folder / f"{name}, seed {seed}, {of}.pt"


def teachers(way: Training, ways: dict[str, Training], folder: Path) -> list[nn.Module]:
    """The networks that teach, if any; FileNotFoundError for one that is not kept."""
    seeds = ways[way.teachers].seeds if way.teachers else []
    files = [place(folder, way.teachers, seed, WEIGHTS) for seed in seeds]
    return [training.restore(file).model for file in files]


def when() -> dict[str, str]:
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=MEASURED, capture_output=True, text=True).stdout.strip()
    return {"date": f"{datetime.date.today()}", "commit": commit}


def test(name: str, way: Training, seed: int, folder: Path) -> dict:
    """One training of a rung on all 60,000, judged by the test images and by others' digits."""
    start = time.perf_counter()
    taught = learn(way, data.load("train+validation"), seed, teachers(way, rungs(), folder))
    seconds = round(time.perf_counter() - start)
    for of in TESTED:
        training.save(taught[of], place(folder, name, seed, of))
    return {"seconds": seconds, **tested({of: [taught[of].model] for of in TESTED}), **when()}


def tested(networks: dict[str, list[nn.Module]]) -> dict:
    """Readings of the two test sets."""
    of_others = robust.of_others()["other people's, prepared"]
    found = readings(networks, data.load("test"), {"accuracy", "wrong"})
    return found | {"others": readings(networks, of_others, {"accuracy"})["accuracy"]}


def together(name: str, way: Training, folder: Path) -> dict:
    """The networks of a rung, as one: their probabilities averaged."""
    networks = {
        of: [training.restore(place(folder, name, seed, of)).model for seed in way.seeds]
        for of in TESTED
    }
    return way.described() | tested(networks) | when()


def counted(name: str, way: Training, seed: int, folder: Path, sets: Path) -> dict:
    """The accuracies of a kept network by all that chapter 05 counts."""
    model = training.restore(place(folder, name, seed, WEIGHTS)).model
    return {"accuracy": robust.accuracies(model, torch.load(sets)), **when()}


def arithmetic(recipe: training.Recipe) -> float:
    """Floating-point operations for an image in training, those of its distortions included.

    The network's are counted by PyTorch: multiplications and additions of convolutions and linear
    layers, forward and backward. Those of the distortions are counted by hand, per pixel.
    """
    images = torch.zeros(recipe.batch_size, 1, 32, 32)
    with FlopCounterMode(display=False) as counter:
        LeNet()(images).sum().backward()
    network = counter.get_total_flops() / recipe.batch_size
    per_pixel = 3  # to_input
    if recipe.distortions:
        per_pixel += (
            12 + 2 * 2 * 16 + 2 + 20 + 9
        )  # places, elastic (16 points), added; sampled; stroke
    return network + 32 * 32 * per_pixel


def finish(pool, folder: Path) -> None:
    """Of the rungs whose networks are all there: the five together; COUNTED by what 05 counts."""
    ladder = Ladder(RESULTS, COMMAND, "counted")
    ways = {name: way for name, way in rungs().items() if name in COUNTED}
    left = ladder.missing({n: way.described() | {"of": WEIGHTS} for n, way in ways.items()}, SEEDS)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "sets.pt")
        if left:
            sets = robust.judged(pool, "test")
            torch.save({name: tuple(of) for name, of in sets.items()}, file)
        ladder.measure(pool, left, lambda n, seed: (counted, n, ways[n], seed, folder, file))
    runs = {name: pool.submit(together, name, way, folder) for name, way in rungs().items()}
    ladder.content["together"] = {name: run.result() for name, run in runs.items()}
    write_whole(RESULTS, (json.dumps(ladder.content, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", action="store_true", help="judge the rungs by the test sets")
    parser.add_argument("--networks", type=Path, default=NETWORKS, help="where networks are kept")
    options = parser.parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    part, ways, measure = ("tests", rungs(), test) if options.test else ("trials", trials(), judge)
    folder = options.networks / part
    folder.mkdir(parents=True, exist_ok=True)
    ladder = Ladder(RESULTS, COMMAND, part)
    seeds = sorted({seed for way in ways.values() for seed in way.seeds})
    left = ladder.missing({name: way.described() for name, way in ways.items()}, seeds)
    left = [(name, seed) for name, seed in left if seed in ways[name].seeds]
    with one_thread_each() as pool:
        for taught in (False, True):  # the teachers first
            now = [(name, seed) for name, seed in left if bool(ways[name].teachers) == taught]
            ladder.measure(pool, now, lambda name, seed: (measure, name, ways[name], seed, folder))
        if options.test:
            finish(pool, folder)


if __name__ == "__main__":
    main()
