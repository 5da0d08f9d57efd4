"""Train the networks that ship with lenet_utils, and write lenet_utils/shipped/.

    python tools/pretrain.py            all of them
    python tools/pretrain.py write_up   one of them, or several

Each is trained by the recipe of its name, on the CPU, with the first seed, and its last step's
weights are kept. `plain` and `robust` are refitted on all 60,000 training images; the latter takes
ten minutes. `write_up` learns from 55,000 and has a history with validation, for the graphs of
chapter 04; so does `lenet1998`, taught as in 1998, which takes half an hour. What it has learnt is
kept after each pass in a file beside, and taken up again from there. A test trains `plain` again.
"""

import argparse

from isolation import isolate

NAMES, SEED = ["plain", "robust", "write_up", "lenet1998"], 0


def pretrain(name: str):
    """The network of that name, trained anew."""
    from lenet_utils import data, training

    if name == "lenet1998":
        return taught_as_in_1998()
    recipe = training.RECIPES[name]
    if name == "write_up":
        validation = data.load("validation")
        return training.train(recipe, data.load("train"), seed=SEED, validation=validation)
    return training.train(recipe, data.load("train+validation"), seed=SEED)


def taught_as_in_1998():
    """The network of 1998 after its 20 passes; whatever there is of it is taken up again."""
    from lenet_utils import data, evaluation, training
    from lenet_utils.models import LeNet1998, map_loss
    from lenet_utils.procedure_1998 import RECIPE, start, teach

    train, validation = (
        data.Digits(data.pad(data.load(name, 28).images), data.load(name, 28).labels)
        for name in ("train", "validation")
    )
    begun = training.SHIPPED / "lenet1998.begun"
    if begun.exists():
        taught = training.restore(begun, LeNet1998())
    else:
        taught = training.Trained(start(SEED), RECIPE, SEED, training.History())
    first = len(taught.history.epochs) + 1
    for loss in teach(taught.model, train, first=first, seed=SEED):
        outputs = evaluation.predict(taught.model, validation.images)
        row = {
            "train_loss": loss,
            "validation_loss": map_loss(outputs, validation.labels).item(),
            "validation_accuracy": evaluation.accuracy(outputs.argmax(1), validation.labels),
        }
        taught.history.epochs.append(row)
        taught.history.losses.append(loss)
        training.save(taught, begun)
    begun.unlink()
    return taught


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
