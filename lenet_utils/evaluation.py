"""Predictions, accuracy and how sure one can be of it."""

from statistics import NormalDist

import torch
from torch import Tensor, nn

from . import data


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
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
    return (predicted.cpu() == labels.cpu()).float().mean().item()


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
    return (centre - half) / (1 + z * z / total), (centre + half) / (1 + z * z / total)
