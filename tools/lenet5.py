"""All of it in one file: the digits, the network, the training and the test, and nothing else.

    python tools/lenet5.py

For readers who want to see the whole at once, or to copy it. It needs torch alone, trains by the
recipe `plain` for three epochs, and reads about 99.3 % of the test digits. A test compares its
numbers with lenet_utils', which does the same with checks and comforts.
"""

import argparse
import gzip
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

ARCHIVES = Path(__file__).resolve().parents[1] / "lenet_utils" / "mnist"
MEAN, STD = 0.1309, 0.2893  # of the training images at 32×32, from 0 (paper) to 1


def read(path):
    """An archive in IDX format: two zeros, the type, the dimensions, their sizes, the content."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    sizes = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    values = torch.frombuffer(bytearray(content[4 + 4 * dimensions :]), dtype=torch.uint8)
    return values.view(sizes)


def load(folder, name):
    """Images float32 (N, 1, 32, 32), normalised, and labels int64 (N,); name "train" or "t10k"."""
    images = read(folder / f"{name}-images-idx3-ubyte.gz")[:, None]
    parts = [F.interpolate(p, 32, mode="bilinear", antialias=True) for p in images.split(1000)]
    inputs = (torch.cat(parts).float() / 255 - MEAN) / STD
    return inputs, read(folder / f"{name}-labels-idx1-ubyte.gz").long()


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Conv2d(16, 120, kernel_size=5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def train(images, labels, epochs=3, seed=0):
    torch.manual_seed(seed)
    model = lenet().to(memory_format=torch.channels_last)  # the layout only makes it faster
    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3, fused=True)
    steps = epochs * len(loader)
    schedule = OneCycleLR(
        optimizer, 6e-3, steps, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False
    )
    for epoch in range(epochs):
        total = 0.0
        for batch, targets in loader:
            loss = F.cross_entropy(model(batch), targets, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(targets)
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)
    return model


@torch.no_grad()
def accuracy(model, images, labels):
    model.eval()
    answers = torch.cat([model(part).argmax(1) for part in images.split(250)])
    return (answers == labels).sum().item() / len(labels)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ARCHIVES, help="of the four archives")
    folder = parser.parse_args().folder
    trained = train(*load(folder, "train"))
    print(f"test accuracy {accuracy(trained, *load(folder, 't10k')):.2%}")


if __name__ == "__main__":
    main()
