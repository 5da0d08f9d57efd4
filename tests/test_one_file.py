"""tools/lenet5.py, the whole in one plain file, computes what lenet_utils computes."""

import doctest

import frame
import lenet5
import torch

from lenet_utils import data, evaluation, models, training


def test_same_digits():
    for name, subset in {"train": "train+validation", "t10k": "test"}.items():
        images, labels = lenet5.load(lenet5.ARCHIVES, name)
        digits = data.load(subset)
        assert torch.equal(labels, digits.labels)
        for ours, theirs in zip(images.split(10_000), digits.images.split(10_000), strict=True):
            assert (ours - data.to_input(theirs)).abs().max() < 1e-3
    assert (round(data.MEAN, 4), round(data.STD, 4)) == (lenet5.MEAN, lenet5.STD)


def test_same_network():
    assert str(lenet5.lenet()) == str(models.LeNet().network)


def test_same_training():
    digits = data.load("train+validation")
    few = data.Digits(digits.images[:640], digits.labels[:640])
    expected = training.train(training.RECIPES["plain"], few, seed=3, progress=False)
    ours = lenet5.train(data.to_input(few.images), few.labels, seed=3)
    for a, b in zip(ours.parameters(), expected.model.parameters(), strict=True):
        assert torch.equal(a, b)
    right = evaluation.predict(expected.model, few.images).argmax(1)
    assert lenet5.accuracy(ours, data.to_input(few.images), few.labels) == evaluation.accuracy(
        right, few.labels
    )


def test_the_page_of_idioms_says_what_torch_does():
    page = frame.ROOT / "notebooks" / "tensor_idioms.md"
    failures, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 15 and failures == 0
