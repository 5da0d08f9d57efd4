import math

import pytest
import torch
from torch import nn

from lenet_utils import data, evaluation
from lenet_utils.models import LeNet


@pytest.fixture(scope="module")
def images():
    return data.load("test").images[:130]


# Predictions


def test_predictions_are_the_models_outputs_on_the_cpu(images):
    model = LeNet()
    predicted = evaluation.predict(model, images)
    assert predicted.shape == (130, 10)
    assert predicted.dtype == torch.float32
    assert predicted.device.type == "cpu"
    assert not predicted.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(predicted, model(data.to_input(images)))


@pytest.mark.parametrize("batch_size", [7, 50, 65, 130, 131])
def test_batch_size_changes_nothing(images, batch_size):
    model = LeNet()
    torch.testing.assert_close(
        evaluation.predict(model, images, batch_size=batch_size),
        evaluation.predict(model, images),
        rtol=0,
        atol=1e-5,
    )


def test_each_image_keeps_its_place(images):
    model = LeNet()
    backwards = evaluation.predict(model, images.flip(0), batch_size=50).flip(0)
    torch.testing.assert_close(backwards, evaluation.predict(model, images, batch_size=50))


@pytest.mark.parametrize("training", [False, True])
def test_predicts_in_evaluation_mode_and_restores_the_mode(images, training):
    model = nn.Sequential(LeNet(), nn.Dropout(0.5))
    model.train(training)
    predicted = evaluation.predict(model, images)
    assert torch.equal(predicted, evaluation.predict(model[0], images))
    assert model.training == training
    assert model[1].training == training


def test_the_mode_is_restored_after_an_error(images):
    model = LeNet()
    with pytest.raises(TypeError):
        evaluation.predict(model, images.float())
    assert model.training


def test_no_images(images):
    assert evaluation.predict(LeNet(), images[:0]).shape == (0, 10)


# Accuracy


@pytest.mark.parametrize(
    "predicted, labels, share",
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 1.0),
        ([1, 2, 3, 4], [2, 3, 4, 5], 0.0),
        ([1, 2, 3, 4], [1, 2, 3, 5], 0.75),
        ([7], [7], 1.0),
        ([0] * 9 + [1], [0] * 10, 9 / 10),
        ([1, 1, 0], [0, 1, 1], 1 / 3),
    ],
)
def test_accuracy_is_correct_of_all(predicted, labels, share):
    assert evaluation.accuracy(torch.tensor(predicted), torch.tensor(labels)) == share


@pytest.mark.parametrize(
    "predicted, labels",
    [
        (torch.zeros(4, 10), torch.zeros(4)),
        (torch.zeros(4, 1), torch.zeros(4, 1)),
        (torch.zeros(3), torch.zeros(4)),
        (torch.zeros(0), torch.zeros(0)),
    ],
)
def test_accuracy_of_other_shapes(predicted, labels):
    with pytest.raises(ValueError) as error:
        evaluation.accuracy(predicted, labels)
    assert f"got {tuple(predicted.shape)} and {tuple(labels.shape)}" in str(error.value)
    assert "logits.argmax(1) makes classes" in str(error.value)


# Its interval


def solved(correct, total, z=1.959963984540054):
    """The two shares p with (correct / total - p)² = z² · p(1 - p) / total."""
    a = 1 + z**2 / total
    b = -2 * correct / total - z**2 / total
    c = (correct / total) ** 2
    root = math.sqrt(max(b**2 - 4 * a * c, 0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@pytest.mark.parametrize(
    "correct, total",
    [(8, 10), (0, 10), (10, 10), (1, 1), (5, 10), (9_900, 10_000), (10_000, 10_000)],
)
def test_interval_solves_wilsons_equation(correct, total):
    expected = solved(correct, total)
    assert evaluation.interval(correct, total) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "correct, total, low, high",
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_known_from_elsewhere(correct, total, low, high):
    assert evaluation.interval(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_interval_of_another_confidence():
    assert evaluation.interval(8, 10, confidence=0.99) == pytest.approx(
        solved(8, 10, z=2.5758293035489), abs=1e-12
    )


def test_interval_is_mirrored():
    low, high = evaluation.interval(3, 10)
    assert evaluation.interval(7, 10) == pytest.approx((1 - high, 1 - low))


def test_interval_stays_between_0_and_1_and_around_the_share():
    for total in range(1, 100):
        for correct in range(total + 1):
            low, high = evaluation.interval(correct, total)
            assert 0 <= low < high <= 1
            assert low - 1e-12 <= correct / total <= high + 1e-12


@pytest.mark.parametrize("correct, total", [(11, 10), (-1, 10), (0, 0)])
def test_impossible_counts(correct, total):
    with pytest.raises(ValueError, match=f"got {correct} of {total}"):
        evaluation.interval(correct, total)
