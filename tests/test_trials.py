"""The trials of chapters 03 and 04: what is on file is whole, and what was chosen by it."""

import json
from dataclasses import asdict

import pytest
import trials
from scipy.stats import ttest_ind

from lenet_utils import data, evaluation, lesson, training


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
