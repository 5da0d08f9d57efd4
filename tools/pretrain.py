"""Train the networks that ship with lenet_utils, and write lenet_utils/shipped/.

    python tools/pretrain.py            all of them
    python tools/pretrain.py write_up   one of them, or several

Each is trained by the recipe of its name, on the CPU, with the first seed, and its last step's
weights are kept. `plain` and `robust` are refitted on all 60,000 training images; the latter takes
ten minutes. `write_up` learns from 55,000 and has a history with validation, for the graphs of
chapter 04. A test trains `plain` again.
"""

import argparse

from isolation import isolate

NAMES, SEED = ["plain", "robust", "write_up"], 0


def pretrain(name: str):
    """The network of that name, trained anew."""
    from lenet_utils import data, training

    recipe = training.RECIPES[name]
    if name == "write_up":
        validation = data.load("validation")
        return training.train(recipe, data.load("train"), seed=SEED, validation=validation)
    return training.train(recipe, data.load("train+validation"), seed=SEED)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help=f"of {', '.join(NAMES)}; all if none is named")
    names = parser.parse_args().name or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"expected names of {', '.join(NAMES)}, got {', '.join(unknown)}")

    from lenet_utils import training

    for name in names:
        training.save(pretrain(name), training.SHIPPED / f"{name}.pt")


if __name__ == "__main__":
    with isolate():
        main()
