"""Train the networks that ship with lenet_utils, and write lenet_utils/shipped/.

    python tools/pretrain.py

Each recipe is refitted on all 60,000 training images, on the CPU, with the first seed, and its last
step's weights are kept. A test trains one again and compares the accuracy.
"""

import argparse

from isolation import isolate

NAMES, SEED = ["plain"], 0


def pretrain(name: str):
    """The network of that name, trained anew."""
    from lenet_utils import data, training

    return training.train(training.RECIPES[name], data.load("train+validation"), seed=SEED)


def main() -> None:
    from lenet_utils import training

    for name in NAMES:
        training.save(pretrain(name), training.SHIPPED / f"{name}.pt")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with isolate():
        main()
