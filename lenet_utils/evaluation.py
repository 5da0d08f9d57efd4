"""Predictions, accuracy and how sure one can be of it."""

from statistics import NormalDist

import torch
from torch import Tensor, nn

from . import data


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
    """What the model, in evaluation mode, makes of images uint8 (N, 1, 32, 32): float32 (N, 10) on the CPU.

    These are logits, or probabilities where the model ends in a softmax. The model's own mode is restored.
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
    """Share of predicted classes, (N,), that equal the labels, (N,): correct / all, between 0 and 1."""
    if predicted.shape != labels.shape or labels.dim() != 1 or not len(labels):
        raise ValueError(
            f"expected as many predicted classes as labels, at least one; got {tuple(predicted.shape)} and "
            f"{tuple(labels.shape)}: logits.argmax(1) makes classes of logits"
        )
    return (predicted.cpu() == labels.cpu()).float().mean().item()


def interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share of `correct` among `total`, as (low, high) between 0 and 1.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"expected 0 ≤ correct ≤ total and total ≥ 1, got {correct} of {total}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    half = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    return (centre - half) / (1 + z * z / total), (centre + half) / (1 + z * z / total)
