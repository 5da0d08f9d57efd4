"""The ladder to accuracy: what is on file is whole, what was chosen by it, and its parts."""

import json
import statistics
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from statistics import mean, stdev
from types import SimpleNamespace

import accurate
import matplotlib.pyplot as plt
import numpy as np
import pytest
import robust
import scipy.stats
import torch
import torch.nn.functional as F
from accurate import HERE, SHIFTS, Averages, Fading, Lesson, Training
from benchmark import SEEDS
from cells import Checks
from scipy.stats import ttest_ind
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lenet_utils import data, evaluation, lesson, training
from lenet_utils.models import LeNet

STORED = lesson.measured("accurate")
RECIPE = training.Recipe(2, distortions={"turn": 10.0})


@pytest.fixture(scope="module")
def digits():
    """200 digits."""
    return data.Digits(*(tensor[:200] for tensor in data.load("validation")))


def network(seed=0):
    torch.manual_seed(seed)
    return LeNet()


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# How they learn


def test_averages_are_those_written_out():
    model, averages = nn.Linear(2, 1), Averages([0.5, 0.9])
    seen, expected = [torch.tensor([[1.0, -2]]), torch.tensor([[3.0, 4]]), torch.ones(1, 2)], {}
    for value in seen:
        with torch.no_grad():
            model.weight.copy_(value)
        averages(model)
        for decay in (0.5, 0.9):
            before = expected.get(decay, value)
            expected[decay] = decay * before + (1 - decay) * value
    for decay, average in averages.models.items():
        assert torch.allclose(average.module.weight, expected[decay])
    assert torch.equal(model.weight, seen[-1])


def test_averages_do_not_disturb_a_training(digits):
    found = accurate.learn(Training(RECIPE), digits, 3, [])
    alone = training.train(RECIPE, digits, seed=3, progress=False)
    assert torch.equal(weights(found["last"].model), weights(alone.model))
    assert found["last"].history.losses == alone.history.losses
    assert list(found) == ["last", *(f"average {decay}" for decay in accurate.DECAYS)]
    assert len({weights(trained.model)[0].item() for trained in found.values()}) == len(found)


@pytest.mark.parametrize(
    "change",
    [{"clean": 0.5}, {"teachers": "x"}, {"teachers": "x", "temperature": 3.0}],
)
def test_each_way_of_training_makes_another_network(digits, change):
    usual = accurate.learn(Training(RECIPE), digits, 0, [])["last"]
    other = accurate.learn(Training(RECIPE, **change), digits, 0, [network(1)])["last"]
    assert not torch.equal(weights(usual.model), weights(other.model))


def test_distortions_end_after_so_many_batches(digits):
    fading = Fading(RECIPE, batches=2)
    same = [torch.equal(fading(digits.images), data.to_input(digits.images)) for _ in range(4)]
    assert same == [False, False, True, True]


def test_the_last_epochs_are_clean(digits, monkeypatch):
    made = []
    monkeypatch.setattr(accurate, "Fading", lambda *given: made.append(given) or RECIPE.inputs)
    accurate.learn(Training(replace(RECIPE, epochs=5), clean=0.4), digits, 0, [])
    assert [batches for _, batches in made] == [12]  # 200 digits are 4 batches


def test_teachers_and_learner_see_the_same(digits):
    seen = []

    class Teacher(nn.Module):
        def forward(self, inputs):
            seen.append(inputs)
            return torch.zeros(len(inputs), 10)

    lesson = Lesson([Teacher(), Teacher()], 1.0, RECIPE.inputs)
    inputs = lesson.inputs(digits.images)
    lesson.loss(torch.zeros(200, 10), digits.labels)
    assert len(seen) == 2 and seen[0] is seen[1] is inputs
    assert not torch.equal(inputs, data.to_input(digits.images))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_the_librarys_divergence_and_the_teachers_entropy(digits, temperature):
    teachers = [network(1), network(2)]
    lesson = Lesson(teachers, temperature, data.to_input)
    inputs = lesson.inputs(digits.images[:8])
    outputs = 5 * torch.randn(8, 10)
    with torch.no_grad():
        told = sum((teacher(inputs) / temperature).softmax(1) for teacher in teachers) / 2
    divergence = F.kl_div((outputs / temperature).log_softmax(1), told, reduction="batchmean")
    entropy = -(told * told.log()).sum(1).mean()
    found = lesson.loss(outputs, digits.labels[:8])
    assert torch.allclose(found, temperature**2 * (divergence + entropy))


def test_teachers_who_are_sure_are_labels(digits):
    class Sure(nn.Module):
        def forward(self, inputs):
            return 1e4 * F.one_hot(digits.labels, 10).float()

    lesson, outputs = Lesson([Sure()], 1.0, data.to_input), torch.randn(200, 10)
    lesson.inputs(digits.images)
    assert torch.allclose(lesson.loss(outputs, None), F.cross_entropy(outputs, digits.labels))


# How they are judged


def test_probabilities_are_averaged_over_networks_and_shifts(digits):
    models, images = [network(1), network(2)], digits.images[:20]
    one = accurate.log_probabilities(models[:1], images)
    assert torch.allclose(one, evaluation.predict(models[0], images).log_softmax(1), atol=1e-5)
    wide = F.pad(images, (1, 1, 1, 1))
    sums = torch.zeros(20, 10)
    for top in range(3):
        for left in range(3):
            moved = wide[:, :, top : top + 32, left : left + 32]
            sums += sum(evaluation.predict(model, moved).softmax(1) for model in models)
    found = accurate.log_probabilities(models, images, SHIFTS)
    assert torch.allclose(found, (sums / 18).log(), atol=1e-5)
    assert len(set(SHIFTS)) == 9


def test_marks_name_what_is_misread(digits):
    model, few = network(1), data.Digits(digits.images[:30], digits.labels[:30])
    found = accurate.marks([model], few)
    answers = evaluation.predict(model, few.images).argmax(1)
    wrong = {i: a for i, a in enumerate(answers.tolist()) if a != few.labels[i]}
    assert {int(i): int(a) for i, a in (p.split(":") for p in found["wrong"].split())} == wrong
    assert found["accuracy"] == pytest.approx(1 - len(wrong) / 30, abs=1e-6)


def test_the_loss_does_not_mind_a_temperature(digits):
    model, few = training.shipped().model, data.Digits(*(t[:2000] for t in data.load("test")))
    losses = []
    for factor in (1.0, 3.0):
        with torch.no_grad():
            for parameter in model.network[-1].parameters():
                parameter *= factor
        losses.append(accurate.marks([model], few)["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)
    assert losses[0] < F.cross_entropy(evaluation.predict(model, few.images), few.labels)


def test_readings_are_of_each_network_with_and_without_shifts(digits):
    networks = {"last": [network(1)], "other": [network(2)]}
    found = accurate.readings(networks, digits, {"accuracy", "loss"})
    for name, models in networks.items():
        for reading, shifts in {name: HERE, f"{name}, shifted": SHIFTS}.items():
            marks = accurate.marks(models, digits, shifts)
            assert {part: found[part][reading] for part in found} == {
                part: marks[part] for part in ("accuracy", "loss")
            }


def test_arithmetic():
    """Multiplications and additions; the first layer hands no gradient on."""
    layers = [28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 120 * 400, 120 * 84, 84 * 10]
    network = 2 * (3 * sum(layers) - layers[0])
    plain, robust = (accurate.arithmetic(training.RECIPES[n]) for n in ("plain", "robust"))
    assert plain == network + 3 * 1024
    assert 1.04 < robust / plain < 1.06


# What is tried next, and what is chosen


def plain_data(way):
    return json.loads(json.dumps(way.described()))


def found(losses):
    """Trials as they are stored when all are done, of losses by name; 0.5 for others."""
    stored = {}
    while True:
        ways = accurate.trials(stored)
        seeds = {name: len(stored[name]["seeds"]) for name in stored}
        missing = [name for name, way in ways.items() if seeds.get(name) != len(way.seeds)]
        if not missing:
            return stored
        for name in missing:
            loss = {"last": losses.get(name, 0.5), "average 0.999": losses.get("average", 0.6)}
            kept = [loss for _ in ways[name].seeds]
            stored[name] = plain_data(ways[name]) | {"seeds": list(ways[name].seeds), "loss": kept}


def test_a_part_of_the_trials_waits_for_the_one_before():
    first = accurate.trials({})
    assert len(first) == 4 and all(name.startswith("extents") for name in first)
    partly = {name: found({})[name] for name in list(first)[:3]}
    assert accurate.trials(partly) == first
    with pytest.raises(KeyError, match="not complete"):
        accurate.chosen(partly)


def test_a_trial_that_is_described_otherwise_does_not_count():
    stored = found({})
    stored["extents times 0.3"]["recipe"]["epochs"] = 14
    assert len(accurate.trials(stored)) == 4


@pytest.mark.parametrize("factor", [0.3, 1.0])
def test_changes_are_of_the_best_extents(factor):
    stored = found({f"extents times {factor}": 0.4})
    turn = training.RECIPES["robust"].distortions["turn"]
    for name in accurate.CHANGES:
        distortions = stored[name]["recipe"]["distortions"]
        assert distortions["turn"] == pytest.approx(factor * turn)
        assert (distortions["coarse"] == 0) == (name == "none coarse")
    assert stored["40 epochs"]["recipe"]["distortions"]["turn"] == pytest.approx(factor * turn)
    assert "40 epochs, all that helped" not in stored


def test_changes_that_helped_are_tried_together_and_of_two_rates_the_better():
    losses = {"rate 0.002": 0.45, "rate 0.008": 0.4, "no smoothing": 0.49, "none coarse": 0.51}
    together = found(losses)["40 epochs, all that helped"]
    assert together["seeds"] in ([5, 6], [5, 6, 7])
    recipe = together["recipe"]
    assert (recipe["learning_rate"], recipe["label_smoothing"]) == (0.008, 0.0)
    assert (recipe["distortions"]["coarse"] > 0, recipe["batch_size"]) == (True, 64)
    assert recipe["epochs"] == 40


@pytest.mark.parametrize("best", ["40 epochs", "40 epochs, all that helped"])
@pytest.mark.parametrize("way", ["taught by three, 80 epochs", "taught by three, temperature 3"])
def test_the_better_of_the_long_ones_teaches_and_the_best_way_is_chosen(best, way):
    stored = found({"no smoothing": 0.4, best: 0.3, way: 0.2})
    recipe, taught = accurate.chosen(stored)
    assert stored[best]["seeds"] == [5, 6, 7] and taught.teachers == best
    assert json.loads(json.dumps(asdict(recipe))) == stored[best]["recipe"]
    assert plain_data(taught).items() <= stored[way].items()
    assert taught != accurate.chosen(found({best: 0.3}))[1]


@pytest.mark.parametrize("loss, weights", [(0.6, "last"), (0.4, "average 0.999")])
def test_the_weights_are_those_of_the_lower_loss(loss, weights):
    stored = found({"average": loss})
    assert accurate.chosen(stored)[1].weights == weights
    assert stored["taught by three"].get("weights", "last") == weights


def test_a_third_seed_of_the_teacher_does_not_choose():
    stored = found({"no smoothing": 0.4, "40 epochs": 0.3, "40 epochs, all that helped": 0.35})
    stored["40 epochs"]["loss"][2] = {"last": 9.0, "average 0.999": 9.0}
    assert accurate.chosen(stored)[1].teachers == "40 epochs"


# The whole, on few digits


@pytest.fixture
def small(monkeypatch, tmp_path, digits):
    """Two rungs, one taught by the other, on 200 digits; → what is on file after a run."""
    monkeypatch.setattr(data, "load", lambda *_: digits)
    monkeypatch.setattr(robust, "of_others", lambda: {"other people's, prepared": digits})
    monkeypatch.setattr(robust, "judged", lambda *_: {"as they are": digits, "moved": digits})
    monkeypatch.setattr(accurate, "one_thread_each", lambda: ThreadPoolExecutor(1))
    monkeypatch.setattr(accurate, "RESULTS", tmp_path / "accurate.json")
    alone = Training(training.Recipe(3), (0, 1))
    ways = {"taught": alone._replace(teachers="alone"), "alone": alone}
    monkeypatch.setattr(accurate, "rungs", lambda: ways)
    monkeypatch.setattr(accurate, "COUNTED", ["taught"])
    monkeypatch.setattr(accurate, "SEEDS", [0, 1])
    frozen = Training(RECIPE, teachers="alone", weights="average 0.999")
    monkeypatch.setattr(accurate, "DISTILLED", frozen)
    monkeypatch.setattr(accurate, "chosen", lambda _: (RECIPE, frozen))
    monkeypatch.setattr(training, "RECIPES", {"accurate": RECIPE})

    def run():
        command = ["accurate.py", "--test", "--networks", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", command)
        accurate.main()
        return json.loads(accurate.RESULTS.read_text())

    return run


def test_rungs_are_trained_judged_together_and_counted(small, digits, tmp_path, capsys):
    stored = small()
    assert capsys.readouterr().out.split()[0] == "alone"  # the teachers first
    networks = [
        training.restore(accurate.place(tmp_path / "tests", "taught", seed, "last")).model
        for seed in (0, 1)
    ]
    one, both = accurate.marks(networks[:1], digits), accurate.marks(networks, digits, SHIFTS)
    of = stored["tests"]["taught"]
    assert of["accuracy"][0]["last"] == of["others"][0]["last"] == one["accuracy"]
    assert of["wrong"][0]["last"] == one["wrong"]
    assert stored["together"]["taught"]["wrong"]["last, shifted"] == both["wrong"]
    counted = stored["counted"]["taught"]["accuracy"]
    assert [of["moved"] for of in counted] == [of["average 0.999"] for of in of["accuracy"]]
    assert of["accuracy"][0].keys() == {
        f"{of}{how}" for of in accurate.TESTED for how in ("", ", shifted")
    }


def test_a_second_run_trains_nothing(small, monkeypatch):
    stored = small()
    monkeypatch.setattr(accurate, "learn", None)
    assert small() == stored


def test_what_the_trials_did_not_find_is_not_tested(small, monkeypatch, capsys):
    monkeypatch.setattr(accurate, "chosen", lambda _: (replace(RECIPE, epochs=9), None))
    with pytest.raises(SystemExit):
        small()
    assert "not what the trials found" in capsys.readouterr().err


# What is on file


@pytest.mark.parametrize("part", ["trials", "tests"])
def test_all_is_stored_as_it_stands_here(part):
    ways = accurate.rungs() if part == "tests" else accurate.trials(STORED["trials"])
    assert list(STORED[part]) == list(ways)
    for name, way in ways.items():
        stored = STORED[part][name]
        described = plain_data(way)
        assert {key: stored[key] for key in described} == described, name
        assert not {"clean", "teachers", "temperature", "weights"} & (
            stored.keys() - described.keys()
        )
        assert tuple(stored["seeds"]) == way.seeds
        lists = stored.keys() - described.keys() - {"versions"}
        assert lists and all(len(stored[key]) == len(way.seeds) for key in lists)


def test_trials_have_seeds_of_their_own():
    ways = accurate.trials(STORED["trials"])
    assert not {seed for way in ways.values() for seed in way.seeds} & set(SEEDS)
    assert {way.seeds for way in accurate.rungs().values()} == {tuple(SEEDS)}


def test_what_was_frozen_is_what_the_trials_found():
    frozen = training.RECIPES["accurate"], accurate.DISTILLED
    assert accurate.chosen(STORED["trials"]) == frozen


def test_the_recipe_keeps_within_the_arithmetic_of_50_plain_epochs():
    plain, recipe = training.RECIPES["plain"], training.RECIPES["accurate"]
    averages = 3 * 61_706 / recipe.batch_size  # of weights, after each step
    spent = recipe.epochs * (accurate.arithmetic(recipe) + averages)
    assert spent <= 50 * accurate.arithmetic(plain)


def test_the_mistakes_on_file_are_those_of_the_accuracies():
    labels, runs = data.load("test").labels, []
    for of in STORED["tests"].values():
        runs += zip(of["accuracy"], of["wrong"], strict=True)
    runs += [(of["accuracy"], of["wrong"]) for of in STORED["together"].values()]
    for accuracy, wrong in runs:
        for reading, text in wrong.items():
            pairs = [pair.split(":") for pair in text.split()]
            assert all(labels[int(image)] != int(answer) for image, answer in pairs)
            assert len({image for image, _ in pairs}) == round(1e4 * (1 - accuracy[reading]))


def test_five_together_and_what_05_counts_are_of_the_rungs_as_they_are():
    rungs = STORED["tests"]
    assert list(STORED["together"]) == list(rungs)
    for name, of in STORED["together"].items():
        assert of["recipe"] == rungs[name]["recipe"]
    assert list(STORED["counted"]) == accurate.COUNTED
    for name, of in STORED["counted"].items():  # the same networks as judged before
        counted, weights = (
            [run["as they are"] for run in of["accuracy"]],
            accurate.DISTILLED.weights,
        )
        assert counted == [accuracy[weights] for accuracy in rungs[name]["accuracy"]]


def test_a_cheap_rung_again():
    stored, way = STORED["tests"]["constant rate"], accurate.rungs()["constant rate"]
    model = training.train(way.recipe, data.load("train+validation"), progress=False).model
    again = accurate.marks([model], data.load("test"))["accuracy"]
    accuracies = [accuracy["last"] for accuracy in stored["accuracy"]]
    assert abs(again - mean(accuracies)) <= 4 * stdev(accuracies)


# What chapter 10 writes out

RUN = {"last": 0.99, "average 0.999": 0.9912}
CHECKS = Checks(
    10,
    "way-figure trials longer again average-ladder shifts shared left",
    "nine",
    statistics=statistics,
    t=scipy.stats.t,
    ttest_ind=ttest_ind,
    torch=torch,
    F=F,
    Counter=Counter,
    evaluation=SimpleNamespace(predict=lambda model, images: model(images)),
    AveragedModel=AveragedModel,
    get_ema_multi_avg_fn=get_ema_multi_avg_fn,
    plots=SimpleNamespace(BLUE="blue", ORANGE="orange"),
    errors={"many": [10, 12, 14], "few": [1, 2, 5]},
    rungs={"one": {"accuracy": [RUN, RUN | {"average 0.999": 0.9914}]}},
    average=None,
    test=SimpleNamespace(labels=torch.arange(10)),
    five=[{3: 5, 8: 0}, {3: 5}, {3: 9}, {}, {8: 1}],
)
notices = CHECKS.notices


@notices(
    ("way-figure", "0.975", "0.95"),
    ("way-figure", "len(values) - 1", "len(values)"),
    ("way-figure", "** 0.5", "** 1"),
    ("way-figure", "stdev", "pstdev"),
)
def the_interval_of_a_mean_is_scipys(chapter):
    values = [3.0, 5.0, 4.0, 9.0]
    mean, half = chapter.mean_and_half(values)
    error = scipy.stats.sem(values)
    low, high = scipy.stats.t.interval(0.95, 3, np.mean(values), error)
    assert (mean - half, mean + half) == pytest.approx((low, high))


@notices(("way-figure", "[row] * len(of_row)", "[0] * len(of_row)"))
def each_training_is_a_dot_in_its_row(chapter):
    _, axes = plt.subplots()
    chapter.ladder(axes, {"above": [1, 2], "below": [5, 6, 7]})
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_ydata().tolist() for line in dots] == [[0, 0], [1, 1, 1]]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    plt.close("all")


@notices(("trials", "[reading]", "['last']"), ("trials", "statistics.mean", "max"))
def a_trials_loss_is_the_mean_over_its_seeds(chapter):
    trial = {"loss": [{"last": 0.1, "shifted": 1.0}, {"last": 0.3, "shifted": 2.0}]}
    assert (chapter.loss(trial), chapter.loss(trial, "shifted")) == pytest.approx((0.2, 1.5))


@notices(
    ("longer", "values[after], values[before]", "values[before], values[after]"),
    ("longer", "equal_var=False", "equal_var=True"),
    ("longer", "confidence_interval(confidence)", "confidence_interval(0.95)"),
)
def a_difference_is_the_later_less_the_earlier_by_welch(chapter):
    low, high = chapter.difference("many", "few")
    many, few = chapter.errors["many"], chapter.errors["few"]
    variances = [np.var(of, ddof=1) / 3 for of in (many, few)]
    freedom = sum(variances) ** 2 / sum(v**2 / 2 for v in variances)
    half = scipy.stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5
    wanted = np.mean(many) - np.mean(few)
    assert (low, high) == pytest.approx((wanted - half, wanted + half))
    lowest, highest = chapter.difference("many", "few", confidence=0.99)
    assert lowest < low < high < highest


@notices(("again", "0.999", "0.9"), ("again", "if average is None", "if True"))
def the_average_remembers(chapter):
    model = torch.nn.Linear(1, 1, bias=False)
    for weight in (1.0, 2.0, 4.0):
        model.weight.data.fill_(weight)
        chapter.remember(model)
    wanted = 0.999 * (0.999 * 1.0 + 0.001 * 2.0) + 0.001 * 4.0
    assert chapter.average.module.weight.item() == pytest.approx(wanted, abs=1e-6)


@notices(("average-ladder", "run[after] - run[before]", "run[before] - run[after]"))
def what_an_average_gains_is_paired(chapter):
    mean, half = chapter.gained("one", "last", "average 0.999")
    assert mean == pytest.approx(13)
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, 1) * 1.0)


@notices(
    ("shifts", "(x, -x, y, -y)", "(y, -y, x, -x)"),
    ("shifts", ".softmax(1)", ""),
    ("shifts", ".mean(0)", ".sum(0)"),
    ("shifts", "for y in (-1, 0, 1)", "for y in (0, 1)"),
)
def probabilities_are_averaged_over_shifts(chapter):
    assert len(set(chapter.nine)) == 9 and chapter.nine[4] == (0, 0)
    images = torch.arange(9.0).view(1, 1, 3, 3)
    model = lambda moved: moved.flatten(1)  # noqa: E731
    right = chapter.probabilities(model, images, [(1, 0)])
    wanted = torch.tensor([0.0, 0, 1, 0, 3, 4, 0, 6, 7])
    torch.testing.assert_close(right, wanted.softmax(0)[None])
    both = chapter.probabilities(model, images, [(1, 0), (0, 0)])
    torch.testing.assert_close(both, (wanted.softmax(0) + images.flatten(1).softmax(1)) / 2)


@notices(("shared", "int(image): int(answer)", "int(answer): int(image)"))
def mistakes_are_read_from_the_file(chapter):
    assert chapter.misread("7:1 12:0") == {7: 1, 12: 0} and chapter.misread("") == {}


@notices(("left", "test.labels[image].item()", "0"))
def the_five_answers_are_also_those_that_are_right(chapter):
    assert chapter.answers_of_five(3) == "55933"


test_chapter, test_what_is_broken_is_noticed = CHECKS.tests()
