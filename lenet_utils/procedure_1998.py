"""How LeNet-5 was taught in 1998: image by image, each weight with a step of its own.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86 (1998), section III.B and appendix C.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call
from tqdm.auto import tqdm

from .data import Digits, to_input
from .models import BitmapDistance, LeNet1998, ScaledTanh, draw_by_fan_in, map_loss
from .training import Recipe

STEPS = [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8  # of the 20 passes
# Keeps a weight's step finite where the loss is flat. The paper has 0.02, in units of a loss whose
# scale it does not give; with a sum of 84 squares, as here, the first passes then overshoot, and
# units end up where they are squashed flat. `python tools/teach_1998.py` compares.
DAMPING = 0.4
# Parameters start from ±1 / √fan-in, as PyTorch's do. The paper prints ±2.4 / fan-in, from where at
# first next to nothing comes through the layers; the same command compares.
START = {"scale": 1.0, "power": 0.5}
SAMPLE = 500  # images from which the curvature is estimated before each pass
# The procedure as a recipe, to be stored with what was taught by it: `teach` is what runs it.
RECIPE = Recipe(epochs=len(STEPS), learning_rate=STEPS[0], schedule="1998", batch_size=1)
Loss = Callable[[Tensor, Tensor], Tensor]


def start(seed: int = 0, **drawn: float) -> LeNet1998:
    """A network to be taught; `drawn` is what `draw_by_fan_in` gets, START if left out."""
    torch.manual_seed(seed)
    model = LeNet1998()
    model.network.apply(partial(draw_by_fan_in, **(drawn or START)))
    return model


def teach(
    model: LeNet1998,
    train: Digits,
    *,
    first: int = 1,
    seed: int = 0,
    loss: Loss = map_loss,
    damping: float = DAMPING,
    progress: bool = True,
) -> Iterator[float]:
    """Train the model in place, on the CPU, and after each pass yield the mean loss within it.

    first  the pass to begin with, 1 to 20: of a model that has been through those before it
    seed   decides the order of the images, and those of the sample, together with the pass
    """
    inputs, labels = to_input(train.images), train.labels
    parameters = list(model.parameters())
    for number in range(first, len(STEPS) + 1):
        chance = torch.Generator().manual_seed(1000 * seed + number)
        sample = torch.randperm(len(labels), generator=chance)[:SAMPLE]
        seconds = curvature(model, inputs[sample], labels[sample], loss)
        rates = [STEPS[number - 1] / (damping + second) for second in seconds]
        order, total = torch.randperm(len(labels), generator=chance).tolist(), 0.0
        for index in tqdm(order, f"pass {number}", unit="image", disable=not progress):
            value = loss(model(inputs[index : index + 1]), labels[index : index + 1])
            slopes = torch.autograd.grad(value, parameters)
            with torch.no_grad():
                for parameter, slope, rate in zip(parameters, slopes, rates, strict=True):
                    parameter.addcmul_(slope, rate, value=-1)
            total += value.item()
        yield total / len(order)


def curvature(model: LeNet1998, inputs: Tensor, labels: Tensor, loss: Loss) -> list[Tensor]:
    """An estimate of the loss's second derivative by each parameter; none is negative.

    inputs float32 (N, 1, 32, 32), labels (N,) → tensors of the parameters' shapes, in their order,
    averaged over the images.

    The diagonal Gauss-Newton approximation: second derivatives pass back through the layers as
    first ones do, but through the *squares* of weights and slopes; those of the squashing functions
    themselves are left out. What a shared weight gets is added up over its connections.
    """
    layers, values = list(model.network), [inputs]
    with torch.no_grad():
        for layer in layers:
            values.append(layer(values[-1]))
    found: list[Tensor] = []
    back = torch.empty(0)  # second derivatives by what the layer at hand computed
    for layer, value in zip(reversed(layers), reversed(values[:-1]), strict=True):
        point = value.clone().requires_grad_()
        if isinstance(layer, BitmapDistance):
            of_features = torch.autograd.grad(
                loss(layer(point), labels) * len(labels), point, create_graph=True
            )[0]
            back = torch.stack(
                [
                    torch.autograd.grad(column.sum(), point, retain_graph=True)[0][:, number]
                    for number, column in enumerate(of_features.T)
                ],
                dim=1,
            )
        elif isinstance(layer, ScaledTanh):
            (slope,) = torch.autograd.grad(layer(point).sum(), point)
            back = back * slope**2
        else:
            squares = {n: p.detach().square().requires_grad_() for n, p in layer.named_parameters()}
            square = value.square().requires_grad_()
            outputs = functional_call(layer, squares, square)
            back, *of_layer = torch.autograd.grad(outputs, [square, *squares.values()], back)
            found = of_layer + found
    return [second / len(inputs) for second in found]
