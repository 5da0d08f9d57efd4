"""The ladder to 99 % in less than one pass; several processes compute what one does; chapter 09."""

import ast
import inspect
import json
import re
import statistics
import sys
from dataclasses import asdict, replace
from itertools import count, pairwise
from statistics import mean
from types import SimpleNamespace

import benchmark
import faster
import frame
import pytest
import scipy.stats
import several
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from cells import Checks
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lenet_utils import data, lesson, models, speed, training
from lenet_utils.models import LeNet

STEPS, BATCH = 6, 40


def descend(parameters, recipe):
    return torch.optim.SGD(parameters, lr=recipe.learning_rate, momentum=0.9)


def in_float64(images):
    return data.to_input(images).double()


def digits():
    some = data.load("validation")
    return data.Digits(some.images[: STEPS * BATCH], some.labels[: STEPS * BATCH])


OPTIONS = {"transform": in_float64, "optimizer": descend, "seed": 7}
RECIPE = training.Recipe(epochs=2, learning_rate=0.05, batch_size=BATCH)


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = several.train(digits(), RECIPE, **OPTIONS)
    torch.save([p.detach() for p in model.parameters()], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="started as on Linux")
def test_two_processes_equal_one(tmp_path, monkeypatch):
    """At the same images in each batch: gradients are means over equal shares."""
    mp.spawn(one_of_two, args=(tmp_path,), nprocs=2)
    two = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        model = LeNet()
        start = [p.detach().clone() for p in model.parameters()]
        monkeypatch.setattr(dist, "get_world_size", lambda: 1)
        monkeypatch.setattr(dist, "get_rank", lambda: 0)
        batches = several.EqualShares(digits(), BATCH)
        training.fit(model, batches, RECIPE, progress=False, **OPTIONS)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, first, second, before in zip(model.parameters(), *two, start, strict=True):
        assert torch.equal(first, second)
        assert (one - first).abs().max() < 1e-12 < 1e-4 < (one - before).abs().max()


@pytest.mark.parametrize("processes, possible", [(1, True), (2, True), (3, False), (4, True)])
def test_shares_are_equal_or_refused(monkeypatch, processes, possible):
    """The mean of means is that of all only if each is of as many images."""
    monkeypatch.setattr(dist, "get_world_size", lambda: processes)
    if not possible:
        with pytest.raises(ValueError, match="3 equal shares of 40"):
            several.EqualShares(digits(), BATCH)
        return
    seen = []
    for rank in range(processes):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        seen.append([images for images, _ in several.EqualShares(digits(), BATCH)])
        assert {len(images) for images in seen[-1]} == {BATCH // processes}
    together = torch.cat([torch.cat(parts) for parts in seen]).flatten(1)
    assert len(together.unique(dim=0)) == len(digits().images.flatten(1).unique(dim=0))


# The ladder


def differences(one, other):
    """Names of the fields in which two rungs differ, those of their recipes among them."""
    first, second = (asdict(rung) | asdict(rung.recipe) for rung in (one, other))
    return {name for name in first if name != "recipe" and first[name] != second[name]}


def test_each_rung_changes_what_it_says():
    rungs = list(faster.ladder().items())
    changed = {name: differences(one, other) for (_, one), (name, other) in pairwise(rungs)}
    together = {"schedule", "learning_rate", "epochs"}  # a schedule has another rate and length
    for name, fields in changed.items():
        allowed = len(fields) == 1 or fields == together or name.startswith(("momentum", "Muon"))
        assert fields and allowed, (name, fields)
    first = rungs[0][1]
    assert first.recipe == training.RECIPES["write_up"]
    assert not any((first.in_memory, first.standardised, first.channels_last, first.fused))
    assert [rungs[-1][1], rungs[-3][1]] == list(faster.FROZEN.values())


@pytest.mark.parametrize("name", list(faster.FROZEN))
def test_the_frozen_are_what_speed_train_does(name):
    digits = data.Digits(*(part[:700] for part in data.load("validation")))
    rung = faster.FROZEN[name]
    model = faster.learn(rung, digits, seed=3)
    options = {"share": rung.share, "still": rung.still, "seed": 3, "progress": False}
    trained = speed.train(rung.recipe, digits, **options)
    assert len(trained.history.losses) == (6 if rung.share == 1 else 5)
    for one, other in zip(model.parameters(), trained.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_chapter_00_does_what_the_ladder_says():
    stays = faster.ladder()["first filters stay"]
    assert (stays.recipe, stays.share, stays.still) == (speed.RECIPE, 1.0, True)
    assert all(rung.recipe == speed.RECIPE for rung in faster.FROZEN.values())


def test_what_only_takes_less_time_is_not_trained_again():
    names = list(faster.that_learn(faster.ladder()))
    assert "tensors in memory" not in names and "fused Adam" not in names
    assert {"the write-up as written", "logits", "standardised input", "Muon"} <= set(names)


@pytest.mark.parametrize("name", list(faster.ladder()))
def test_every_rung_can_be_trained(name):
    digits = data.Digits(*(part[:450] for part in data.load("validation")))
    rung = faster.ladder()[name]
    rung = replace(rung, recipe=replace(rung.recipe, epochs=min(2, rung.recipe.epochs)))
    model = faster.learn(rung, digits, seed=1)
    again = faster.learn(rung, digits, seed=1)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other) and one.isfinite().all()
    layout = model.network[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert layout == rung.channels_last


def test_pixels_from_0_to_1_are_what_the_first_rungs_see():
    model = faster.OnInk()
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = data.load("validation").images[:5]
    model(data.to_input(images))
    assert torch.allclose(seen[0], images / 255, atol=1e-6)


def test_seconds_are_those_of_a_whole_training(monkeypatch):
    done = []
    monkeypatch.setattr(faster, "seconds_of", lambda call: call() or 2.0)
    monkeypatch.setattr(faster, "learn", lambda rung, digits, seed: done.append(rung))
    monkeypatch.setattr(benchmark, "usual_epoch", lambda *way: done.append(way))
    digits = data.Digits(torch.zeros(100, 1, 32, 32), torch.zeros(100))
    rung = faster.Rung(training.RECIPES["fast"])
    ten = replace(rung, recipe=training.RECIPES["logits"])
    assert faster.rung_seconds(replace(rung, share=0.5), digits, "") == 2
    assert done[-1].share == 0.5
    assert faster.rung_seconds(ten, digits, "") == 2 * 4 * 10
    assert (done[-1].share, done[-1].recipe.epochs) == (0.25, 1)
    assert faster.rung_seconds(replace(ten, in_memory=False), digits, "here") == 2 * 4 * 10
    assert done[-1] == ("here", 0, False, False, 25)


def test_the_summary_compares_within_a_round():
    found = {
        "rung, a": [1.0, 20.0, 3.0],
        "usual epoch, our layout and optimiser": [10.0, 100.0, 10.0],
        "write-up's epoch": [5.0, 20.0, 2.0],
        "write-up's epoch, quick": [2.0, 10.0, 1.0],
        "inference, LeNet": [3.0, 3.0, 30.0],
        "inference, QuickLeNet": [2.0, 2.0, 10.0],
        "inference, QuickLeNet, compiled": [1.0, 1.0, 5.0],
    }
    assert faster.summary(found).splitlines() == [
        "rung, a: 0.200 of a usual epoch",
        "write-up's epoch: 5.00 times as fast as a usual epoch",
        "write-up's epoch, quick: 10.00 times as fast as a usual epoch",
        "inference, QuickLeNet: 1.50 times as fast as LeNet",
        "inference, QuickLeNet, compiled: 3.00 times as fast as LeNet",
    ]


@pytest.mark.parametrize("factor, count", [(1, 61_706), (2, 244_362), (0.5, 15_738)])
def test_wider_networks(factor, count):
    model = faster.wide(factor)
    assert sum(p.numel() for p in model.parameters()) == count
    assert [type(m) for m in model.network] == [type(m) for m in LeNet().network]


def test_operations_of_an_epoch():
    """What chapter 09 derives, against PyTorch's own count."""
    layers = [layer for layer in models.layer_table(LeNet()) if layer.macs]
    forward = sum(layer.macs for layer in layers)
    derived = 2 * 64 * (3 * forward - layers[0].macs)
    with FlopCounterMode(display=False) as counter:
        LeNet()(torch.zeros(64, 1, 32, 32)).sum().backward()
    assert counter.get_total_flops() == derived
    assert round(derived / 64 * 60_000 / 1e12, 3) == 0.136


def test_the_average_is_that_of_the_last_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    average = faster.Average(10, 0.4)
    for step in range(1, 11):
        model.weight.data.fill_(float(step))
        average(model)
        assert model.weight.item() == pytest.approx(step if step < 10 else (7 + 8 + 9 + 10) / 4)


# What is stored

STORED = lesson.measured("faster")


def plain_data(rung):
    return json.loads(json.dumps(asdict(rung)))


PARTS = {
    "trials": (faster.trials(), [faster.TRIAL_SEED]),
    "choice": (faster.choice(), faster.CHOICE_SEEDS),
    "frozen": (faster.FROZEN, faster.SEEDS),
    "ladder": (faster.that_learn(faster.ladder()), faster.FEW_SEEDS),
    "widths": (faster.widths(), faster.FEW_SEEDS),
}


@pytest.mark.parametrize("part", PARTS)
def test_trials_and_tests_are_stored_as_the_rungs_are(part):
    wanted, seeds = PARTS[part]
    assert list(STORED[part]) == list(wanted) and wanted
    for name, rung in wanted.items():
        stored = STORED[part][name]
        assert {key: stored[key] for key in plain_data(rung)} == plain_data(rung), name
        assert stored["seeds"] == seeds and len(stored["accuracy"]) == len(seeds), name
    assert not set(faster.CHOICE_SEEDS) & set(faster.SEEDS)


def test_the_frozen_were_chosen_by_validation():
    """First filters stay: the least share as good as `fast`; and the most accurate pass."""
    choice = faster.choice()
    scores = {name: mean(STORED["choice"][name]["accuracy"]) for name in choice}
    losses = {name: mean(STORED["choice"][name]["loss"]) for name in choice}
    fast = lesson.measured("trials")["trials"]["fast, smoothing 0.05"]
    still = [
        name for name in choice if choice[name].still and scores[name] >= mean(fast["accuracy"])
    ]
    enough = [name for name in still if losses[name] <= mean(fast["loss"])]
    shortest = min(enough, key=lambda name: choice[name].share)
    best = max((name for name in choice if choice[name].share == 1), key=scores.get)
    assert [choice[shortest], choice[best]] == list(faster.FROZEN.values()), scores


def test_the_program_of_chapter_09_is_that_of_the_tools():
    """It stands there in five cells, and its docstrings are written with single quotes."""
    (file,) = [file for file in frame.chapters() if file.stem == "09_faster"]
    names = {}
    for cell in frame.code_cells(frame.read(file)):
        if re.match('(IMPORTS|SHARES|TRAIN|MAIN|START) = """', cell.source):
            exec(cell.source, names)
    program = "".join(names[part] for part in ("IMPORTS", "SHARES", "TRAIN", "MAIN", "START"))
    master = inspect.getsource(several).partition('"""\n\n')[2]  # without its docstring
    assert ast.dump(ast.parse(program.replace("'''", '"""'))) == ast.dump(ast.parse(master))


# What chapter 09 writes out

CELLS = {cell.id: cell for cell in frame.read(frame.chapters()[9]).cells}


def test_times_are_of_one_thread():
    """It says so of the reader's processor, too; the recorder has set it for its own."""
    assert "\ntorch.set_num_threads(1)" in CELLS["imports"].source


@pytest.mark.parametrize("name", ["slower", "gain"])
def test_a_guess_is_compared_with_what_no_later_cell_replaces(name):
    """Readers put their guesses in when they like, and run two cells."""
    code = [cell.source for cell in CELLS.values() if cell.cell_type == "code"]
    assert any(re.search(rf"^compare\(\w+, {name}\b", source, re.M) for source in code)
    assert sum(bool(re.search(rf"^{name} =", source, re.M)) for source in code) == 1


def test_both_runs_of_several_processes_are_recorded():
    """Where they do not run, the cell says so and the chapter goes on."""
    (output,) = CELLS["several-run"].outputs
    assert re.findall(r"^processes: (\d), \d+ images/s$", output.text, re.M) == ["1", "2"]


CHECKS = Checks(
    9,
    "profile newton fair fair-gradient ladder-table losers",
    **{"statistics": statistics, "profile": profile, "ProfilerActivity": ProfilerActivity},
    t=scipy.stats.t,
    ttest_ind=scipy.stats.ttest_ind,
    torch=torch,
    time=SimpleNamespace(perf_counter=count().__next__),
    base=[1.0, 2.0, 4.0],
    times={"fast, other": [3.0, 4.0, 4.0]},
)
notices = CHECKS.notices


@notices(
    ("profile", "'max_pool': 'pooling'", "'max_pool': 'ReLU'"),
    ("profile", "/ 1000000.0", "* 0"),
    ("profile", "found[0]", "'ReLU'"),
)
def time_is_told_by_kind(chapter):
    maps, weight, square = torch.randn(8, 6, 28, 28), torch.randn(16, 6, 5, 5), torch.eye(400)
    calls = {
        "convolutions": lambda: F.conv2d(maps, weight),
        "pooling": lambda: F.max_pool2d(maps, 2),
        "ReLU": lambda: F.relu(maps),
        "linear layers": lambda: square @ square,
        "everything else": lambda: maps.exp(),
    }
    for kind, call in calls.items():
        call()  # the first time something is set up
        spent = chapter.seconds_by_kind(call)
        assert max(spent, key=spent.get) == kind and 0 < spent[kind] < 5, spent


@notices(
    ("fair", "for _ in range(rounds)", "for _ in range(1)"),
    ("fair", "time.perf_counter() - start", "start"),
)
def calls_are_timed_in_turn(chapter):
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    assert chapter.in_turn(calls, rounds=3) == {"a": [1, 1, 1], "b": [1, 1, 1]}
    assert order == ["a", "b"] * 3


@notices(
    ("fair", "one / other", "other / one"),
    ("fair", "statistics.median", "statistics.mean"),
    ("losers", "a / b", "a"),
    ("losers", "statistics.median", "max"),
)
def ratios_are_of_a_round(chapter):
    assert chapter.ratio({"a": [1, 8, 3], "b": [2, 2, 1]}, "a", "b") == 3
    assert chapter.of_base("other") == 2


@notices(
    ("newton", "4.775", "4.7"),
    ("newton", "x ** 5", "x ** 4"),
)
def the_polynomial_is_that_of_the_matrices(chapter):
    values = torch.linspace(0.1, 1, 7)
    after = values / values.norm()
    for _ in range(5):
        after = chapter.polynomial(after)
    assert torch.allclose(speed.orthogonal(torch.diag(values)).diag(), after, atol=1e-5)


@notices(
    ("ladder-table", "** 0.5", ""),
    ("ladder-table", "0.975", "0.95"),
    ("ladder-table", "len(values) - 1", "len(values)"),
)
def intervals_are_students(chapter):
    values = [3.0, 5.0, 4.0, 9.0]
    mean, half = chapter.mean_and_half(values)
    low, high = scipy.stats.t.interval(0.95, 3, statistics.mean(values), scipy.stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


@notices(
    ("ladder-table", "(ours, theirs, equal_var", "(theirs, ours, equal_var"),
    ("ladder-table", "equal_var=False", "equal_var=True"),
    ("ladder-table", "mean(ours) - statistics.mean(theirs)", "mean(theirs)"),
)
def leads_are_welchs(chapter):
    ours, theirs = [3.0, 5.0, 4.0, 9.0], [1.0, 1.5, 2.0, 1.2, 1.1, 1.3]
    parts = [statistics.variance(values) / len(values) for values in (ours, theirs)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (ours, theirs), strict=True)
    )
    half = scipy.stats.t.ppf(0.975, freedom) * sum(parts) ** 0.5
    lead = mean(ours) - mean(theirs)
    assert chapter.lead(ours, theirs) == pytest.approx((lead, lead - half, lead + half))


@notices(
    ("fair-gradient", ".relu()", ""),
    ("fair-gradient", "torch.maximum(*four", "torch.minimum(*four"),
)
def what_is_timed_computes_the_same(chapter):
    torch.manual_seed(0)
    one = torch.randn(5, 8, 3, 3, requires_grad=True)
    other = one.detach().clone().requires_grad_()
    for call, maps in ((chapter.by_torch, one), (speed.LargestOfFour.apply, other)):
        values = call(maps)
        (values * torch.arange(values.numel()).view_as(values)).sum().backward()
    assert torch.equal(chapter.by_torch(one), speed.LargestOfFour.apply(other))
    assert torch.equal(one.grad, other.grad)


test_chapter, test_what_is_broken_is_noticed = CHECKS.tests()
