"""Counts that chapter 04 compares must be the same on every processor, however it rounds.

They are counts of the shipped network's answers. How far the nearest answer is from being another
is held against how much its outputs differ between float32 and float64.
"""

import pytest
import torch

from lenet_utils import data, evaluation, training

FAR = 1000  # times the difference


@pytest.fixture(scope="module")
def outputs():
    """Test labels; outputs in float64; and the largest difference to those in float32."""
    test, model = data.load("test"), training.shipped("plain").model
    rounded = evaluation.predict(model, test.images)
    with torch.no_grad():
        parts = [model.double()(data.to_input(part).double()) for part in test.images.split(500)]
    exact = torch.cat(parts)
    return test.labels, exact, (exact - rounded).abs().max().item()


def test_no_answer_is_close_to_another(outputs):
    _, exact, difference = outputs
    first, second = exact.topk(2).values.T
    assert 0 < FAR * difference < (first - second).min().item()


def test_no_mistake_is_close_to_being_handed_over(outputs):
    labels, exact, difference = outputs
    confidence, answers = exact.softmax(1).max(1)
    ranked = confidence.sort().values
    mistakes = confidence[answers != labels]
    for count in (100, 200, 500, 1_000):  # the least sure of 10,000, as in "When should it ask?"
        threshold = (ranked[count - 1] + ranked[count]) / 2
        assert FAR * difference < (mistakes - threshold).abs().min().item()
