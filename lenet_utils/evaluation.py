"""Predictions, accuracy and how sure one can be of it, calibration."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from . import data
from .models import evaluating


def predict(model: nn.Module, images: Tensor | np.ndarray, batch_size: int = 250) -> Tensor:
    """The outputs for N images, as `data.as_images` takes them: float32 (N, 10), on the CPU.

    These are logits, or probabilities where the model ends in a softmax. The model runs in
    evaluation mode, without gradients; its modules are then in the modes they were in before.
    """
    device = next(model.parameters(), torch.zeros(0)).device
    with evaluating(model):
        batches = data.as_images(images).split(batch_size)
        return torch.cat([model(data.to_input(batch.to(device))).cpu() for batch in batches])


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Correct / all, between 0 and 1, of predicted classes (N,) and labels (N,).

    Raises ValueError for other shapes, logits among them.
    """
    if predicted.shape != labels.shape or labels.dim() != 1 or not len(labels):
        raise ValueError(
            "expected as many predicted classes as labels, at least one; got "
            f"{tuple(predicted.shape)} and {tuple(labels.shape)}: logits.argmax(1) makes classes"
        )
    return (predicted.cpu() == labels.cpu()).sum().item() / len(labels)


def interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (low, high), between 0 and 1, for `correct` successes among `total`.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22 (1927). Raises ValueError for impossible counts.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"expected 0 ≤ correct ≤ total and total ≥ 1, got {correct} of {total}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    half = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    low, high = (centre - half) / (1 + z * z / total), (centre + half) / (1 + z * z / total)
    return max(low, 0.0), min(high, 1.0)  # for none and for all, rounding may step outside


class Bin(NamedTuple):
    """Predictions of about the same confidence."""

    confidence: float  # their mean
    accuracy: float
    count: int


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> list[Bin]:
    """Predictions by confidence, in bins of equal width between 0 and 1; empty bins are left out.

    probabilities float (N, C), of which the largest in a row is its confidence; labels, whole
    numbers (N,). Raises ValueError for other shapes, logits, and what is not a number.
    """
    _check(probabilities, labels)
    if bins < 1:
        raise ValueError(f"expected at least one bin, got {bins}")
    sums = probabilities.sum(1)
    if probabilities.min() < 0 or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ValueError(
            "expected probabilities, which are at least 0 and add up to 1 in every row: "
            "logits.softmax(1) makes them of logits"
        )
    confidence, predicted = probabilities.max(dim=1)
    right = (predicted == labels).float()
    # Bins are closed above: with ten, 0.2 is in the one from 0.1 to 0.2.
    number = (confidence * bins).ceil().clamp(1, bins)
    return [
        Bin(confidence[inside].mean().item(), right[inside].mean().item(), int(inside.sum()))
        for inside in (number == n for n in range(1, bins + 1))
        if inside.any()
    ]


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error: by how much confidence and accuracy differ, averaged over all.

    M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015. Arguments and errors as of `reliability`.
    """
    table = reliability(probabilities, labels, bins)
    return sum(row.count * abs(row.accuracy - row.confidence) for row in table) / len(labels)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The number by which to divide logits (N, C) so that their cross-entropy is smallest.

    There the logits, averaged by the probabilities they give, equal those of the right classes.
    Fit it on images that the network has not learnt from. C. Guo, G. Pleiss, Y. Sun, K. Q.
    Weinberger, "On calibration of modern neural networks", ICML 2017. Raises ValueError where no
    temperature from 0.01 to 100 is best: all answers are right, or no better than chance.
    """
    _check(logits, labels)
    logits = logits.double() - logits.double().amax(1, keepdim=True)  # changes no probability
    right = logits.gather(1, labels.long()[:, None]).mean().item()

    def too_cold(temperature: float) -> bool:
        return ((logits / temperature).softmax(1) * logits).sum(1).mean().item() > right

    low, high = 0.01, 100.0
    if not too_cold(low) or too_cold(high):
        raise ValueError(
            "no temperature from 0.01 to 100 is best: either all answers are right (and the lower "
            "the better), or they are no better than chance (and the higher the better)"
        )
    while high / low > 1 + 1e-9:  # halve the range, on a logarithmic scale
        middle = (low * high) ** 0.5
        low, high = (middle, high) if too_cold(middle) else (low, middle)
    return high


def _check(outputs: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless outputs are numbers (N, C), N at least 1, labels classes (N,)."""
    if outputs.dim() != 2 or labels.shape != outputs.shape[:1] or not len(labels):
        raise ValueError(
            "expected outputs (N, C) and labels (N,), at least one; "
            f"got {tuple(outputs.shape)} and {tuple(labels.shape)}"
        )
    if not outputs.is_floating_point() or not outputs.isfinite().all():
        raise ValueError(f"expected finite floats, got {outputs.dtype}, or infinite or NaN values")
    if labels.is_floating_point() or not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
        raise ValueError(f"expected labels as whole numbers below {outputs.shape[1]}, got {labels}")
