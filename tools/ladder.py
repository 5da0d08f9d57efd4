"""Many trainings, one after the other, whose results are kept as they come."""

import json
from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from pathlib import Path

from lenet_utils.files import write_whole
from lenet_utils.lesson import versions


class Ladder:
    """The results of named trainings in a part of a JSON file, a list entry for each seed.

    It may be stopped and started again. Results of other versions or another processor are not
    mixed with new ones under one name, but measured again.
    """

    def __init__(self, path: Path, command: str, part: str = "trials"):
        self.path, self.part, self.content = path, part, {"command": command}
        if path.exists():
            self.content = json.loads(path.read_text("utf-8"))
        self.results = self.content.setdefault(part, {})

    def missing(self, wanted: dict[str, dict], seeds: list[int]) -> list[tuple[str, int]]:
        """Names and seeds that are not on file, or were described otherwise; what is no longer
        wanted is forgotten.

        wanted  by name, what describes a training as plain data, its recipe for one
        """
        left = []
        for name, description in json.loads(json.dumps(wanted)).items():
            there = self.results.get(name)
            changed = there is None or any(there.get(k) != v for k, v in description.items())
            unfinished = not changed and set(seeds) - set(there["seeds"])
            if changed or (unfinished and there["versions"] != versions()):
                self.results[name] = {**description, "versions": versions(), "seeds": []}
            left += [(name, seed) for seed in seeds if seed not in self.results[name]["seeds"]]
        self.content[self.part] = self.results = {name: self.results[name] for name in wanted}
        return left

    def measure(
        self, pool: Executor, left: list[tuple[str, int]], call: Callable[[str, int], tuple]
    ) -> None:
        """Run what is left, in a pool; keep and print each result as it comes.

        call  name and seed → the function that measures, and its arguments
        """
        runs = {pool.submit(*call(name, seed)): (name, seed) for name, seed in left}
        for run in as_completed(runs):
            self.keep(*runs[run], run.result())
            print(*runs[run], run.result(), flush=True)

    def keep(self, name: str, seed: int, result: dict) -> None:
        """Put one result in its place, seeds in ascending order, and write the file.

        Raises ValueError for a result with something that the other seeds' lack.
        """
        of_name = self.results[name]
        if of_name["seeds"] and not result.keys() <= of_name.keys():
            raise ValueError(f"expected results as of other seeds of {name}, got {list(result)}")
        place = sum(other < seed for other in of_name["seeds"])
        for key, value in {"seeds": seed, **result}.items():
            of_name.setdefault(key, []).insert(place, value)
        write_whole(self.path, (json.dumps(self.content, indent=1) + "\n").encode())
