"""Train with several processes, and print the images per second.

torchrun --standalone --nproc-per-node=2 tools/several.py   two on this machine
python tools/several.py                                     one, for comparison
"""

import argparse
import os
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lenet_utils import data, training
from lenet_utils.models import LeNet


class EqualShares:
    """Of each batch of an epoch, the part of this process."""

    def __init__(self, digits, batch_size):
        if batch_size % dist.get_world_size():
            raise ValueError(f"{dist.get_world_size()} equal shares of {batch_size}: impossible")
        self.digits, self.batch_size = digits, batch_size

    def __len__(self):
        return len(self.digits.images) // self.batch_size

    def __iter__(self):
        order = torch.randperm(len(self.digits.images))  # the same in all: they have one seed
        for batch in order.split(self.batch_size)[: len(self)]:
            mine = batch.chunk(dist.get_world_size())[dist.get_rank()]
            yield self.digits.images[mine], self.digits.labels[mine]


def train(digits, recipe, **options):
    """`training.fit`, the part of this process; all end with the same weights."""
    torch.manual_seed(0)
    model = LeNet().to(training.device(), memory_format=torch.channels_last)
    batches = EqualShares(digits, recipe.batch_size)
    training.fit(DistributedDataParallel(model), batches, recipe, progress=False, **options)
    return model


ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
ALONE["MASTER_PORT"] = "29500"


def main():
    os.environ |= ALONE | dict(os.environ)  # what torchrun sets
    torch.set_num_threads(1)
    on_cards = training.device().type == "cuda"
    if on_cards:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_cards else "gloo")
    digits = data.Digits(*(part[:6400] for part in data.load("train")))
    start = time.perf_counter()
    train(digits, training.Recipe(epochs=1))
    seconds = time.perf_counter() - start
    if dist.get_rank() == 0:
        print(f"processes: {dist.get_world_size()}, {6400 / seconds:.0f} images/s")
    dist.destroy_process_group()


if __name__ == "__main__":
    raw = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=raw).parse_args()
    main()
