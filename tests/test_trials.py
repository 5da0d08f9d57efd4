"""The trials: what is missing is trained, what is there stays, and what is stored is whole."""

import json
from dataclasses import asdict

import pytest
import trials
from scipy.stats import ttest_ind

from lenet_utils import data, evaluation, lesson, training


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "RESULTS", tmp_path / "trials.json")
    monkeypatch.setattr(trials, "SEEDS", [0, 1])
    made = {name: trials.Trial(training.Recipe(epochs=n)) for n, name in enumerate("ab", start=1)}
    monkeypatch.setattr(trials, "trials", lambda: made)
    return made


def test_only_what_is_missing_is_trained_and_seeds_are_in_order(empty):
    results = trials.stored()
    assert [(name, seed) for name, _, seed in trials.missing(results)] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    for name, seed in [("b", 1), ("a", 1), ("a", 0)]:
        trials.keep(results, name, seed, {"accuracy": 0.1 * seed, "loss": 1.0})
    again = trials.stored()
    assert [(name, seed) for name, _, seed in trials.missing(again)] == [("b", 0)]
    assert list(again["trials"]) == ["a", "b"]
    assert (again["trials"]["a"]["seeds"], again["trials"]["a"]["accuracy"]) == ([0, 1], [0, 0.1])


def test_a_trial_is_not_finished_with_other_versions(empty, monkeypatch):
    results = trials.stored()
    for name, _, seed in trials.missing(results)[:3]:  # all of a, half of b
        trials.keep(results, name, seed, {"accuracy": 0.5, "loss": 1.0})
    monkeypatch.setattr(trials, "versions", lambda: {"torch": "99"})
    again = trials.stored()
    assert [(name, seed) for name, _, seed in trials.missing(again)] == [("b", 0), ("b", 1)]
    assert again["trials"]["b"]["versions"] == {"torch": "99"} != again["trials"]["a"]["versions"]


@pytest.mark.parametrize("change", [{"images": 10}, {"recipe": training.Recipe(epochs=9)}])
def test_results_of_another_recipe_do_not_count(empty, change):
    results = trials.stored()
    trials.missing(results)
    trials.keep(results, "a", 0, {"accuracy": 0.5, "loss": 1.0})
    empty["a"] = empty["a"]._replace(**change)
    assert ("a", empty["a"], 0) in trials.missing(results)
    assert results["trials"]["a"]["accuracy"] == []


def test_a_trial_learns_from_its_images_and_is_judged_by_validation(monkeypatch):
    digits = data.load("validation")
    parts = {"train": digits._replace(images=digits.images[:640], labels=digits.labels[:640])}
    parts["validation"] = data.Digits(digits.images[640:840], digits.labels[640:840])
    monkeypatch.setattr(data, "load", parts.get)
    recipe = training.Recipe(epochs=12)
    few = data.Digits(*(tensor[:320] for tensor in parts["train"]))
    model = training.train(recipe, few, seed=2, progress=False).model
    right = evaluation.predict(model, parts["validation"].images).argmax(1)
    expected = evaluation.accuracy(right, parts["validation"].labels)
    assert trials.judge(trials.Trial(recipe, 320), 2)["accuracy"] == expected > 0.2


def test_all_trials_are_stored_as_the_recipes_are():
    stored = lesson.measured("trials")["trials"]
    assert list(stored) == list(trials.trials())
    for name, trial in trials.trials().items():
        assert stored[name]["recipe"] == json.loads(json.dumps(asdict(trial.recipe))), name
        assert stored[name]["images"] == trial.images and stored[name]["seeds"] == trials.SEEDS
        assert all(len(stored[name][key]) == len(trials.SEEDS) for key in ("accuracy", "loss"))


@pytest.mark.parametrize("name", ["fast", "plain"])
def test_no_other_recipe_of_that_length_is_established_as_better(name):
    stored = lesson.measured("trials")["trials"].values()
    recipe = json.loads(json.dumps(asdict(training.RECIPES[name])))
    whole = [trial for trial in stored if trial["images"] == 55_000]
    (chosen,) = [trial for trial in whole if trial["recipe"] == recipe]
    rivals = [trial for trial in whole if trial["recipe"]["epochs"] == recipe["epochs"]]
    assert len(rivals) > 3
    for rival in rivals:
        lead = ttest_ind(rival["accuracy"], chosen["accuracy"], equal_var=False)
        assert not lead.confidence_interval(0.95).low > 0, rival["recipe"]
