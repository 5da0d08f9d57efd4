"""The network, and what each of its layers costs."""

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LeNet(nn.Module):
    """LeNet-5, modified: ReLU and max pooling, every map connected to all before it, linear output.

    images float32 (N, 1, 32, 32) → logits float32 (N, 10), or with softmax=True probabilities,
    whose rows sum to 1. Prefer the logits: cross-entropy applies a softmax of its own.

    The original: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86 (1998).
    """

    def __init__(self, softmax: bool = False):
        super().__init__()
        self.softmax = softmax
        self.network = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
            nn.Conv2d(16, 120, kernel_size=5),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.network[0].weight)
        outputs = self.network(images)
        return F.softmax(outputs, dim=1) if self.softmax else outputs


def check_images(images: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless images are (N, 1, 32, 32), TypeError unless of the weight's dtype."""
    if images.dim() != 4 or images.shape[1:] != (1, 32, 32):
        raise ValueError(
            f"expected images of shape (N, 1, 32, 32), got {tuple(images.shape)}: "
            "data.resize makes 32×32 pixels of them, image[None] a batch of a single one"
        )
    if images.dtype != weight.dtype:
        raise TypeError(
            f"expected images as {weight.dtype}, got {images.dtype}: data.to_input converts pixels"
        )


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, without gradients; then each module is in the mode it was in before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class Layer(NamedTuple):
    """One module of a network, as it ran on one input."""

    name: str  # depth and number, as torchinfo counts them: "2-1"
    kind: str  # "Conv2d"
    input_shape: tuple[int, ...]  # without the batch: (1, 32, 32)
    output_shape: tuple[int, ...]
    formula: str  # of the parameters, "(5·5·1 + 1)·6"; empty where there are none
    parameters: int
    macs: int  # multiply-accumulates of one forward pass, biases not counted
    receptive_field: int  # side of the square of input pixels that an output value depends on
    jump: int  # distance in input pixels between two neighbouring outputs


def layer_table(model: nn.Module, input_shape: tuple[int, ...] = (1, 32, 32)) -> list[Layer]:
    """The layers of a model that runs them one after the other, in that order, from one pass.

    Knows convolutions and poolings with square kernels, linear layers, batch normalisation, and
    modules without parameters that keep the shape or flatten it; raises ValueError for any other.
    Receptive fields follow Araujo, Norris and Sim, "Computing receptive fields of convolutional
    neural networks", Distill (2019).
    """
    numbers: dict[int, int] = {}
    layers: list[Layer] = []

    def record(name: str, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        before, after = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
        field, jump = (layers[-1].receptive_field, layers[-1].jump) if layers else (1, 1)
        bias = " + 1" if getattr(module, "bias", None) is not None else ""
        formula, macs = "", 0
        parameters = sum(parameter.numel() for parameter in module.parameters())
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel, stride = _square(module, "kernel_size"), _square(module, "stride")
            if _square(module, "dilation") != 1:
                raise ValueError(f"expected no dilation, got {name}: {module}")
            field, jump = field + (kernel - 1) * jump, jump * stride
            if isinstance(module, nn.Conv2d):
                maps = module.in_channels // module.groups  # that one output map is made from
                formula = f"({kernel}·{kernel}·{maps}{bias})·{module.out_channels}"
                macs = math.prod(after) * kernel * kernel * maps
        elif isinstance(module, nn.Linear) and len(before) == 1:
            formula = f"({module.in_features}{bias})·{module.out_features}"
            macs = module.in_features * module.out_features
            field = input_shape[-1]  # every value before, and through these the whole image
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            formula = f"2·{module.num_features}" if parameters else ""
        elif parameters or after not in (before, (math.prod(before),)):
            raise ValueError(f"no formula is known here for {name}: {module}")
        kind = type(module).__name__
        layers.append(Layer(name, kind, before, after, formula, parameters, macs, field, jump))

    handles = []
    for path, module in model.named_modules():
        depth = path.count(".") + 1 if path else 0
        numbers[depth] = numbers.get(depth, 0) + 1
        if depth and not list(module.children()):
            hook = functools.partial(record, f"{depth}-{numbers[depth]}")
            handles.append(module.register_forward_hook(hook))
    try:
        with evaluating(model):  # draws no random numbers (dropout), learns nothing (batch norm)
            weight = next(model.parameters(), torch.zeros(0))
            model(torch.zeros(1, *input_shape, dtype=weight.dtype, device=weight.device))
    finally:
        for handle in handles:
            handle.remove()
    return layers


def _square(module: nn.Module, name: str) -> int:
    """A kernel's size, stride or dilation, which must be the same in both directions."""
    value = getattr(module, name, 1)
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) > 1:
        raise ValueError(f"expected a square {name}, got {module}")
    return sides.pop()
