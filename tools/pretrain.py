"""Train the network that ships with lenet_utils, and write lenet_utils/weights/lenet.pt.

    python tools/pretrain.py

Its recipe is refitted on all 60,000 training images, on the CPU, and takes its last step's weights.
A test trains it again and compares the accuracy.
"""

import argparse
import os

import torch

from lenet_utils import data, training
from lenet_utils.models import LeNet

RECIPE, SEED = training.RECIPES["shipped"], 0


def pretrain() -> training.Trained:
    torch.manual_seed(SEED)
    model = LeNet(softmax=RECIPE.softmax)
    history = training.fit(model, data.load("full"), RECIPE, seed=SEED)
    return training.Trained(model, RECIPE, SEED, history)


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ["LENET_DEVICE"] = "cpu"
    training.PRETRAINED.parent.mkdir(exist_ok=True)
    training.save(pretrain(), training.PRETRAINED)
