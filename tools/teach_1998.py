"""What the paper leaves open about teaching as in 1998, compared: measured/teach_1998.json.

    python tools/teach_1998.py

From where the parameters start, the constant added to each curvature, how far away the rubbish
class is, and in which unit distances are compared: each way is taught for the first five of the
twenty passes, through 10,000 of the training images, with two seeds. The 5,000 validation images
judge. It may be stopped and started again, and takes half an hour on two cores.
"""

import argparse
import functools
import itertools
import os

from benchmark import one_thread_each
from ladder import Ladder
from ladder_1998 import images
from torch import Tensor

from lenet_utils import data, evaluation, models, procedure_1998
from lenet_utils.lesson import MEASURED

RESULTS = MEASURED / "teach_1998.json"
SEEDS, PASSES, IMAGES = [5, 6], 5, 10_000
STARTS = {"1998's start": {"scale": 2.4, "power": 1.0}, "PyTorch's start": procedure_1998.START}
DAMPINGS = [0.02, 0.1, 0.4, 1.68]  # 1.68 is 0.02 for a loss that is the mean of the 84 squares
RUBBISH = [1.0, 10.0, 100.0]
SCALES = [1 / 4, 1 / 16, 1 / 84]  # of the distances in the loss; the damping is scaled along


def ways() -> dict[str, dict]:
    """By name, what `judge` gets: each start with each damping, then the distances of rubbish."""
    made = {
        f"{start}, damping {damping}": {"start": drawn, "damping": damping, "rubbish": RUBBISH[0]}
        for start, drawn in STARTS.items()
        for damping in DAMPINGS
    }
    chosen = f"PyTorch's start, damping {procedure_1998.DAMPING}"
    for rubbish in RUBBISH[1:]:
        made[f"{chosen}, rubbish at {rubbish:.0f}"] = {**made[chosen], "rubbish": rubbish}
    for scale in SCALES:
        damping = procedure_1998.DAMPING * scale
        made[f"{chosen}, all by {1 / scale:.0f}"] = {
            **made[chosen],
            "damping": damping,
            "scale": scale,
        }
    for start, drawn in STARTS.items():  # the paper's constant, for means of squares
        as_means = {"start": drawn, "damping": 0.02, "rubbish": RUBBISH[0], "scale": SCALES[-1]}
        made[f"{start}, damping 0.02, by 84"] = as_means
    return made


def scaled_loss(outputs: Tensor, labels: Tensor, scale: float, rubbish: float) -> Tensor:
    """`map_loss` of distances in another unit."""
    return models.map_loss(scale * outputs, labels, rubbish=rubbish)


def judge(seed: int, start: dict, damping: float, rubbish: float, scale: float = 1.0) -> dict:
    """The mean loss of the last of these passes, and the validation accuracy after it."""
    train, validation = images("train", []), images("validation", [])
    model = procedure_1998.start(seed, **start)
    passes = procedure_1998.teach(
        model,
        data.Digits(train.images[:IMAGES], train.labels[:IMAGES]),
        seed=seed,
        loss=functools.partial(scaled_loss, scale=scale, rubbish=rubbish),
        damping=damping,
        progress=False,
    )
    *_, loss = itertools.islice(passes, PASSES)
    answers = evaluation.predict(model, validation.images).argmax(1)
    return {"loss": loss, "validation": evaluation.accuracy(answers, validation.labels)}


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    ladder, wanted = Ladder(RESULTS, "python tools/teach_1998.py"), ways()
    left = ladder.missing(wanted, SEEDS)
    with one_thread_each() as pool:
        ladder.measure(
            pool, left, lambda name, seed: (functools.partial(judge, **wanted[name]), seed)
        )


if __name__ == "__main__":
    main()
