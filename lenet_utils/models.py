"""The network, the original of 1998, and what each of their layers costs."""

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import MEAN, STD


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


# Which maps of S2 each map of C3 sees: LeCun et al. 1998, table I.
C3_TABLE = [
    [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5],
    [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5],
    [0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5],
    [0, 1, 2, 3, 4, 5],
]  # fmt: skip

# The ten digits in 7×12 pixels, drawn for this project: those of the paper are not published.
BITMAPS = """
..###.. ...#... .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.#...#. ..##... #.....# #.....# ...#.#. #...... .#..... ......# #.....# #.....#
#.....# .#.#... ......# ......# ..#..#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# ......# .#...#. #...... #...... .....#. #.....# #.....#
#.....# ...#... .....#. ......# #....#. ######. #...... ....#.. .#...#. #.....#
#.....# ...#... ....#.. ..####. #....#. ......# #.####. ....#.. ..###.. .######
#.....# ...#... ...#... ......# ####### ......# ##....# ...#... .#...#. ......#
#.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
#.....# ...#... .#..... ......# .....#. ......# #.....# ..#.... #.....# ......#
#.....# ...#... #...... ......# .....#. #.....# #.....# ..#.... #.....# ......#
.#...#. ...#... #...... #.....# .....#. #.....# .#...#. .#..... #.....# .....#.
..###.. .#####. ####### .#####. .....#. .#####. ..###.. .#..... .#####. .####..
"""


class LeNet1998(nn.Module):
    """LeNet-5 as it was published; its layers have the names of the paper.

    images as `data.to_input` makes them of digits in the middle of 32×32 pixels (`data.pad`),
    float32 (N, 1, 32, 32) → float32 (N, 10), the *negative* squared distance between F6 and the
    bitmap of each class: the largest is the answer, as with logits. `map_loss` is its loss.

    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998), section II.B and appendix A.
    """

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential()
        for name, module in {
            "scale": InkScale(),
            "C1": nn.Conv2d(1, 6, kernel_size=5),
            "squash_C1": ScaledTanh(),
            "S2": Subsampling(6),
            "squash_S2": ScaledTanh(),
            "C3": TableConv2d(C3_TABLE, kernel_size=5),
            "squash_C3": ScaledTanh(),
            "S4": Subsampling(16),
            "squash_S4": ScaledTanh(),
            "C5": nn.Conv2d(16, 120, kernel_size=5),
            "squash_C5": ScaledTanh(),
            "flatten": nn.Flatten(),
            "F6": nn.Linear(120, 84),
            "squash_F6": ScaledTanh(),
            "output": BitmapDistance(),
        }.items():
            self.network.add_module(name, module)
        self.network.apply(draw_by_fan_in)

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.network.C1.weight)
        return self.network(images)


class InkScale(nn.Module):
    """From what `data.to_input` makes to 1998's scale: -0.1 is paper, 1.175 is ink."""

    def forward(self, images: Tensor) -> Tensor:
        return 1.275 * (images * STD + MEAN) - 0.1


class ScaledTanh(nn.Module):
    """1998's squashing function, 1.7159 tanh(2a/3), which takes 1 to 1 and -1 to -1."""

    def forward(self, sums: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * sums)


class Subsampling(nn.Module):
    """The sum of each 2×2 square, times a coefficient, plus a bias: two parameters per map.

    float32 (N, maps, H, W) → (N, maps, H/2, W/2).
    """

    kernel_size = stride = 2

    def __init__(self, maps: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(maps))  # the coefficients
        self.bias = nn.Parameter(torch.empty(maps))

    def forward(self, maps: Tensor) -> Tensor:
        sums = F.avg_pool2d(maps, 2, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class TableConv2d(nn.Module):
    """A convolution in which each output map sees the input maps that a table names.

    table  for each output map, the input maps it sees
    float32 (N, maps, H, W) → (N, len(table), H - kernel_size + 1, W - kernel_size + 1)

    There is a kernel for each connected pair of maps. For the pass they are put among zeros into a
    dense convolution, which has more to multiply and is faster than one convolution per map.
    """

    stride = 1

    def __init__(self, table: list[list[int]], kernel_size: int):
        super().__init__()
        self.kernel_size = kernel_size
        self.shape = (len(table), max(max(seen) for seen in table) + 1, kernel_size, kernel_size)
        pairs = [(above, below) for above, seen in enumerate(table) for below in seen]
        self.register_buffer("pairs", torch.tensor(pairs))
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(len(table)))

    def forward(self, maps: Tensor) -> Tensor:
        zeros = self.weight.new_zeros(self.shape)
        dense = zeros.index_put(tuple(self.pairs.T), self.weight)
        return F.conv2d(maps, dense, self.bias)


class BitmapDistance(nn.Module):
    """Ten radial basis functions: -|features - bitmap|², float32 (N, 84) → (N, 10).

    The bitmaps, (10, 84), are 1 at ink and -1 at paper. They are fixed.
    """

    def __init__(self):
        super().__init__()
        rows = [line.split() for line in BITMAPS.split("\n") if line]
        ink = [[cell == "#" for row in rows for cell in row[digit]] for digit in range(10)]
        self.register_buffer("bitmaps", torch.tensor(ink) * 2.0 - 1.0)

    def forward(self, features: Tensor) -> Tensor:
        return -(features[:, None] - self.bitmaps).square().sum(2)


def draw_by_fan_in(module: nn.Module, *, scale: float = 2.4, power: float = 1.0) -> None:
    """Draw a layer's parameters evenly from ±scale / fan-in**power; leave alone what has none.

    The fan-in is the number of values that one output of the layer is computed from. 2.4 / fan-in
    is the start of 1998 (appendix A), 1 / √fan-in that of PyTorch's own layers.
    """
    if isinstance(module, Subsampling):
        fan_in = torch.full_like(module.bias, 4)
    elif isinstance(module, TableConv2d):
        fan_in = module.pairs[:, 0].bincount() * module.kernel_size**2
    elif isinstance(module, nn.Conv2d | nn.Linear):
        fan_in = torch.full_like(module.bias, module.weight[0].numel())
    else:
        return
    with torch.no_grad():
        bounds = scale / fan_in**power
        of_weight = bounds[module.pairs[:, 0]] if isinstance(module, TableConv2d) else bounds
        shape = (-1,) + (1,) * (module.weight.dim() - 1)
        module.weight.uniform_(-1, 1).mul_(of_weight.view(shape))
        module.bias.uniform_(-1, 1).mul_(bounds)


def distance_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean distance of the right class: equation 8 of 1998. outputs (N, 10), labels (N,)."""
    return -outputs.gather(1, labels[:, None]).mean()


def map_loss(outputs: Tensor, labels: Tensor, rubbish: float = 1.0) -> Tensor:
    """The same with a penalty for classes that are near, too: equation 9 of 1998.

    rubbish  the distance of a class for what is no digit, to which no image belongs: how near
             another class must come to be pushed away

    It is cross-entropy, of outputs (N, 10) and the eleventh class's. The paper does not say how
    large `rubbish` was.
    """
    eleventh = torch.full_like(outputs[:, :1], -rubbish)
    return F.cross_entropy(torch.cat([outputs, eleventh], dim=1), labels)


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


WINDOWS = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | TableConv2d | Subsampling


def layer_table(model: nn.Module, input_shape: tuple[int, ...] = (1, 32, 32)) -> list[Layer]:
    """The layers of a model that runs them one after the other, in that order, from one pass.

    Knows convolutions and poolings with square kernels, linear layers, batch normalisation, the
    layers of `LeNet1998`, and modules without parameters that keep the shape or flatten it; raises
    ValueError for any other.
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
        if isinstance(module, WINDOWS):
            kernel, stride = _square(module, "kernel_size"), _square(module, "stride")
            if _square(module, "dilation") != 1:
                raise ValueError(f"expected no dilation, got {name}: {module}")
            field, jump = field + (kernel - 1) * jump, jump * stride
            if isinstance(module, nn.Conv2d):
                maps = module.in_channels // module.groups  # that one output map is made from
                formula = f"({kernel}·{kernel}·{maps}{bias})·{module.out_channels}"
                macs = math.prod(after) * kernel * kernel * maps
            elif isinstance(module, TableConv2d):
                formula = f"{kernel}·{kernel}·{len(module.pairs)} + {after[0]}"
                macs = math.prod(after[1:]) * module.weight.numel()
            elif isinstance(module, Subsampling):
                formula, macs = f"(1{bias})·{after[0]}", math.prod(after)
        elif isinstance(module, nn.Linear) and len(before) == 1:
            formula = f"({module.in_features}{bias})·{module.out_features}"
            macs = module.in_features * module.out_features
            field = input_shape[-1]  # every value before, and through these the whole image
        elif isinstance(module, BitmapDistance):
            macs, field = module.bitmaps.numel(), input_shape[-1]
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
