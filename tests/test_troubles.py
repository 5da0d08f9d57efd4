"""What chapter 08 writes out, its game, and the stored results behind it.

The functions are those of its cells, found by their ids. Each check is also run on copies that are
broken on purpose, and must notice.
"""

import contextlib
import hashlib
import io
import itertools
import json
import math
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
import regularisation
import six_curves
import torch
import torch.nn.functional as F
from benchmark import SEEDS
from cells import Checks
from scipy.stats import t, ttest_ind
from torch import nn

from lenet_utils import data, evaluation, lesson, training
from lenet_utils.lesson import exercise
from lenet_utils.models import LeNet

STORED = lesson.measured("regularisation")
CURVES = lesson.measured("six_curves")
TRAIN = data.load("train")
FEW = data.Digits(TRAIN.images[:320], TRAIN.labels[:320])
CHECKS = Checks(
    8,
    "attempt step-sizes forgetful scale-modules scale-gradients softmax-find friends dead-find "
    "start start-find leak-find lead early",
    "usual",
    **{"math": math, "np": np, "torch": torch, "F": F, "nn": nn, "LeNet": LeNet, "data": data},
    **{"evaluation": evaluation, "training": training, "hashlib": hashlib, "replace": replace},
    **{"ttest_ind": ttest_ind, "few": FEW, "judged": FEW},
)
notices, CELLS = CHECKS.notices, CHECKS.cells


@notices(
    ("scale-modules", "255 *", "256 *"),
    ("scale-modules", "+ data.MEAN", "- data.MEAN"),
    ("scale-modules", "Grey(), LeNet()", "LeNet()"),
)
def grey_levels_are_those_of_the_file(chapter):
    assert torch.allclose(chapter.Grey()(data.to_input(FEW.images)), FEW.images.float(), atol=1e-3)
    torch.manual_seed(0)
    grey = chapter.network_of_grey()
    inputs = data.to_input(FEW.images[:5])
    assert len(grey) == 2
    assert torch.allclose(grey(inputs), grey[1](FEW.images[:5].float()), atol=1e-3)


@notices(
    ("scale-gradients", "[:64]", "[:60]"),
    ("scale-gradients", "network[0]", "network[3]"),
    ("scale-gradients", "if grey", "if not grey"),
    ("scale-gradients", "manual_seed(seed)", "manual_seed(0)"),
)
def the_first_gradient_is_that_of_the_first_filters(chapter):
    for grey, inputs in {False: data.to_input(FEW.images), True: FEW.images.float()}.items():
        torch.manual_seed(3)
        model = LeNet()
        F.cross_entropy(model(inputs[:64]), FEW.labels[:64]).backward()
        expected = model.network[0].weight.grad.norm().item()
        assert chapter.first_gradient(3, grey) == pytest.approx(expected, rel=1e-3)


@notices(("forgetful", "pass", "super().zero_grad(set_to_none)"), ("forgetful", "lr=", "eps="))
def an_optimiser_that_forgets_adds_up_gradients(chapter):
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    stepper = chapter.forgetful([weight], training.Recipe(1, 0.01))
    for count in (1, 2, 3):
        stepper.zero_grad()
        (weight * torch.tensor([3.0, 4.0])).sum().backward()
        assert weight.grad.tolist() == [3.0 * count, 4.0 * count]
    assert stepper.defaults["lr"] == 0.01


@notices(("forgetful", "math.hypot", "max"))
def the_length_of_a_gradient_is_that_of_all_together(chapter):
    model = LeNet()
    F.cross_entropy(model(data.to_input(FEW.images[:8])), FEW.labels[:8]).backward()
    whole = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert chapter.gradient_length(model) == pytest.approx(whole.norm().item(), rel=1e-4)


@notices(
    ("step-sizes", "/ weights[:-1].norm(dim=1)", "/ weights[:-1].norm()"),
    ("step-sizes", "learning_rate=rate", "learning_rate=2 * rate"),
    ("step-sizes", "part.detach()", "(part.detach() * 0 + 1)"),
)
def steps_are_measured_by_the_weights(chapter):
    sizes = chapter.step_sizes(1e-4, steps=5)
    torch.manual_seed(0)
    weights = nn.utils.parameters_to_vector(LeNet().parameters())
    # Each of Adam's first steps moves every weight that has a gradient by nearly the rate.
    expected = 1e-4 * len(weights) ** 0.5 / weights.norm().item()
    assert sizes.shape == (5,)
    assert all(0.4 * expected < size < 1.1 * expected for size in sizes.tolist())


@notices(
    ("softmax-find", "outputs.sum(1)", "outputs.sum(0)"),
    ("softmax-find", "outputs.min() >= 0 and ", ""),
    ("softmax-find", " and torch.allclose(sums, torch.ones_like(sums), atol=0.0001)", ""),
)
def probabilities_are_told_from_logits(chapter):
    logits = torch.tensor([[2.0, -1.0, 0.0], [0.5, 0.5, 3.0]])
    assert chapter.are_probabilities(logits.softmax(1)) is True
    for other in (logits, logits.abs(), logits - logits.sum(1, keepdim=True) / 3 + 1 / 3):
        assert chapter.are_probabilities(other) is False


@notices(
    ("friends", "nn.BatchNorm1d if", "nn.BatchNorm2d if"),
    ("friends", "nn.Dropout(dropout)", "nn.Dropout(0.5)"),
    ("friends", "isinstance(layer, nn.Linear)", "isinstance(layer, nn.Conv2d)"),
)
def the_chapters_network_is_the_tools(chapter):
    for dropout, norm in [(0.0, False), (0.3, False), (0.0, True), (0.25, True)]:
        made = []
        for make in (chapter.with_friends, regularisation.network):
            torch.manual_seed(1)
            made.append(make(dropout, norm))
        assert str(made[0]) == str(made[1])
        parameters = zip(*(model.parameters() for model in made), strict=True)
        assert all(torch.equal(*pair) for pair in parameters)
        assert made[0](data.to_input(FEW.images[:4])).shape == (4, 10)


@notices(
    ("dead-find", "amax(0)", "amin(0)"),
    ("dead-find", ".amax(1)", ".amin(1)"),
    ("dead-find", "[:end]", "[:end - 1]"),
)
def dead_units_are_counted(chapter):
    torch.manual_seed(0)
    model = LeNet().eval()
    with torch.no_grad():
        model.network[0].bias[[1, 4]] = -1000.0
        model.network[6].bias[:] = -1000.0
        model.network[9].bias[:] = torch.tensor([-1000.0, 1.0] * 42)
    shares = chapter.dead_shares(model, FEW.images)
    assert shares[0] == pytest.approx(2 / 6) and shares[2:] == [1.0, 0.5]
    values = evaluation.predict(model.network[:5], FEW.images)
    alive = [bool((values[:, unit] > 0).any()) for unit in range(16)]
    assert shares[1] == pytest.approx(1 - sum(alive) / 16)


@notices(
    ("start-find", "/ weight.norm()", ""),
    ("start-find", "parameter.dim() > 1", "parameter.dim() > 3"),
    ("start", "parameter *= scale", "parameter += scale"),
    ("start", "model.network[place] = activation()", "pass"),
)
def gradients_by_layer(chapter):
    made = []
    for scale, activation in [(1, nn.ReLU), (3, nn.Tanh)]:
        torch.manual_seed(2)
        made.append(chapter.started(scale, activation))
    usual, other = made
    assert [type(layer) for layer in other.network].count(nn.Tanh) == 4
    assert torch.equal(other.network[3].weight, 3 * usual.network[3].weight)
    for model in made:
        found = chapter.gradients(model)
        F.cross_entropy(model(data.to_input(FEW.images[:64])), FEW.labels[:64]).backward()
        weights = [model.network[place].weight for place in (0, 3, 6, 9, 11)]
        expected = [(weight.grad.norm() / weight.norm()).item() for weight in weights]
        assert found == pytest.approx(expected, rel=1e-3)


@notices(("leak-find", "image.numpy()", "image.numpy()[:, :16]"))
def equal_images_have_equal_hashes(chapter):
    images = FEW.images[:20].clone()
    assert len(chapter.hashes(images)) == 20
    images[3] = images[11]
    assert len(chapter.hashes(images)) == 19
    images[3, 0, 30, 30] += 1
    assert len(chapter.hashes(images)) == 20


@notices(
    ("lead", "equal_var=False", "equal_var=True"),
    ("lead", "ttest_ind(100 * results[name]", "ttest_ind(50 * results[name]"),
    ("lead", "0.95", "0.9"),
)
def leads_are_welchs(chapter):
    chapter.results = {"a": np.array([0.9, 0.92, 0.97]), "b": np.array([0.91, 0.911, 0.912, 0.914])}
    found = chapter.lead("a", "b")
    a, b = (100 * chapter.results[name] for name in "ab")
    parts = [of.var(ddof=1) / len(of) for of in (a, b)]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    half = t.ppf(0.975, degrees) * sum(parts) ** 0.5
    lead = a.mean() - b.mean()
    assert found == pytest.approx((lead, lead - half, lead + half))


@notices(
    ("early", "1 - half if other else half", "half"),
    ("early", "if other else", "if not other else"),
    ("early", "best[:, half]", "best[:, judge]"),
    ("early", "axis=0", "axis=1"),
)
def gains_of_the_epoch_that_a_half_chose(chapter):
    chapter.accuracy = np.zeros((5, 3, 2))  # seed, epoch, half
    chapter.accuracy[:, 0] = [[3, 10]] * 5
    chapter.accuracy[:, 1] = [[1, 20]] * 5
    chapter.accuracy[:, 2] = [[2, 4]] * 5
    best = np.array([[0, 1]] * 4 + [[1, 0]])
    own, other = chapter.gain(best, other=False), chapter.gain(best, other=True)
    assert own.tolist() == [(1 + 16) / 2] * 4 + [(-1 + 6) / 2]
    assert other.tolist() == [(6 - 1) / 2] * 4 + [(16 + 1) / 2]


test_chapter, test_what_is_broken_is_noticed = CHECKS.tests()


# The game


def said(answer):
    """What the checker of the game says."""
    names = {"panels": CURVES["panels"], "np": np, "exercise": exercise}
    exec(CELLS["six-curves-answer"].source, names)
    names["six_curves"] = answer
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(CELLS["six-curves-check"].source, names)
    return output.getvalue().strip()


RIGHT = six_curves.TROUBLES


def test_only_the_right_names_are_right():
    assert said(RIGHT) == "✓ Exercise six-curves: right."
    for names in itertools.permutations(RIGHT.values()):
        answer = dict(zip(RIGHT, names, strict=True))
        assert said(answer).startswith("✓") == (answer == RIGHT), answer


@pytest.mark.parametrize(
    "one, other, hint",
    [
        ("rate too low", "no zero_grad", "smooth"),
        ("rate too low", "softmax too many", "stops at a number"),
        ("labels shuffled", "class missing", "at chance"),
        ("labels shuffled", "scaled otherwise", "at chance"),
        ("class missing", "scaled otherwise", "Without one class"),
    ],
)
def test_pairs_that_are_confused_get_a_hint_of_their_own(one, other, hint):
    swap = {one: other, other: one}
    assert hint in said({panel: swap.get(name, name) for panel, name in RIGHT.items()})


def test_the_answer_does_not_stand_in_the_checker_or_beside_the_curves():
    source = CELLS["six-curves-check"].source
    stored = json.dumps(CURVES["panels"])
    for name in RIGHT.values():
        assert name not in stored
    for panel in RIGHT:
        assert f'"{panel}"' not in source
    assert list(RIGHT) == list(CURVES["panels"]) == sorted(RIGHT)


def test_a_cheap_panel_again():
    (panel,) = [panel for panel, name in RIGHT.items() if name == "labels shuffled"]
    again, stored = six_curves.curves(six_curves.run("labels shuffled")), CURVES["panels"][panel]
    assert again.keys() == stored.keys()
    for key in ("train_accuracy", "validation_accuracy"):  # another processor rounds otherwise
        assert mean(again[key][-5:]) == pytest.approx(mean(stored[key][-5:]), abs=0.08), key
    assert again["train_loss"][0] == pytest.approx(stored["train_loss"][0], abs=0.02)


def test_troubles_are_what_they_are_called(monkeypatch):
    seen = {}

    def train(recipe, digits, **options):
        seen[trouble] = (recipe, digits, options)
        return training.Trained(None, recipe, 0, training.History())

    monkeypatch.setattr(training, "train", train)
    for trouble in ["", *RIGHT.values()]:
        six_curves.run(trouble)
    healthy = seen[""]
    assert healthy[0] == six_curves.RECIPE and len(healthy[1].labels) == six_curves.IMAGES
    assert seen["rate too low"][0].learning_rate == healthy[0].learning_rate / 500
    missing = seen["class missing"][1].labels.bincount(minlength=10)
    assert missing.argmin() == six_curves.MISSING and missing.sum() < six_curves.IMAGES
    assert missing[six_curves.MISSING] == 0
    shuffled = seen["labels shuffled"][1]
    assert torch.equal(shuffled.labels.bincount(), TRAIN.labels[:400].bincount())
    assert (shuffled.labels == TRAIN.labels[:400]).double().mean() < 0.2
    outputs = seen["softmax too many"][2]["network"]()(data.to_input(FEW.images[:3]))
    assert torch.allclose(outputs.sum(1), torch.ones(3))
    assert seen["scaled otherwise"][2]["transform"](FEW.images).max() > 200
    with pytest.raises(ValueError, match="no such trouble"):
        six_curves.run("too lazy")


# Regularisers, optimisers, batch sizes


def plain(trials):
    return json.loads(json.dumps(regularisation.described(trials)))


def test_all_trials_are_stored_and_the_best_were_trained_with_five_seeds():
    trials = regularisation.candidates()
    assert list(STORED["trials"]) == list(trials)
    for name, described in plain(trials).items():
        of = STORED["trials"][name]
        assert {key: of[key] for key in described} == described, name
        assert of["seeds"] == [regularisation.TRIAL_SEED]
    chosen = regularisation.best(STORED["trials"])
    assert list(STORED["five"]) == list(chosen) == list(regularisation.methods())
    for name, described in plain(chosen).items():
        of = STORED["five"][name]
        assert {key: of[key] for key in described} == described, name
        assert of["seeds"] == SEEDS and regularisation.TRIAL_SEED not in SEEDS
        assert len(of["accuracy"]) == len(of["loss"]) == len(SEEDS)


def test_the_best_trial_is_that_of_the_highest_accuracy():
    results = {name: {"accuracy": [0.5]} for name in regularisation.candidates()}
    results["optimiser: SGD with momentum, rate 0.06"]["accuracy"] = [0.75]
    results["optimiser: SGD with momentum, rate 0.015"]["accuracy"] = [None]
    chosen = regularisation.best(results)
    assert chosen["optimiser: SGD with momentum"].recipe.learning_rate == 0.06
    assert chosen["few: nothing"].recipe.learning_rate == 0.001  # the first of those equal
    assert chosen["few: constant rate"].by_epoch


def test_a_cheap_seed_again():
    name = "few: nothing"
    trial, stored = regularisation.best(STORED["trials"])[name], STORED["five"][name]
    again = regularisation.judge(trial, 0)
    assert again["accuracy"] == pytest.approx(stored["accuracy"][0], abs=0.01)
    assert again["loss"] == pytest.approx(stored["loss"][0], rel=0.3)


def test_a_trial_learns_with_what_it_says(monkeypatch):
    calls = []

    def train(recipe, digits, **options):
        calls.append((recipe, digits, options))
        raise FloatingPointError

    monkeypatch.setattr(training, "train", train)
    recipe = training.Recipe(2, 0.05, "one_cycle")
    trial = regularisation.Trial(recipe, 640, "SGD with momentum", dropout=0.5, norm=True)
    assert regularisation.judge(trial, 3) == {"accuracy": None, "loss": None}
    (given, digits, options) = calls[0]
    assert (
        given == recipe and options["seed"] == 3 and torch.equal(digits.labels, TRAIN.labels[:640])
    )
    kinds = [type(layer) for layer in options["network"]()]
    assert (kinds.count(nn.Dropout), kinds.count(nn.BatchNorm2d)) == (2, 3)
    weight = [nn.Parameter(torch.ones(1))]
    stepper = options["optimizer"](weight, recipe)
    assert isinstance(stepper, torch.optim.SGD)
    assert (stepper.defaults["lr"], stepper.defaults["momentum"]) == (0.05, 0.9)
    adam = regularisation.optimizer(replace(trial, optimizer="Adam", decay=0.3), weight, recipe)
    assert isinstance(adam, torch.optim.AdamW) and adam.defaults["weight_decay"] == 0.3
    assert (adam.defaults["lr"], adam.defaults["betas"]) == (0.05, recipe.betas)


def test_without_decay_it_is_the_optimiser_of_the_recipes():
    recipe, after = training.Recipe(1, 0.01), []
    for make in (
        training.adam,
        lambda p, r: regularisation.optimizer(regularisation.Trial(r), p, r),
    ):
        weight = nn.Parameter(torch.tensor([1.0, -3.0]))
        stepper = make([weight], recipe)
        for _ in range(3):
            stepper.zero_grad()
            (weight**3).sum().backward()
            stepper.step()
        after.append(weight.detach())
    assert torch.equal(*after)


def test_halves_are_judged_after_each_epoch():
    recipe, kept = training.Recipe(2, batch_size=100), []
    after_step = regularisation.each_epoch(FEW, recipe, FEW, kept)
    model = training.train(recipe, FEW, after_step=after_step, progress=False).model
    assert np.array(kept).shape == (2, 2, 2)
    outputs = evaluation.predict(model, FEW.images)
    for start in (0, 1):
        labels = FEW.labels[start::2]
        accuracy = evaluation.accuracy(outputs[start::2].argmax(1), labels)
        loss = F.cross_entropy(outputs[start::2], labels).item()
        assert kept[-1][start] == (accuracy, pytest.approx(loss, abs=1e-4))
    assert np.array(STORED["five"]["few: constant rate"]["halves"]).shape == (5, 25, 2, 2)


def test_rates_follow_the_batch_size_and_around_them_others_are_tried():
    for name, trials in regularisation.batch_sizes().items():
        size, kind = name.removeprefix("batch: ").split(", ")
        assert {trial.recipe.batch_size for trial in trials.values()} == {int(size)}
        rates = [trial.recipe.learning_rate for trial in trials.values()]
        root, linear = 0.003 * (int(size) / 64) ** 0.5, 0.003 * int(size) / 64
        if kind == "square root":
            assert rates == [pytest.approx(root)]
        else:
            for wanted in (0.003, root / 2, root, 2 * root, linear):
                assert wanted in [pytest.approx(rate) for rate in rates]


def best_of(method):
    """Of a method's trials the best one's numbers (rate, strength), and all of theirs."""
    tried = {}
    for name, trial in regularisation.methods()[method].items():
        tried[name] = trial.recipe.learning_rate, trial.decay, trial.dropout
        extents = trial.recipe.distortions.values()
        tried[name] += (round(sum(extents), 4),)
    chosen = regularisation.best(STORED["trials"])[method]
    (name,) = [n for n, trial in regularisation.methods()[method].items() if trial == chosen]
    return tried[name], list(tried.values())


@pytest.mark.parametrize(
    "method", [name for name, trials in regularisation.methods().items() if len(trials) > 1]
)
def test_no_best_trial_lies_at_the_edge_of_what_was_tried(method):
    best, tried = best_of(method)
    for number, of_number in zip(best, zip(*tried, strict=True), strict=True):
        if len(set(of_number)) > 1:
            assert min(of_number) < number < max(of_number), method
