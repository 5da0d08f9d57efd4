"""The way from the write-up's training to 99 % in less than one pass: measured/faster.json.

    python tools/faster.py --trials     what was tried, with one seed: what is missing
    python tools/faster.py --choice     the best of these with five seeds: what is missing
    python tools/faster.py --frozen     the chosen ones, with ten seeds: what is missing
    python tools/faster.py --ladder     every rung, judged by the test images: what is missing
    python tools/faster.py --widths     networks of half, twice, four times as many maps
    python tools/faster.py --times      seconds of the rungs and of all else that is timed, in turn:
                                        about 12 minutes, on a machine that does nothing else
    python tools/faster.py --threads    seconds of 100 steps on one thread and on two
    python tools/faster.py --processes  images per second with one process and with two

Trials learn from the 55,000 training images, with seeds that are none of the ladder's, and are
judged at their last step by the 5,000 validation images. The ladder's rungs learn from all 60,000.
All trainings run on one thread; all parts may be stopped and started again.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import benchmark
import torch
import torch.nn.functional as F
from ladder import Ladder
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lenet_utils import data, evaluation, speed, training
from lenet_utils.files import write_whole
from lenet_utils.lesson import MEASURED, versions
from lenet_utils.models import LeNet

RESULTS = MEASURED / "faster.json"
COMMAND = "python tools/faster.py"
TRIAL_SEED, CHOICE_SEEDS = 100, [100, 101, 102, 103, 104]
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
    still: bool = False  # the first filters stay as they start
    averaged: float = 0.0  # share of the steps whose weights are averaged at the end

    def network(self, images: Tensor) -> nn.Module:
        kind = speed.QuickLeNet if self.quick else LeNet
        if not self.standardised:
            kind = OnInk
        if not self.channels_last:
            kind = type("Default", (DefaultLayout, kind), {})
        model = kind(self.recipe.softmax)
        model.network[0].requires_grad_(not self.still)
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


class Average:
    """After a step: keep the mean of the weights over the last share of all steps; in the end the
    model gets it. P. Izmailov et al., "Averaging weights leads to wider optima", 2018."""

    def __init__(self, steps: int, share: float):
        self.left, self.count, self.kept = steps, round(share * steps), []

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        self.left -= 1
        if self.left >= self.count:
            return
        weights = list(model.parameters())
        self.kept = self.kept or [torch.zeros_like(weight) for weight in weights]
        for mean, weight in zip(self.kept, weights, strict=True):
            mean.lerp_(weight, 1 / (self.count - self.left))
            if self.left == 0:
                weight.copy_(mean)


def learn(rung: Rung, digits: data.Digits, seed: int) -> nn.Module:
    """A rung's network, trained."""
    batches = speed.Part(digits, rung.recipe.batch_size, rung.share)
    steps = rung.recipe.epochs * len(batches)
    average = Average(steps, rung.averaged) if rung.averaged else None
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


def ladder() -> dict[str, Rung]:
    """From the write-up as written: each is what the one before was, with one change."""
    write_up = training.RECIPES["write_up"]
    fast = training.RECIPES["fast"]
    slow = {"in_memory": False, "standardised": False, "channels_last": False, "fused": False}
    last = Rung(write_up, **slow)
    made = {"the write-up as written": last}

    def step(name: str, recipe: dict | None = None, **change) -> None:
        nonlocal last
        last = replace(last, recipe=replace(last.recipe, **(recipe or {})), **change)
        made[name] = last

    step("logits", {"softmax": False})
    step("tensors in memory", in_memory=True)
    step("standardised input", standardised=True)
    step("channels_last", channels_last=True)
    step("fused Adam", fused=True)
    step("one cycle, 2 epochs", {"schedule": "one_cycle", "learning_rate": 6e-3, "epochs": 2})
    step("momentum terms, 1 epoch", {"betas": fast.betas, "epochs": 1})
    step("label smoothing", {"label_smoothing": fast.label_smoothing})
    step("a shorter way", quick=True)
    step("whitened first filters", whitened=True)
    step("Muon", {"learning_rate": 0.012}, muon=0.8)
    step("batches of 128", {"batch_size": 128})
    step("first filters stay", still=True)
    step("part of the images", share=0.75)
    return made


def that_learn(rungs: dict[str, Rung]) -> dict[str, Rung]:
    """Without those that learn what the one before does, in less time, and the frozen ones."""
    only_time = {"in_memory": True, "channels_last": True, "fused": True, "quick": False}
    made, before = {}, None
    for name, rung in rungs.items():
        learns = replace(rung, **only_time)
        if learns != before and rung not in FROZEN.values():
            made[name] = rung
        before = learns
    return made


def trials() -> dict[str, Rung]:
    """What was tried, by name."""
    base = Rung(speed.RECIPE, share=0.5, quick=True, whitened=True, muon=0.8)

    def changed(recipe: dict | None = None, **change) -> Rung:
        return replace(base, recipe=replace(base.recipe, **(recipe or {})), **change)

    def one_pass(batch_size: int, rate: float, averaged: float = 0.0) -> Rung:
        change = {"batch_size": batch_size, "learning_rate": rate}
        return changed(change, share=1.0, averaged=averaged)

    adam = {"muon": 0.0}
    return {
        "half, base": base,
        "pass, 32, averaged 0.3": one_pass(32, 0.008, 0.3),
        "half, averaged 0.4, rate 0.02": changed({"learning_rate": 0.02}, averaged=0.4),
        "pass, 64": one_pass(64, 0.012),
        "half, Adam, 64": changed({"batch_size": 64, "learning_rate": 0.006}, **adam),
        "half, smoothing 0.1": changed({"label_smoothing": 0.1}),
        "half, averaged 0.4": changed(averaged=0.4),
        "pass, 64, averaged 0.3": one_pass(64, 0.012, 0.3),
        "half, not whitened": changed(whitened=False),
        "pass, 64, rate 0.006": one_pass(64, 0.006),
        "pass, 32, rate 0.006": one_pass(32, 0.006),
        "pass, 128": one_pass(128, 0.012),
        "half, 64": changed({"batch_size": 64}),
        "half, rate 0.02": changed({"learning_rate": 0.02}),
        "pass, 64, smoothing 0.1": replace(
            one_pass(64, 0.012), recipe=replace(one_pass(64, 0.012).recipe, label_smoothing=0.1)
        ),
        "half, averaged 0.1": changed(averaged=0.1),
        "pass, 128, rate 0.02": one_pass(128, 0.02),
        "pass, 256, rate 0.02": one_pass(256, 0.02),
        "0.6 of a pass": changed(share=0.6),
        "0.7 of a pass": changed(share=0.7),
        "0.6 of a pass, 192": changed({"batch_size": 192, "learning_rate": 0.02}, share=0.6),
        "0.6 of a pass, 256": changed({"batch_size": 256, "learning_rate": 0.025}, share=0.6),
        "half, first filters stay": changed(still=True),
        "0.6, first filters stay": changed(share=0.6, still=True),
        "0.7, first filters stay": changed(share=0.7, still=True),
        "0.75, first filters stay": changed(share=0.75, still=True),
        "0.8, first filters stay": changed(share=0.8, still=True),
        "pass, 128, first filters stay": changed(share=1.0, still=True),
        "half, smoothing 0.1, momentum 0.85": changed({"label_smoothing": 0.1}, muon=0.85),
        "half, momentum 0.9": changed(muon=0.9),
        "half, Adam": changed({"learning_rate": 0.01}, **adam),
    }


def choice() -> dict[str, Rung]:
    """The trials between which more seeds decide."""
    names = ["half, base", "0.6 of a pass", "0.7 of a pass", "0.6 of a pass, 192"]
    names += ["pass, 64", "pass, 128", "pass, 256, rate 0.02"]
    tried = trials()
    return {name: rung for name, rung in tried.items() if name in names or rung.still}


# Chosen by validation: with first filters that stay, the least share of the images that is as good
# as `fast` by accuracy and loss; and the most accurate pass. All earlier looks at test images, ten
# seeds each: 0.6 of a pass in batches of 128, 99.005 ± 0.077 %, which took 0.269 of a usual epoch,
# too long; in batches of 192, with a faster Muon, 98.979 ± 0.105 %; a pass, 99.200 ± 0.042 %, and,
# with first filters from fewer images, 99.167 ± 0.092 %. A draft showed 98.91 % of half a pass.
FROZEN = {
    "part of a pass": trials()["0.75, first filters stay"],
    "one pass": trials()["pass, 128"],
}


# Times: all that is compared is measured in turn.


def seconds_of(call) -> float:
    start = time.perf_counter()
    call()
    return round(time.perf_counter() - start, 3)


def rung_seconds(rung: Rung, digits: data.Digits, folder: str) -> float:
    """Seconds of a whole training; where it takes more than a pass, of a quarter, times as much."""
    passes = rung.recipe.epochs * rung.share
    if not rung.in_memory:
        way = (folder, 0, False, rung.recipe.softmax, len(digits.images) // 4)
        return round(4 * passes * seconds_of(lambda: benchmark.usual_epoch(*way)), 3)
    if passes > 1:
        rung = replace(rung, recipe=replace(rung.recipe, epochs=1), share=0.25)
    seconds = seconds_of(lambda: learn(rung, digits, 0))
    return round(seconds * max(1, passes * 4), 3) if passes > 1 else seconds


def alternatives(digits: data.Digits) -> dict[str, Callable[[], float]]:
    """Seconds of an epoch of `fast` done otherwise, from 12,800 images. Takes time to compile."""
    recipe, few = training.RECIPES["fast"], data.Digits(*(part[:12_800] for part in digits))
    loader = DataLoader(TensorDataset(*few), batch_size=64, shuffle=True, num_workers=2)
    compiled = torch.compile(LeNet().to(memory_format=torch.channels_last))

    def epoch(digits, network=LeNet) -> float:
        train = functools.partial(training.train, recipe, digits, network=network, progress=False)
        return round(seconds_of(train) * 60_000 / 12_800, 3)

    two = data.Digits(*(part[:128] for part in digits))
    training.fit(compiled, two, recipe, progress=False)
    return {
        "as it is": lambda: epoch(few),
        "bfloat16": lambda: epoch(few, InBfloat16),
        "loader with 2 workers": lambda: epoch(loader),
        "quick": lambda: epoch(few, speed.QuickLeNet),
        "compiled": lambda: epoch(few, lambda: compiled),
    }


class InBfloat16(LeNet):
    """Convolutions and linear layers in numbers of 16 bits."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(images).float()


def inferences(test: data.Digits) -> dict[str, Callable[[], float]]:
    """Seconds of the 10,000 test images in batches of 250, by the ways to compute the network."""
    plain, quick = training.shipped().model, speed.QuickLeNet()
    quick.load_state_dict(plain.state_dict())
    quick.to(memory_format=torch.channels_last)
    ways = {"LeNet": plain, "QuickLeNet": quick, "QuickLeNet, compiled": torch.compile(quick)}
    evaluation.predict(ways["QuickLeNet, compiled"], test.images[:250])
    return {
        name: lambda model=model: seconds_of(lambda: evaluation.predict(model, test.images))
        for name, model in ways.items()
    }


def matrix_product() -> float:
    """Floating-point operations per second, in units of 10⁹, of the product of 1024² numbers."""
    matrix = torch.randn(1024, 1024)
    matrix @ matrix
    return round(2 * 1024**3 / min(seconds_of(lambda: matrix @ matrix) for _ in range(9)) / 1e9, 1)


def times(limit: float = 540) -> dict:
    """Rounds of everything that is timed on one thread, as long as another one fits the limit."""
    torch.set_num_threads(1)
    digits, test = data.load("train+validation"), data.load("test")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        benchmark.unpack(folder)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/compiled"  # nothing is there yet
        calls = {
            f"rung, {name}": functools.partial(rung_seconds, rung, digits, folder)
            for name, rung in ladder().items()
        }
        calls["usual epoch, our layout and optimiser"] = lambda: seconds_of(
            lambda: benchmark.usual_epoch(folder, 0, True)
        )
        for name, kind in {"": LeNet, ", quick": speed.QuickLeNet}.items():
            calls["write-up's epoch" + name] = lambda kind=kind: seconds_of(
                lambda: training.train(
                    benchmark.ONE_EPOCH,
                    speed.Part(digits, 64) if kind is speed.QuickLeNet else digits,
                    network=lambda: kind(softmax=True),
                    progress=False,
                )
            )
        start = time.perf_counter()
        calls |= {f"fast, {name}": call for name, call in alternatives(digits).items()}
        found["compiling"] = [round(time.perf_counter() - start, 1)]
        calls |= {f"inference, {name}": call for name, call in inferences(test).items()}
        calls["GFLOP/s of a matrix product"] = matrix_product
        rounds, start = 0, time.perf_counter()
        while not rounds or (time.perf_counter() - start) * (rounds + 1) / rounds < limit:
            for name, call in calls.items():
                found.setdefault(name, []).append(call())
            rounds += 1
            print(rounds, "rounds,", round(time.perf_counter() - start), "s", flush=True)
    return found


def summary(found: dict[str, list[float]]) -> str:
    """What the times come to: medians over the rounds of ratios within a round."""
    usual = "usual epoch, our layout and optimiser"

    def ratio(name: str, of: str) -> float:
        return statistics.median(a / b for a, b in zip(found[name], found[of], strict=True))

    lines = [
        f"{name}: {ratio(name, usual):.3f} of a usual epoch" for name in found if "rung" in name
    ]
    for way in ("write-up's epoch", "write-up's epoch, quick"):
        lines.append(f"{way}: {1 / ratio(way, usual):.2f} times as fast as a usual epoch")
    for way in ("QuickLeNet", "QuickLeNet, compiled"):
        times_as_fast = 1 / ratio(f"inference, {way}", "inference, LeNet")
        lines.append(f"inference, {way}: {times_as_fast:.2f} times as fast as LeNet")
    return "\n".join(lines)


def threads() -> dict[str, list[float]]:
    """Seconds of 100 steps of `fast` in a new process, on one thread and on two, alone and beside
    a process that multiplies matrices all the time."""
    found = {}
    for _ in range(3):
        for company in ("alone", "beside a busy process"):
            busy = subprocess.Popen([sys.executable, "-c", BUSY]) if company != "alone" else None
            for count in (1, 2):
                run = [sys.executable, "-c", HUNDRED_STEPS, str(count)]
                out = subprocess.run(run, check=True, capture_output=True, text=True).stdout
                name = f"{count} thread{'s' if count > 1 else ''}, {company}"
                found.setdefault(name, []).append(round(float(out), 2))
            if busy is not None:
                busy.kill()
                busy.wait()
    return found


BUSY = """
import torch
torch.set_num_threads(1)
matrix = torch.randn(1024, 1024)
while True:
    matrix @ matrix
"""
HUNDRED_STEPS = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
from lenet_utils import data, training
digits = data.Digits(*(part[:6400] for part in data.load("train")))
start = time.perf_counter()
training.train(training.RECIPES["fast"], digits, progress=False)
print(time.perf_counter() - start)
"""


def processes() -> dict[str, list[float]]:
    """Images per second of tools/several.py with one process and with two."""
    found, program = {}, Path(__file__).with_name("several.py")
    for _ in range(3):
        for count in (1, 2):
            run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            run += [f"--nproc-per-node={count}", str(program)]
            out = subprocess.run(run, check=True, capture_output=True, text=True).stdout
            found.setdefault(str(count), []).append(float(out.split()[-2]))
    return found


def widths() -> dict[str, Rung]:
    """Networks of more and fewer maps, with one pass of `fast`, by the factor."""
    return {f"{factor:g}": Rung(training.RECIPES["fast"]) for factor in (0.5, 1, 2, 4)}


def wide(factor: float) -> nn.Module:
    """A LeNet with so many times as many maps and units."""
    one, two, three, four = (round(factor * count) for count in (6, 16, 120, 84))
    model = LeNet()
    for place, layer in {
        0: nn.Conv2d(1, one, kernel_size=5),
        3: nn.Conv2d(one, two, kernel_size=5),
        6: nn.Conv2d(two, three, kernel_size=5),
        9: nn.Linear(three, four),
        11: nn.Linear(four, 10),
    }.items():
        model.network[place] = layer
    return model


def judge_width(factor: float, rung: Rung, seed: int) -> dict[str, float]:
    """Validation accuracy, and the processor's seconds for an epoch of the 55,000 images."""
    digits, judged = data.load("train"), data.load("validation")
    start = time.process_time()
    network = functools.partial(wide, factor)
    options = {"seed": seed, "network": network, "progress": False}
    model = training.train(rung.recipe, digits, **options).model
    seconds = round(time.process_time() - start, 2)
    answers = evaluation.predict(model, judged.images).argmax(1)
    return {"accuracy": evaluation.accuracy(answers, judged.labels), "seconds": seconds}


def keep_part(name: str, found: dict) -> None:
    """Put a part into the stored results."""
    content = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"command": COMMAND}
    content[name] = {"versions": versions(), "found": found}
    write_whole(RESULTS, (json.dumps(content, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["trials", "choice", "frozen", "ladder", "widths", "times", "threads", "processes"]
    for part in parts:
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    for part in ("times", "threads", "processes"):
        if getattr(asked, part):
            keep_part(part, found := globals()[part]())
            print(summary(found) if part == "times" else found)
    for part, rungs, seeds, sets in (
        ("trials", trials(), [TRIAL_SEED], ("train", "validation")),
        ("choice", choice(), CHOICE_SEEDS, ("train", "validation")),
        ("ladder", that_learn(ladder()), FEW_SEEDS, ("train+validation", "test")),
        ("frozen", FROZEN, SEEDS, ("train+validation", "test")),
        ("widths", widths(), FEW_SEEDS, None),
    ):
        if not getattr(asked, part):
            continue
        ladder_of = Ladder(RESULTS, COMMAND, part)
        left = ladder_of.missing({name: asdict(rung) for name, rung in rungs.items()}, seeds)
        left.sort(key=lambda of: (rungs[of[0]].recipe.epochs, of[1]))  # the short ones first

        def call(name: str, seed: int, rungs=rungs, sets=sets) -> tuple:
            if sets is None:
                return judge_width, float(name), rungs[name], seed
            return judge, rungs[name], seed, *sets

        with benchmark.one_thread_each(asked.workers) as pool:
            ladder_of.measure(pool, left, call)


if __name__ == "__main__":
    main()
