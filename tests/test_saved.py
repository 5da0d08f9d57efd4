"""Trained networks in files: as they were, or refused; and those that ship."""

import os
import random

import pretrain
import pytest
import torch
from torch import nn

from lenet_utils import training
from lenet_utils.models import LeNet

DAMAGED = "network.pt is damaged, or was not written by training.save"


def tiny():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def trained(network):
    torch.manual_seed(3)
    model = network()
    model(torch.rand(4, 1, 32, 32))  # fills buffers
    recipe = training.Recipe(epochs=2, softmax=getattr(model, "softmax", False))
    history = training.History([2.3, 0.1], [{"train_loss": 1.2, "train_accuracy": 0.5}])
    return training.Trained(model, recipe, 7, history)


def content(trained):
    weights = trained.model.state_dict().items()
    stored = {name: (value.dtype, value.shape, value.numpy().tobytes()) for name, value in weights}
    return stored, getattr(trained.model, "softmax", None), repr(trained[1:])  # 1 is not 1.0


@pytest.fixture
def path(tmp_path):
    training.save(trained(tiny), tmp_path / "network.pt")
    return tmp_path / "network.pt"


@pytest.mark.parametrize("network", [LeNet, lambda: LeNet(softmax=True), tiny])
def test_restored_is_what_was_saved(tmp_path, monkeypatch, network):
    monkeypatch.setattr("pathlib.Path.expanduser", lambda path: tmp_path / path.name)
    saved, given = trained(network), tiny() if network is tiny else None
    training.save(saved, "~/network.pt")
    restored = training.restore("~/network.pt", given)
    assert content(restored) == content(saved)
    assert type(restored.model) is type(saved.model) and given in (None, restored.model)
    assert not any(module.training for module in restored.model.modules())


def test_a_failed_save_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", None)  # the last step
    with pytest.raises(TypeError):
        training.save(trained(LeNet), path)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == {path: before}


@pytest.mark.parametrize("place", ["", "nothing/network.pt", "network.pt/network.pt"])
def test_a_place_that_cannot_be_written_or_read(path, place):
    with pytest.raises(OSError, match="cannot write .*: name a file in a folder that exists"):
        training.save(trained(tiny), path.parent / place)
    for read in (training.restore, training.shipped):
        with pytest.raises(FileNotFoundError, match="nothing"):
            read("nothing")


def test_a_refused_file_leaves_the_given_network_as_it_was(path):
    given = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 3))
    before = {name: value.clone() for name, value in given.state_dict().items()}
    for other in (given, tiny().double()):
        with pytest.raises(ValueError, match="another network than Sequential"):
            training.restore(path, other)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())


@pytest.mark.parametrize("network, count", [(tiny, 300), (LeNet, 60)])
def test_a_damaged_file_gives_what_was_saved_or_is_refused(path, network, count):
    training.save(trained(network), path)
    whole, expected, draw = path.read_bytes(), content(trained(network)), random.Random(0)
    for place in [len(whole) * number // count for number in range(count)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        for damaged in (flipped, whole[:place]):
            path.write_bytes(damaged)
            try:
                assert content(training.restore(path, network())) == expected, place
            except ValueError as error:
                assert DAMAGED in str(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["weights"]["1.bias"].add_(1e-9),
        lambda c: c["weights"].update(count=c["weights"].popitem()[1]),
        lambda c: c["weights"].update({"1.bias": torch.zeros(2, dtype=torch.int32)}),
        lambda c: c["weights"].update({"1.bias": torch.zeros(1, 2)}),
        lambda c: c["recipe"].update(label_smoothing=1e-9),
        lambda c: c.update(seed=8),
        lambda c: c["losses"].add_(1e-9),
        lambda c: c["epochs"][0].update(train_accuracy=0.6),
    ],
)
def test_the_digest_covers_every_field(path, change):
    stored = torch.load(path, weights_only=True)
    assert training.digest(stored) == stored["sha256"]
    change(stored)
    assert training.digest(stored) != stored["sha256"]
    torch.save(stored, path)
    with pytest.raises(ValueError, match=DAMAGED):
        training.restore(path, tiny())


def test_a_hostile_pickle_executes_nothing(path):
    executed = path.with_name("executed")
    trap = type("Trap", (), {"__reduce__": lambda self: (os.mkdir, (executed,))})()
    for zipped in (False, True):
        torch.save(trap, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=DAMAGED):
            training.restore(path)
    assert not executed.exists()
    torch.load(path, weights_only=False)
    assert executed.exists()  # the trap does work


@pytest.mark.parametrize("something_else", [tiny().state_dict(), {}, [1, 2], None])
def test_a_file_of_something_else(path, something_else):
    torch.save(something_else, path)
    with pytest.raises(ValueError, match=DAMAGED):
        training.restore(path, tiny())


@pytest.mark.parametrize("saved, given", [(tiny, None), (LeNet, tiny())])
def test_a_file_of_another_network(path, saved, given):
    training.save(trained(saved), path)
    kind = "LeNet" if given is None else "Sequential"
    with pytest.raises(ValueError, match=f"network.pt holds another network than {kind}: pass"):
        training.restore(path, given)


@pytest.mark.parametrize("name, steps", [("plain", 938), ("robust", 938), ("write_up", 860)])
def test_the_shipped_networks(name, steps):
    shipped, recipe = training.shipped(name), training.RECIPES[name]
    assert (shipped.recipe, shipped.seed) == (recipe, pretrain.SEED)
    assert len(shipped.history.losses) == steps * recipe.epochs
    assert len(shipped.history.epochs) == recipe.epochs
    assert ("validation_loss" in shipped.history.epochs[-1]) == (name == "write_up")
    assert shipped.model.state_dict().keys() == LeNet().state_dict().keys()


def test_what_ships():
    assert content(training.shipped()) == content(training.shipped("plain"))
    files = {file.name: file.stat().st_size for file in training.SHIPPED.iterdir()}
    networks = {f"{name}.pt" for name in pretrain.NAMES}
    assert set(files) == networks | {"README.md", "drawings.json"}
    assert max(files.values()) < 800_000
    with pytest.raises(
        FileNotFoundError,
        match="no network 'other' ships; there are: lenet1998, plain, robust, write_up",
    ):
        training.shipped("other")
