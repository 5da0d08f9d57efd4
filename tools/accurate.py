"""How accurate can the network become? A ladder: lenet_utils/measured/accurate.json.

    python tools/accurate.py          the trials: what is missing
    python tools/accurate.py --test   the rungs, with five seeds: what is missing

A trial learns from the 55,000 training images and is judged at its last step by the 5,000
validation images, with seeds that are none of the five. What decides, said beforehand: the mean
over the seeds of the validation loss (cross-entropy), after division by the temperature that makes
it smallest, so that smoothed and other labels compare. 5,000 images are too few to tell by
accuracy; it is kept, too. The trials come in five parts, of which each begins with what the one
before has found: how strong the distortions; CHANGES of the best, one at a time; 40 epochs of it,
and of it with all the changes that helped; then networks that the better of these teach; last,
other lengths, and stronger distortions for 40 epochs. Up to the taught ones the last step's weights
count. Averages of the weights cost next to nothing: each trial is judged with and without, and as
it is and averaged over nine shifts. Whether the network of the better one is its last step or its
average, the same loss says.

With --test the rungs are frozen: five trainings each on all 60,000, judged at their last step by
the 10,000 test images and by scikit-learn's 1,797 digits, which other people wrote; then the five
together. Those of COUNTED are also judged by all that chapter 05 counts. It refuses unless the
recipe `accurate` and the DISTILLED are those that the trials found. Earlier looks at the test
images: one, in a draft of chapter 10, at a recipe made up for the draft (99.36 %); nothing was
chosen by it.

It may be stopped and started again: results are stored as they come, and trained networks are kept
in a folder. On two cores the trials take an hour and a quarter, the tests two hours.
"""

import argparse
import datetime
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
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
SHIFTS = [(right, down) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # in pixels
TESTED = ["last", "average 0.999"]  # weights
CHANGES = {  # of a recipe
    "none coarse": {"distortions": {"coarse": 0.0}},
    "elastic times 2": {"distortions": {"elastic": 2.0}},
    "no smoothing": {"label_smoothing": 0.0},
    "rate 0.002": {"learning_rate": 0.002},
    "rate 0.008": {"learning_rate": 0.008},
    "batches of 128": {"batch_size": 128},
}
COUNTED = ["accurate", "distilled"]


class Training(NamedTuple):
    """A recipe, and what else is done; all of it plain data."""

    recipe: training.Recipe
    seeds: tuple[int, ...] = (5,)
    teachers: str = ""  # whose networks, together, say how probable each class is
    weights: str = "last"  # of TESTED, which the teachers have
    temperature: float = 1.0  # that softens teachers' and learner's probabilities alike
    clean: float = 0.0  # the part of the epochs, at the end, that is without distortions

    def described(self) -> dict:
        """For the file: the recipe, and what else is not as usual."""
        usual = self._field_defaults
        rest = {key: value for key, value in self._asdict().items() if key in usual}
        rest = {key: value for key, value in rest.items() if value != usual[key]}
        rest.pop("seeds", None)
        return {"recipe": asdict(self.recipe), **rest}


# With which weights networks of the recipe `accurate` are used, and how they teach; frozen with it.
DISTILLED = Training(
    replace(training.RECIPES["accurate"], epochs=80), (5,), "40 epochs, all that helped"
)


# What is tried, what is chosen by it, what is tested


def score(trials: dict, name: str, way: Training, reading: str = "last") -> float:
    """The mean loss over the seeds of a stored trial; KeyError if it is not there as described."""
    stored, described = trials[name], json.loads(json.dumps(way.described()))
    if any(stored.get(key) != value for key, value in described.items()):
        raise KeyError(name)
    losses = dict(zip(stored["seeds"], stored.get("loss", []), strict=True))
    return statistics.mean(losses[seed][reading] for seed in way.seeds)


def best(trials: dict, ways: dict[str, Training]) -> str:
    """The name of the lowest score; KeyError if one of them is not stored."""
    return min(ways, key=lambda name: score(trials, name, ways[name]))


def extents(factor: float) -> dict[str, float]:
    """The distortions of `robust`, all as strong as a factor says."""
    strong = training.RECIPES["robust"].distortions
    return {kind: round(factor * n, 4) for kind, n in strong.items()}


def changed(recipe: training.Recipe, change: dict) -> training.Recipe:
    """A recipe with one of CHANGES; distortions are multiplied by what is given."""
    factors = change.get("distortions", {})
    distortions = {kind: n * factors.get(kind, 1.0) for kind, n in recipe.distortions.items()}
    return replace(recipe, **change | {"distortions": distortions})


def trials(stored: dict) -> dict[str, Training]:
    """By name, all that can be said by now: a part needs the results of those before."""
    recipe = training.Recipe(15, 4e-3, "one_cycle", label_smoothing=0.05)
    made = {
        f"extents times {factor}": Training(replace(recipe, distortions=extents(factor)))
        for factor in (0.5, 0.3, 0.75, 1.0)
    }
    try:
        start = made[first := best(stored, made)]
        ways = {name: Training(changed(start.recipe, of)) for name, of in CHANGES.items()}
        made |= ways
        scores = {name: score(stored, name, way) for name, way in ways.items()}
        helped = [name for name in ways if scores[name] < score(stored, first, start)]
        recipe = start.recipe
        for name in sorted(helped, key=scores.get, reverse=True):  # of two rates, the better stays
            recipe = changed(recipe, CHANGES[name])
        longer = {"40 epochs": start.recipe, "40 epochs, all that helped": recipe}
        ways = {name: Training(replace(r, epochs=40), (5, 6)) for name, r in longer.items()}
        made |= ways if helped else {"40 epochs": ways["40 epochs"]}
        winner = best(stored, {name: way for name, way in ways.items() if name in made})
        made[winner] = ways[winner]._replace(seeds=(5, 6, 7))
        weights = min(TESTED, key=lambda of: score(stored, winner, ways[winner], of))
        taught = made[winner]._replace(seeds=(5,), teachers=winner, weights=weights)
        made["taught by three"] = taught
        made["taught by three, temperature 3"] = taught._replace(temperature=3.0)
        made["taught by three, the last fifth clean"] = taught._replace(clean=0.2)
        made["taught by three, 80 epochs"] = taught._replace(
            recipe=replace(taught.recipe, epochs=80)
        )
        recipe = made[winner].recipe
        for name, change in {
            "15 epochs, rate 0.001": {"epochs": 15, "learning_rate": 0.001},
            "15 epochs, rate 0.002": {"epochs": 15, "learning_rate": 0.002},
            "25 epochs, rate 0.002": {"epochs": 25, "learning_rate": 0.002},
            "40 epochs, extents times 0.75": {"distortions": extents(0.75)},
            "40 epochs, extents times 1.0": {"distortions": extents(1.0)},
        }.items():
            made[name] = Training(replace(recipe, **change), (5, 6, 7))
    except KeyError:
        pass
    return made


def chosen(stored: dict) -> tuple[training.Recipe, Training]:
    """What the trials found: the recipe, and how its networks teach best, with which weights.

    The recipes of 40 epochs are compared by the two seeds that all of them have. (By the third,
    which three of them have, the full extents would be ahead by 0.0001; the test set had been
    opened when that was noticed, so the choice stands.)

    Raises KeyError for trials that are not complete.
    """
    ways = trials(stored)
    alone = {name: way for name, way in ways.items() if way.recipe.epochs == 40}
    alone = {name: way._replace(seeds=(5, 6)) for name, way in alone.items() if not way.teachers}
    taught = {name: way for name, way in ways.items() if way.teachers}
    if not taught:
        raise KeyError("the trials are not complete: run those first")
    recipe, teaching = ways[best(stored, alone)].recipe, ways[best(stored, taught)]
    return recipe, teaching._replace(recipe=replace(recipe, epochs=teaching.recipe.epochs))


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
        "distorted, 40 epochs": replace(longer, distortions=accurate.distortions, epochs=40),
        "accurate": accurate,
    }
    if recipes["distorted, 40 epochs"] == accurate:
        del recipes["distorted, 40 epochs"]
    made = {name: Training(recipe) for name, recipe in recipes.items()}
    made["distilled"] = DISTILLED._replace(teachers="accurate")
    return {name: way._replace(seeds=tuple(SEEDS)) for name, way in made.items()}


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
        distorted = recipe.epochs - round(way.clean * recipe.epochs)
        options["transform"] = Fading(recipe, distorted * batches)
    if way.teachers:
        lesson = Lesson(teachers, way.temperature, options["transform"])
        options |= {"transform": lesson.inputs, "criterion": lesson.loss}
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


def readings(networks: dict[str, list[nn.Module]], digits: data.Digits, parts: Sequence) -> dict:
    """Parts of the marks by the names of the networks, and, with ", shifted", over SHIFTS."""
    found = {part: {} for part in parts}
    for of, models in networks.items():
        for name, shifts in {of: HERE, f"{of}, shifted": SHIFTS}.items():
            of_reading = marks(models, digits, shifts)
            for part in parts:
                found[part][name] = of_reading[part]
    return found


def judge(name: str, way: Training, seed: int, folder: Path, told_by: list[int]) -> dict:
    """One trial: accuracy and loss of each reading of it."""
    start = time.process_time()
    taught = learn(way, data.load("train"), seed, teachers(way, told_by, folder))
    seconds = round(time.process_time() - start)
    for of, trained in taught.items():
        training.save(trained, place(folder, name, seed, of))
    networks = {of: [trained.model] for of, trained in taught.items()}
    figures = readings(networks, data.load("validation"), ["accuracy", "loss"])
    return {"processor_seconds": seconds, **figures, **when()}


def place(folder: Path, name: str, seed: int, of: str) -> Path:
    """Where a network is kept."""
    return folder / f"{name}, seed {seed}, {of}.pt"


def teachers(way: Training, seeds: list[int], folder: Path) -> list[nn.Module]:
    """The networks that teach, if any; FileNotFoundError for one that is not kept."""
    files = [place(folder, way.teachers, seed, way.weights) for seed in seeds if way.teachers]
    where = {"device": training.device(), "memory_format": torch.channels_last}
    return [training.restore(file).model.to(**where) for file in files]


def when() -> dict[str, str]:
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=MEASURED, capture_output=True, text=True).stdout.strip()
    return {"date": f"{datetime.date.today()}", "commit": commit}


def test(name: str, way: Training, seed: int, folder: Path, told_by: list[int]) -> dict:
    """One training of a rung on all 60,000, judged by the test images and by others' digits."""
    start = time.process_time()
    taught = learn(way, data.load("train+validation"), seed, teachers(way, told_by, folder))
    seconds = round(time.process_time() - start)
    for of in TESTED:
        training.save(taught[of], place(folder, name, seed, of))
    return {
        "processor_seconds": seconds,
        **tested({of: [taught[of].model] for of in TESTED}),
        **when(),
    }


def tested(networks: dict[str, list[nn.Module]]) -> dict:
    """Readings of the two test sets."""
    of_others = robust.of_others()["other people's, prepared"]
    found = readings(networks, data.load("test"), ["accuracy", "wrong"])
    return found | {"others": readings(networks, of_others, ["accuracy"])["accuracy"]}


def together(name: str, way: Training, folder: Path) -> dict:
    """The networks of a rung, as one: their probabilities averaged."""
    networks = {
        of: [training.restore(place(folder, name, seed, of)).model for seed in way.seeds]
        for of in TESTED
    }
    return way.described() | tested(networks) | when()


def counted(name: str, seed: int, folder: Path, sets: Path) -> dict:
    """The accuracies of a kept network by all that chapter 05 counts."""
    model = training.restore(place(folder, name, seed, DISTILLED.weights)).model
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


def finish(pool: Executor, folder: Path) -> None:
    """When all are trained: COUNTED by what chapter 05 counts; the five of each rung together."""
    ladder, ways = Ladder(RESULTS, COMMAND, "counted"), rungs()
    left = ladder.missing({name: ways[name].described() for name in COUNTED}, SEEDS)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "sets.pt")
        if left:
            sets = robust.judged(pool, "test")
            torch.save({name: tuple(of) for name, of in sets.items()}, file)
        ladder.measure(pool, left, lambda name, seed: (counted, name, seed, folder, file))
    runs = {name: pool.submit(together, name, way, folder) for name, way in ways.items()}
    ladder.content["together"] = {name: run.result() for name, run in runs.items()}
    write_whole(RESULTS, (json.dumps(ladder.content, indent=1) + "\n").encode())


def train_all(pool: Executor, part: str, ways: dict[str, Training], folder: Path) -> bool:
    """Train and judge what is missing, teachers first; whether anything was."""
    ladder = Ladder(RESULTS, COMMAND, part)
    seeds = sorted({seed for way in ways.values() for seed in way.seeds})
    left = ladder.missing({name: way.described() for name, way in ways.items()}, seeds)
    left = [(name, seed) for name, seed in left if seed in ways[name].seeds]
    function = {"trials": judge, "tests": test}[part]

    def call(name: str, seed: int) -> tuple:
        told_by = ways[ways[name].teachers].seeds if ways[name].teachers else []
        return function, name, ways[name], seed, folder, told_by

    left.sort(key=lambda of: -ways[of[0]].recipe.epochs)  # the longest first
    for taught in (False, True):
        now = [(name, seed) for name, seed in left if bool(ways[name].teachers) == taught]
        ladder.measure(pool, now, call)
    return bool(left)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", action="store_true", help="judge the rungs by the test sets")
    parser.add_argument("--networks", type=Path, default=NETWORKS, help="where networks are kept")
    parser.add_argument("--device", default="cpu", help="where to train: cpu or cuda")
    options = parser.parse_args()
    os.environ["LENET_DEVICE"] = options.device
    part = "tests" if options.test else "trials"
    folder = options.networks / part
    folder.mkdir(parents=True, exist_ok=True)

    def stored() -> dict:
        return Ladder(RESULTS, COMMAND, "trials").results

    with one_thread_each() as pool:
        if options.test:
            if chosen(stored()) != (training.RECIPES["accurate"], DISTILLED):
                parser.error(f"not what the trials found, which is {chosen(stored())}")
            train_all(pool, part, rungs(), folder)
            finish(pool, folder)
        else:
            while train_all(pool, part, trials(stored()), folder):
                pass


if __name__ == "__main__":
    main()
