import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lenet_utils import data, evaluation
from lenet_utils.models import LeNet


@pytest.fixture(scope="module")
def images():
    return data.load("test").images[:130]


# Predictions


@pytest.mark.parametrize("batch_size", [7, 65, 130, 250])
def test_predictions_are_the_models_outputs_on_the_cpu(images, batch_size):
    model = LeNet()
    predicted = evaluation.predict(model, images, batch_size)
    assert predicted.dtype == torch.float32
    assert predicted.device.type == "cpu"
    assert not predicted.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(predicted, model(data.to_input(images)), rtol=0, atol=1e-5)


def test_images_are_taken_as_people_have_them(images):
    model = LeNet()
    expected = evaluation.predict(model, images)
    for same in (images.float() / 255, images[:, 0].numpy(), images.numpy() / 255):
        assert torch.equal(evaluation.predict(model, same), expected)
    assert evaluation.predict(model, images[0, 0]).shape == (1, 10)
    assert evaluation.predict(model, images[:0]).shape == (0, 10)


@pytest.mark.parametrize("training", [False, True])
def test_predicts_in_evaluation_mode_and_restores_every_mode(images, training):
    model = nn.Sequential(LeNet(), nn.BatchNorm1d(10, eps=0), nn.Dropout(0.5)).train(training)
    model[1].eval()
    assert torch.equal(evaluation.predict(model, images), evaluation.predict(model[0], images))
    with pytest.raises(ValueError):
        evaluation.predict(model, images[:, :, :28])
    assert [module.training for module in model] == [training, False, training]
    assert model.training == training


# Accuracy and its interval


@pytest.mark.parametrize(
    "labels, share", [([1, 2, 3], 1.0), ([2, 3, 4], 0.0), ([1, 2, 4], 2 / 3), ([3, 1, 3], 1 / 3)]
)
def test_accuracy_is_correct_of_all(labels, share):
    assert evaluation.accuracy(torch.tensor([1, 2, 3]), torch.tensor(labels)) == share


@pytest.mark.parametrize("shapes", [((4, 10), (4,)), ((4, 1), (4, 1)), ((3,), (4,)), ((0,), (0,))])
def test_accuracy_of_other_shapes(shapes):
    with pytest.raises(ValueError) as error:
        evaluation.accuracy(*map(torch.zeros, shapes))
    assert f"got {shapes[0]} and {shapes[1]}: logits.argmax(1) makes" in str(error.value)


@pytest.mark.parametrize("correct, total", [(8, 10), (0, 10), (10, 10), (1, 1), (9_900, 10_000)])
@pytest.mark.parametrize("options, z", [({}, 1.95996398454), ({"confidence": 0.99}, 2.57582930355)])
def test_interval_solves_wilsons_equation(correct, total, options, z):
    for p in evaluation.interval(correct, total, **options):
        squared = z**2 * p * (1 - p) / total
        assert (correct / total - p) ** 2 == pytest.approx(squared, rel=1e-9, abs=1e-12)


def test_interval_known_from_elsewhere():
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    assert evaluation.interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert evaluation.interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert evaluation.interval(0, 20) == pytest.approx((0.0000, 0.1611), abs=5e-5)


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


# Calibration


def answers(*groups):
    """Probabilities of two classes, and labels, of groups (confidence, right answers, all)."""
    rows = [[confidence, 1 - confidence] for confidence, _, count in groups for _ in range(count)]
    labels = [int(n >= right) for _, right, count in groups for n in range(count)]
    return torch.tensor(rows), torch.tensor(labels)


def counts(rows):
    return [row.count for row in rows]


def test_reliability_has_a_row_for_each_bin_that_is_not_empty():
    given = answers((0.98, 3, 4), (0.62, 1, 2), (0.68, 2, 2), (0.55, 0, 1))
    rows = evaluation.reliability(*given, bins=10)
    assert counts(rows) == [1, 4, 4]
    assert [row.confidence for row in rows] == pytest.approx([0.55, 0.65, 0.98])
    assert [row.accuracy for row in rows] == [0, 0.75, 0.75]
    assert counts(evaluation.reliability(*given)) == [1, 2, 2, 4]  # in fifteen bins


@pytest.mark.parametrize("bins", [10, 15])
def test_bins_are_of_equal_width_and_closed_above(bins):
    for number in range(bins // 2 + 1, bins):
        edge = number / bins
        around = answers((edge - 0.01, 0, 1), (edge, 0, 1), (edge + 0.01, 1, 1))
        rows = evaluation.reliability(*around, bins)
        assert [(row.accuracy, row.count) for row in rows] == [(0, 2), (1, 1)]


def test_the_first_and_the_last_bin_and_confidences_that_were_rounded_up():
    low = torch.tensor([[0.1] * 10, [0.19] + [0.09] * 9])
    assert counts(evaluation.reliability(low, torch.tensor([0, 9]), bins=10)) == [1, 1]
    high = torch.tensor([[1.0000001, 0.0], [0.95, 0.05]])
    assert counts(evaluation.reliability(high, torch.tensor([0, 0]), bins=10)) == [2]


@pytest.mark.parametrize(
    "groups, options, error",
    [
        ([(0.75, 3, 4)], {}, 0.0),
        ([(0.75, 0, 4)], {}, 0.75),
        ([(0.75, 4, 4), (1.0, 2, 4)], {}, (0.25 + 0.5) / 2),  # they err in opposite directions
        ([(0.6, 3, 3), (0.9, 0, 1)], {}, (3 * 0.4 + 0.9) / 4),
        ([(0.62, 2, 2), (0.68, 0, 2)], {}, (0.38 + 0.68) / 2),
        ([(0.62, 2, 2), (0.68, 0, 2)], {"bins": 10}, 0.15),  # one bin, whose accuracy is 0.5
    ],
)
def test_calibration_error(groups, options, error):
    found = evaluation.calibration_error(*answers(*groups), **options)
    assert found == pytest.approx(error, abs=1e-6)


# A temperature


@pytest.mark.parametrize("best", [0.02, 0.5, 1.0, 3.0, 80.0])
@pytest.mark.parametrize("classes, right, count", [(2, 3, 4), (10, 9, 10), (3, 2, 5)])
def test_temperature_makes_confidence_accuracy(best, classes, right, count):
    # Of logits (z, 0, …, 0), confidence is s where z / T is the logarithm of (C - 1) · s / (1 - s).
    logits = torch.zeros(count, classes, dtype=torch.float64)
    logits[:, 0] = best * math.log((classes - 1) * right / (count - right))
    labels = (torch.arange(count) >= right).long()
    logits += torch.arange(count)[:, None]  # which changes no probability
    assert evaluation.temperature(logits, labels) == pytest.approx(best, rel=1e-6)


def test_temperature_has_the_smallest_cross_entropy():
    random = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(200, 10, generator=random)
    labels = (logits + 9 * torch.randn(200, 10, generator=random)).argmax(1)
    best = evaluation.temperature(logits, labels)
    losses = [F.cross_entropy(logits.double() / (best * x), labels) for x in (0.99, 1, 1.01)]
    assert losses[1] < min(losses[0], losses[2])
    assert evaluation.temperature(logits.double(), labels) == best


@pytest.mark.parametrize(
    "logits, labels",
    [
        ([[5.0, 0.0]] * 4, [0, 0, 0, 0]),
        ([[100.0, 99.63]], [0]),  # right by a little: rounding must not find a best temperature
        ([[5.0, 0.0]] * 4, [0, 0, 1, 1]),
        ([[5.0, 0.0]] * 4, [1, 1, 1, 0]),
        ([[0.0, 0.0]] * 2, [0, 1]),
    ],
)
def test_there_is_no_best_temperature(logits, labels):
    with pytest.raises(ValueError, match="no temperature from 0.01 to 100 is best"):
        evaluation.temperature(torch.tensor(logits), torch.tensor(labels))


# What these three take

ALL = [evaluation.reliability, evaluation.calibration_error, evaluation.temperature]


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_other_integer_types(function, dtype):
    outputs, labels = answers((0.9, 3, 4), (0.6, 3, 5))
    assert function(outputs, labels.to(dtype)) == function(outputs, labels)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    "outputs, labels, message",
    [
        (torch.zeros(0, 2), torch.zeros(0).long(), "at least one"),
        (torch.zeros(3), torch.zeros(3).long(), r"got \(3,\) and \(3,\)"),
        (torch.full((3, 2), 0.5), torch.zeros(2).long(), r"got \(3, 2\) and \(2,\)"),
        (torch.full((3, 2), 0.5), torch.zeros(3, 1).long(), r"got \(3, 2\) and \(3, 1\)"),
        (torch.tensor([[0.5, math.nan]]), torch.tensor([0]), "infinite or NaN"),
        (torch.tensor([[0.5, math.inf]]), torch.tensor([0]), "infinite or NaN"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0.0]), "whole numbers below 2"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([2]), "whole numbers below 2"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([-1]), "whole numbers below 2"),
    ],
)
def test_what_is_refused(function, outputs, labels, message):
    with pytest.raises(ValueError, match=message):
        function(outputs, labels)


@pytest.mark.parametrize("function", ALL[:2])
@pytest.mark.parametrize("row", [[3.0, -1.0], [0.5, 0.6], [1.5, -0.5], [0.2, 0.3]])
def test_logits_are_not_taken_for_probabilities(function, row):
    with pytest.raises(ValueError, match=r"logits.softmax\(1\) makes them"):
        function(torch.tensor([[0.5, 0.5], row]), torch.tensor([0, 0]))
