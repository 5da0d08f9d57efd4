"""The ladder to 99 % in less than one pass; several processes compute what one does."""

import json
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from statistics import mean

import benchmark
import faster
import pytest
import several
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
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
