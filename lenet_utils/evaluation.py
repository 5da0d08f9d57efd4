"""Predictions, accuracy and how sure one can be of it, calibration."""

from statistics import NormalDist
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import data


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 250) -> Tensor:
    """The model's outputs for images uint8 (N, 1, 32, 32): float32 (N, 10), on the CPU.

    These are logits, or probabilities where the model ends in a softmax. The model runs in
    evaluation mode, without gradients, and is then in the mode it was in before.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        batches = images.split(batch_size)
        return torch.cat([model(data.to_input(batch.to(device))).cpu() for batch in batches])
    finally:
        model.train(was_training)


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

    probabilities float32 (N, C), of which the largest in a row is its confidence; labels (N,)
    """
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
    Bayesian binning", AAAI 2015. Shapes as of `reliability`.
    """
    table = reliability(probabilities, labels, bins)
    return sum(row.count * abs(row.accuracy - row.confidence) for row in table) / len(labels)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The number by which to divide logits (N, C) so that their cross-entropy is smallest.

    Fit it on validation images. C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of
    modern neural networks", ICML 2017.
    """
    logits, inverse = logits.double(), torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inverse * logits, labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return 1 / inverse.item()
