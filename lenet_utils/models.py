"""The network, and what each of its layers costs."""

import functools
import math
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

    Knows square convolutions and pooling (no dilation, no groups), linear layers, and modules that
    work value by value. Receptive fields follow Araujo, Norris and Sim, "Computing receptive
    fields of convolutional neural networks", Distill (2019).
    """
    numbers: dict[int, int] = {}
    layers: list[Layer] = []

    def record(name: str, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        before, after = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
        field, jump = (layers[-1].receptive_field, layers[-1].jump) if layers else (1, 1)
        kernel = _side(getattr(module, "kernel_size", 1))
        stride = _side(getattr(module, "stride", 1))
        bias = " + 1" if getattr(module, "bias", None) is not None else ""
        formula, macs = "", 0
        if isinstance(module, nn.Conv2d):
            formula = f"({kernel}·{kernel}·{module.in_channels}{bias})·{module.out_channels}"
            macs = math.prod(after) * kernel * kernel * module.in_channels
        elif isinstance(module, nn.Linear):
            formula = f"({module.in_features}{bias})·{module.out_features}"
            macs = module.in_features * module.out_features
            field = input_shape[-1]  # every value before, and through these the whole image
        parameters = sum(parameter.numel() for parameter in module.parameters())
        field, jump = field + (kernel - 1) * jump, jump * stride
        kind = type(module).__name__
        layers.append(Layer(name, kind, before, after, formula, parameters, macs, field, jump))

    handles, was_training = [], model.training
    for path, module in model.named_modules():
        depth = path.count(".") + 1 if path else 0
        numbers[depth] = numbers.get(depth, 0) + 1
        if depth and not list(module.children()):
            name = f"{depth}-{numbers[depth]}"
            hook = functools.partial(record, name)
            handles.append(module.register_forward_hook(hook))
    try:
        model.eval()  # without drawing random numbers (dropout), without learning (batch norm)
        with torch.no_grad():
            weight = next(model.parameters(), torch.zeros(0))
            model(torch.zeros(1, *input_shape, dtype=weight.dtype, device=weight.device))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return layers


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]
