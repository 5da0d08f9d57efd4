"""The network for other people's digits: what it was chosen and judged by is on file, and holds."""

import json
from dataclasses import asdict
from statistics import mean

import numpy as np
import pytest
import robust
import torch
from benchmark import SEEDS

from lenet_utils import data, lesson, training

STORED = lesson.measured("robust")
UNPREPARED = [
    "turned by -30°",
    "turned by +30°",
    *(f"4 pixels {w}" for w in "left right up down".split()),
]


@pytest.fixture(scope="module")
def test_sets():
    """What takes no minutes to make: the test digits as they are, some alterations, others'."""
    digits = data.load("test")
    sets = {"as they are": digits.images} | robust.unprepared(digits.images)
    return {n: data.Digits(x, digits.labels) for n, x in sets.items()} | robust.of_others()


def plain_data(recipe):
    return json.loads(json.dumps(asdict(recipe)))


def test_all_trials_and_tests_are_stored_as_the_recipes_are():
    assert list(STORED["trials"]) == list(robust.trials())
    for name, recipe in robust.trials().items():
        stored = STORED["trials"][name]
        assert (stored["recipe"], stored["seeds"]) == (plain_data(recipe), robust.TRIAL_SEEDS), name
    for name in ("plain", "robust"):
        stored = STORED["tests"][name]
        assert (stored["recipe"], stored["seeds"]) == (plain_data(training.RECIPES[name]), SEEDS)
        assert all(len(stored[key]) == len(SEEDS) for key in ("accuracy", "date", "commit"))
        assert len({tuple(accuracy) for accuracy in stored["accuracy"]}) == 1


def test_the_recipe_is_the_best_trial_of_validation_images_and_their_altered_copies():
    def score(trial):
        return mean(mean(accuracy.values()) for accuracy in trial["accuracy"])

    scores = {name: score(trial) for name, trial in STORED["trials"].items()}
    best = max(scores, key=scores.get)
    assert robust.trials()[best] == training.RECIPES["robust"], scores


@pytest.mark.parametrize(
    "names, least",
    [
        (["as they are"], 0.994),
        (["other people's, prepared"], 0.965),
        ([*robust.ALTERATIONS], 0.985),
        (UNPREPARED, 0.97),
        (["thinner", "thicker"], 0.987),
    ],
)
def test_what_was_asked_of_it(names, least):
    for name in names:
        assert mean(run[name] for run in STORED["tests"]["robust"]["accuracy"]) >= least, name


def test_the_shipped_network_is_the_one_of_the_first_seed(test_sets):
    again = robust.accuracies(training.shipped("robust").model, test_sets)
    first = STORED["tests"]["robust"]["accuracy"][0]
    assert again == {of: pytest.approx(first[of], abs=2e-4) for of in test_sets}
    assert len(again) == 11


def test_a_cheap_trial_again():
    recipe, stored = robust.trials()["1 epochs"], STORED["trials"]["1 epochs"]
    validation = data.load("validation")
    sets = {"as they are": validation.images} | robust.unprepared(validation.images)
    model = training.train(recipe, data.load("train"), seed=0, progress=False).model
    again = robust.accuracies(model, {n: (x, validation.labels) for n, x in sets.items()})
    for name, accuracy in again.items():  # another processor rounds otherwise
        assert accuracy == pytest.approx(stored["accuracy"][0][name], abs=0.02), name


def test_shifts_turns_and_strokes_are_what_they_are_called():
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    images[:, :, 8:20, 14:18] = 200  # an upright bar, above the middle
    made = robust.unprepared(images)
    for way, (rows, columns) in {
        "left": ((8, 20), (10, 14)),
        "right": ((8, 20), (18, 22)),
        "up": ((4, 16), (14, 18)),
        "down": ((12, 24), (14, 18)),
    }.items():
        expected = torch.zeros_like(images)
        expected[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 200
        assert torch.equal(made[f"4 pixels {way}"], expected)
    ink = {name: (image[0, 0] > 100).sum().item() for name, image in made.items()}
    assert (ink["thinner"], ink["thicker"]) == (11 * 3, 13 * 5)
    top = made["turned by +30°"][0, 0, :12].float().sum(0)
    assert top.argmax() < 14  # counter-clockwise: the top goes to the left
    assert torch.equal(made["turned by -30°"].flip(3), made["turned by +30°"])


def test_an_alteration_is_the_same_every_time(monkeypatch):
    few = data.load("validation", 28)
    few = data.Digits(few.images[:5], few.labels[:5])
    monkeypatch.setattr(data, "load", lambda *_: few)
    for name in ("drawn large", "falling light"):
        made = robust.altered(name, "validation")
        assert torch.equal(made, robust.altered(name, "validation"))
        assert (made.shape, made.dtype) == ((5, 1, 32, 32), torch.uint8)


def test_other_peoples_digits_are_whole():
    sets = robust.of_others()
    for digits in sets.values():
        assert digits.images.shape == (1797, 1, 32, 32) and digits.images.dtype == torch.uint8
        assert digits.labels.bincount().tolist() == [
            178,
            182,
            177,
            183,
            181,
            182,
            181,
            179,
            174,
            180,
        ]
    assert not np.array_equal(*(digits.images.numpy() for digits in sets.values()))


def test_the_table_of_the_cards():
    runs = [{"a": 0.98, "b": 0.5}, {"a": 0.99, "b": 0.5}]
    tests = {"plain": {"accuracy": runs}, "robust": {"accuracy": runs[::-1]}}
    assert robust.table(tests).splitlines()[2:] == [
        "| a | 98.50 ± 0.71 | 98.50 ± 0.71 |",
        "| b | 50.00 ± 0.00 | 50.00 ± 0.00 |",
    ]
