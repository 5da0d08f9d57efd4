"""The benchmark: what it measures, and that its stored results are those of training again."""

import json
import statistics
from dataclasses import asdict
from itertools import permutations
from types import SimpleNamespace

import benchmark
import pretrain
import pytest

from lenet_utils import data, evaluation, lesson, training

STORED = lesson.measured("benchmark")["recipes"]


def judge(trained, test):
    right = evaluation.predict(trained.model, test.images).argmax(1) == test.labels
    loss = sum(trained.history.losses[-100:]) / 100
    return {"accuracy": right.sum().item() / len(right), "loss": round(loss, 4)}


def test_a_training_is_judged_on_the_test_images(monkeypatch):
    digits = data.load("test")
    train, test = (data.Digits(*(t[n:m] for t in digits)) for n, m in [(0, 640), (640, 840)])
    monkeypatch.setattr(data, "load", {"train+validation": train, "test": test}.get)
    clock = SimpleNamespace(perf_counter=iter([5.0, 7.26]).__next__)
    monkeypatch.setattr(benchmark, "time", clock)
    recipe = training.Recipe(epochs=12)  # 120 steps
    expected = judge(training.train(recipe, train, seed=3), test)
    assert benchmark.train_and_judge(recipe, seed=3) == expected | {"seconds": 2.3}


def test_speed_up_is_over_the_faster_way_within_a_round():
    rounds = {
        "ours": [1.0, 10.0, 2.0],
        "default layout and optimiser, 0 workers": [3.0, 30.0, 4.0],
        "default layout and optimiser, 2 workers": [2.0, 40.0, 5.0],
        "our layout and optimiser, 0 workers": [2.0, 20.0, 1.0],
        "our layout and optimiser, 2 workers": [1.5, 10.0, 9.0],
    }
    results = {"epoch_seconds": rounds}
    assert [benchmark.speed_up(results, layout) for layout in ("default", "our")] == [2.0, 1.0]


def test_a_measurement_has_the_form_that_is_stored_and_shown(monkeypatch):
    monkeypatch.setattr(benchmark, "peak_memory", lambda: 900)
    monkeypatch.setattr(benchmark, "seconds_of", lambda function, *arguments: len(arguments))
    run = {"accuracy": 0.9, "loss": 0.3, "seconds": 5.6}
    monkeypatch.setattr(benchmark, "train_all", lambda names: dict.fromkeys(names, [run] * 5))
    results, stored = benchmark.measure(), lesson.measured("benchmark")
    assert results.keys() == stored.keys()
    for name in ("versions", "images_per_second", "epoch_seconds", "recipes"):
        assert results[name].keys() == stored[name].keys()
    assert results["recipes"]["fast"].keys() == stored["recipes"]["fast"].keys()
    assert benchmark.speed_up(results, "our") == benchmark.speed_up(results, "default") == 3
    results["recipes"]["plain"] |= {"accuracy": [0.991, 0.993], "seconds": [4.0, 5.6, 90.0]}
    assert "| `plain` | 3 | 99.20 ± 0.14 % | 6 s |" in benchmark.table(results).splitlines()


def test_one_recipe_can_be_measured_alone(monkeypatch, tmp_path):
    run = {"accuracy": 0.9, "loss": 0.3, "seconds": 5.6}
    monkeypatch.setattr(benchmark, "train_all", lambda names: {name: [run] * 5 for name in names})
    stored = lesson.measured("benchmark")
    without = stored | {"recipes": {n: r for n, r in stored["recipes"].items() if n != "fast"}}
    for before in (stored, without):
        file = tmp_path / "benchmark.json"
        file.write_text(json.dumps(before), "utf-8")
        monkeypatch.setattr(benchmark, "RESULTS", file)
        results = benchmark.measure_only("fast")
        assert list(results["recipes"]) == list(stored["recipes"])
        assert results["recipes"].pop("fast")["accuracy"] == [0.9] * 5
        assert results == {**without, "recipes": without["recipes"]}


def within_the_spread(run, stored):
    """Whether a run may be another of the recipe's whose runs are stored."""
    return all(
        abs(run[key] - statistics.mean(stored[key])) <= 4 * statistics.stdev(stored[key])
        for key in ("accuracy", "loss")
    )


def test_both_accuracy_and_loss_must_be_within_the_spread():
    stored = {"accuracy": [0.8, 0.85, 0.9], "loss": [0.2, 0.3, 0.4]}
    for far, expected in [(3.9, True), (4.1, False), (-4.1, False)]:
        assert within_the_spread({"accuracy": 0.85 + far * 0.05, "loss": 0.3}, stored) == expected
        assert within_the_spread({"accuracy": 0.85, "loss": 0.3 + far * 0.1}, stored) == expected


@pytest.mark.parametrize("name, other", list(permutations(STORED, 2)))
def test_recipes_are_told_apart(name, other):
    for accuracy, loss in zip(STORED[name]["accuracy"], STORED[name]["loss"], strict=True):
        run = {"accuracy": accuracy, "loss": loss}
        assert within_the_spread(run, STORED[name]) and not within_the_spread(run, STORED[other])


@pytest.mark.parametrize("name", benchmark.RECIPES)
def test_results_are_of_the_recipe_as_it_is(name):
    recipe = asdict(training.RECIPES[name])
    assert STORED[name]["recipe"] == json.loads(json.dumps(recipe)), "run tools/benchmark.py"


@pytest.mark.parametrize("name", [name for name in pretrain.NAMES if name in STORED])
def test_a_shipped_network_is_one_of_its_recipes(name):
    assert within_the_spread(judge(training.shipped(name), data.load("test")), STORED[name])


def test_a_shipped_network_again():
    assert within_the_spread(judge(pretrain.pretrain("plain"), data.load("test")), STORED["plain"])
