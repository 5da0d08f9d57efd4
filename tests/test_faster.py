"""The ladder to 99 % in less than one pass; several processes compute what one does."""

import sys

import pytest
import several
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lenet_utils import data, training
from lenet_utils.models import LeNet

STEPS, BATCH = 6, 40


def descend(parameters, recipe):
    return torch.optim.SGD(parameters, lr=recipe.learning_rate, momentum=0.9)


def in_float64(images):
    return data.to_input(images).double()


def digits():
    some = data.load("validation")
    return data.Digits(some.images[: STEPS * BATCH], some.labels[: STEPS * BATCH])


OPTIONS = {"transform": in_float64, "optimizer": descend, "seed": 7}
RECIPE = training.Recipe(epochs=2, learning_rate=0.05, batch_size=BATCH)


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = several.train(digits(), RECIPE, **OPTIONS)
    torch.save([p.detach() for p in model.parameters()], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="started as on Linux")
def test_two_processes_equal_one(tmp_path, monkeypatch):
    """At the same images in each batch: gradients are means over equal shares."""
    mp.spawn(one_of_two, args=(tmp_path,), nprocs=2)
    two = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        model = LeNet()
        start = [p.detach().clone() for p in model.parameters()]
        monkeypatch.setattr(dist, "get_world_size", lambda: 1)
        monkeypatch.setattr(dist, "get_rank", lambda: 0)
        batches = several.EqualShares(digits(), BATCH)
        training.fit(model, batches, RECIPE, progress=False, **OPTIONS)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, first, second, before in zip(model.parameters(), *two, start, strict=True):
        assert torch.equal(first, second)
        assert (one - first).abs().max() < 1e-12 < 1e-4 < (one - before).abs().max()
