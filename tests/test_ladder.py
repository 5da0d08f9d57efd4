"""Ladders: what is missing is trained, what is there stays, and all of it is on file."""

import json
from concurrent.futures import ThreadPoolExecutor

import ladder
import pytest
from ladder import Ladder

WANTED = {"a": {"recipe": {"epochs": 1, "betas": (0.9, 0.99)}}, "b": {"recipe": {"epochs": 2}}}


@pytest.fixture
def empty(tmp_path):
    return lambda: Ladder(tmp_path / "results.json", "python a.py")


def test_only_what_is_missing_is_trained_and_seeds_are_in_order(empty):
    first = empty()
    assert first.missing(WANTED, [0, 1]) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    for name, seed in [("b", 1), ("a", 1), ("a", 0)]:
        first.keep(name, seed, {"accuracy": 0.1 * seed})
    again = empty()
    assert again.missing(WANTED, [0, 1]) == [("b", 0)]
    assert list(again.results) == ["a", "b"]
    assert (again.results["a"]["seeds"], again.results["a"]["accuracy"]) == ([0, 1], [0, 0.1])


def test_what_is_left_is_measured_by_name_and_seed_and_kept(empty, capsys):
    first = empty()
    first.missing(WANTED, [0, 1])
    first.keep("a", 1, {"accuracy": 5.0})
    again = empty()
    with ThreadPoolExecutor(2) as pool:

        def measured(epochs, seed):
            return {"accuracy": 10.0 * epochs + seed}

        left = again.missing(WANTED, [0, 1])
        again.measure(pool, left, lambda n, s: (measured, WANTED[n]["recipe"]["epochs"], s))
    stored = empty().results
    assert [stored[name]["accuracy"] for name in "ab"] == [[10.0, 5.0], [20.0, 21.0]]
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "a 0 {'accuracy': 10.0}",
        "b 0 {'accuracy': 20.0}",
        "b 1 {'accuracy': 21.0}",
    ]


def test_the_file_keeps_what_else_is_in_it_and_who_wrote_it(empty):
    first = empty()
    first.missing(WANTED, [0])
    first.keep("a", 0, {"accuracy": 1.0})
    other = Ladder(first.path, "python b.py", "tests")
    other.missing({"a": {}}, [5])
    other.keep("a", 5, {"accuracy": 0.5})
    stored = json.loads(first.path.read_text())
    assert stored["command"] == "python a.py" and stored["trials"] == first.results
    assert stored["tests"]["a"]["seeds"] == [5]


def test_one_name_is_not_finished_with_other_versions(empty, monkeypatch):
    first = empty()
    for name, seed in first.missing(WANTED, [0, 1])[:3]:  # all of a, half of b
        first.keep(name, seed, {"accuracy": 0.5})
    monkeypatch.setattr(ladder, "versions", lambda: {"torch": "99"})
    again = empty()
    assert again.missing(WANTED, [0, 1]) == [("b", 0), ("b", 1)]
    assert again.results["b"]["versions"] == {"torch": "99"} != again.results["a"]["versions"]


def test_results_of_one_name_have_the_same_parts(empty):
    first = empty()
    first.missing(WANTED, [0, 1, 5])
    first.keep("a", 0, {"accuracy": 0.5})
    with pytest.raises(ValueError, match="other seeds of a"):
        first.keep("a", 1, {"accuracy": 0.5, "commit": "abc"})
    assert empty().results["a"]["seeds"] == [0]


def test_other_seeds_with_other_versions_begin_anew(empty, monkeypatch):
    first = empty()
    for name, seed in first.missing(WANTED, [0, 1]):
        first.keep(name, seed, {"accuracy": 0.5})
    monkeypatch.setattr(ladder, "versions", lambda: {"torch": "99"})
    again = empty()
    assert again.missing(WANTED, [5, 6]) == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]
    assert again.results["a"]["seeds"] == []


@pytest.mark.parametrize("change", [{"images": 10}, {"recipe": {"epochs": 9}}])
def test_results_of_another_recipe_do_not_count(empty, change):
    first = empty()
    first.missing(WANTED, [0])
    first.keep("a", 0, {"accuracy": 0.5})
    again = empty()
    assert again.missing(WANTED, [0]) == [("b", 0)]
    assert ("a", 0) in again.missing({"a": WANTED["a"] | change}, [0])
    assert again.results["a"]["seeds"] == [] and list(again.results) == ["a"]
