"""What makes training faster: the network computed otherwise, Muon, a part of an epoch."""

import math
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from . import training
from .data import Digits, to_input
from .models import LeNet, check_images

_where_positive = torch.ops.aten.threshold_backward  # (g, x, 0) → g where x > 0, elsewhere 0


# Rates and sizes that suit Muon, chosen by tools/faster.py.
RECIPE = training.Recipe(
    epochs=1,
    learning_rate=0.012,
    schedule="one_cycle",
    betas=(0.8, 0.95),
    label_smoothing=0.05,
    batch_size=128,
)


def train(
    recipe: training.Recipe,
    digits: Digits,
    *,
    share: float = 1.0,
    still: bool = False,
    momentum: float = 0.8,
    **options,
) -> training.Trained:
    """As `training.train`, with all that is here: a QuickLeNet whose first filters start whitened,
    and stay so if they are to be still, learns by Muon, with this momentum, from this share of the
    images in an epoch."""

    def network() -> nn.Module:
        model = whiten(QuickLeNet(recipe.softmax), digits.images)
        model.network[0].requires_grad_(not still)
        return model

    def muon(weights: Iterable[nn.Parameter], recipe: training.Recipe) -> torch.optim.Optimizer:
        return Muon(weights, momentum, lr=recipe.learning_rate, betas=recipe.betas)

    batches = Part(digits, recipe.batch_size, share)
    return training.train(recipe, batches, network=network, optimizer=muon, **options)


class QuickLeNet(LeNet):
    """The same twelve modules and outputs as LeNet; `forward` takes a shorter way.

    Max pooling comes before ReLU, which then has a quarter to do. The first convolution and its
    pooling are one convolution at every second pixel with each filter at four places, and the
    largest of the four. The third convolution, whose filters cover all of a map, is linear.
    """

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.network[0].weight)
        first, second, third = (self.network[place] for place in (0, 3, 6))
        quarters = F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        four = F.conv2d(quarters, at_four_places(first.weight), first.bias.repeat(4))
        maps = F.relu(F.max_pool2d(second(LargestOfFour.apply(four)), 2))
        units = F.linear(maps.flatten(1), third.weight.flatten(1), third.bias)
        outputs = self.network[9:](F.relu(units))
        return F.softmax(outputs, dim=1) if self.softmax else outputs


def at_four_places(weight: Tensor) -> Tensor:
    """Filters (C, 1, 5, 5) → each in the four corners of 6×6 pixels, as `pixel_unshuffle` cuts
    images: (4C, 4, 3, 3)."""
    corners = [F.pad(weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
    filters = F.pixel_unshuffle(torch.cat(corners), 2)
    return filters.contiguous(memory_format=torch.channels_last)


class LargestOfFour(torch.autograd.Function):
    """Maps (N, 4C, H, W) → ReLU of the largest of channels c, C + c, 2C + c, 3C + c: (N, C, H, W).

    Its gradient goes to the largest alone.
    """

    @staticmethod
    def forward(ctx, four: Tensor) -> Tensor:
        """The largest of four, or 0."""
        two = torch.maximum(*four.chunk(2, 1))
        one = torch.maximum(*two.chunk(2, 1)).relu_()
        ctx.save_for_backward(four, two, one)
        return one

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        """The gradient of the four."""
        four, two, one = ctx.saved_tensors
        gradient = _where_positive(gradient, one, 0)
        for maps in (two, four):
            first, second = maps.chunk(2, 1)
            both, count = torch.empty_like(maps), first.shape[1]
            both[:, :count] = _where_positive(gradient, first - second, 0)
            torch.sub(gradient, both[:, :count], out=both[:, count:])
            gradient = both
        return gradient


class Muon(torch.optim.Adam):
    """Muon for matrices, convolutions' flattened; Adam for biases and the last matrix.

    An update is made orthogonal: all its singular values become about 1, so that no direction
    waits for the strongest. Its size is that of an update of Adam, 0.2 per weight, whatever the
    shape. K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; size:
    J. Liu et al., "Muon is scalable for LLM training", 2025. torch.optim.Muon is for matrices only.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], momentum: float = 0.9, **options):
        parameters = list(parameters)
        super().__init__(parameters, fused=True, **options)
        self.momentum = momentum
        *matrices, _ = (weight for weight in parameters if weight.dim() > 1)
        self.means = [(weight, torch.zeros_like(weight)) for weight in matrices]

    @torch.no_grad()
    def step(self, closure=None):
        rate = self.param_groups[0]["lr"]
        for weight, mean in self.means:
            if weight.grad is None:  # it stays as it is
                continue
            gradient, weight.grad = weight.grad, None  # so Adam passes it over
            mean.lerp_(gradient, 1 - self.momentum)
            ahead = gradient.lerp(mean, self.momentum).flatten(1)
            size = 0.2 * math.sqrt(max(ahead.shape))
            weight.add_(orthogonal(ahead).view(weight.shape), alpha=-rate * size)
        return super().step(closure)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix with the same singular vectors and singular values of about 1.

    Newton and Schulz's iteration, with the constants of Jordan et al.: after 5 steps every value
    above 0.3 % of the matrix's norm is between 0.68 and 1.21.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = wide @ wide.T
        even = torch.addmm(square, square, square, beta=-4.775, alpha=2.0315)
        wide = torch.addmm(wide, even, wide, beta=3.4445)
    return wide if wide.shape == matrix.shape else wide.T


@torch.no_grad()
def whiten(model: LeNet, images: Tensor, count: int = 200) -> LeNet:
    """Start the first filters with the main directions of the images' 5×5 patches, each as bright
    on dark and dark on bright, scaled to answers of variance 1; return the model.

    images uint8 (N, 1, 32, 32), of which the first so many are looked at. After K. Jordan, "94 % on
    CIFAR-10 in 3.29 seconds on a single GPU", 2024.
    """
    first = model.network[0]
    patches = F.unfold(to_input(images[:count]), 5).transpose(0, 1).flatten(1)  # (25, …)
    values, directions = torch.linalg.eigh(patches.cov())  # ascending
    half = len(first.weight) // 2
    filters = (directions[:, -half:] / values[-half:].sqrt()).T
    first.weight.copy_(torch.cat([filters, -filters]).view_as(first.weight))
    first.bias.zero_()
    return model


class Part:
    """An epoch's batches, of a share of the images, drawn anew for each epoch."""

    def __init__(self, digits: Digits, batch_size: int, share: float = 1.0):
        self.digits, self.batch_size = digits, batch_size
        self.count = round(share * len(digits.images))

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.randperm(len(self.digits.images))[: self.count].split(self.batch_size):
            yield self.digits.images[chosen], self.digits.labels[chosen]
