"""The drawings that more than one chapter uses.

Each draws on the Axes it is given, so that a chapter can place several side by side; `digits` makes
a figure of its own. `show` puts a figure into the notebook. Importing this module sets matplotlib
to its defaults, whatever the reader's settings are, with colours that colour-blind readers can tell
apart (Okabe and Ito, "Color universal design", 2008).
"""

import base64
import html
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from .data import as_images
from .models import Layer, layer_table

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#707070"
plt.style.use("default")
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=[BLUE, ORANGE, GREEN, PURPLE, GREY])


def show(figure: Figure, caption: str) -> None:
    """Put a figure as PNG into the notebook, with its caption below for everyone, and close it.

    The caption says what is drawn to those who cannot see it. It stands as text below, since
    neither JupyterLab nor nbconvert's usual page passes on a picture's alternative text.
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    picture = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": repr(figure)}
    display(picture, raw=True, metadata={"image/png": {"alt": caption}})
    display(HTML(f"<small>{html.escape(caption, quote=False)}</small>"))
    plt.close(figure)


def digits(
    images: Tensor | np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int = 10,
    cell: float = 0.8,
) -> Figure:
    """A grid of N images, as `data.as_images` takes them, ink dark on paper, row by row.

    titles   one line or more above each image, N in all
    columns  images in a row
    cell     width of an image in inches
    """
    images = as_images(images)
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"expected {len(images)} titles, one per image; got {len(titles)}")
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") + 1 for title in titles) if titles else 0
    size = (columns * cell, rows * (cell + 0.17 * lines))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for number, image in enumerate(images):
        axes.flat[number].imshow(image[0].numpy(), cmap="gray_r", vmin=0, vmax=255)
        if titles:
            axes.flat[number].set_title(titles[number], fontsize=9)
    return figure


def curves(
    axes: Axes, lines: dict[str, Sequence[float]], *, x: str, y: str, smooth: int = 1
) -> None:
    """Lines over 1, 2, 3, …, with a legend if there are several; values that are NaN are left out.

    x, y    what the axes show, with the unit
    smooth  draw the mean of the last so many values in place of each
    """
    for name, values in lines.items():
        values = np.asarray(values, dtype=float)
        last = np.arange(1, len(values) + 1)
        windows = [values[max(end - smooth, 0) : end] for end in last]
        means = [
            np.mean(window[~np.isnan(window)]) if window[-1] == window[-1] else np.nan
            for window in windows
        ]
        axes.plot(last, means, label=name, marker="o" if len(values) < 25 else None)
    axes.set(xlabel=x, ylabel=y)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(frameon=False)


def bars(
    axes: Axes, groups: dict[str, Sequence[float]], names: Sequence[str], *, x: str, y: str
) -> None:
    """A bar for each name, side by side for several groups, with its height written on top.

    x, y  what the axes show, with the unit
    """
    width = 0.8 / len(groups)
    for number, (group, heights) in enumerate(groups.items()):
        places = np.arange(len(names)) + (number - (len(groups) - 1) / 2) * width
        drawn = axes.bar(places, heights, width, label=group)
        axes.bar_label(drawn, fmt="{:,.6g}", fontsize=8, padding=2)
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    if len(groups) > 1:
        axes.legend(frameon=False)


def numbers(axes: Axes, matrix: Tensor, form: str = "{:.0f}", cmap: str = "gray_r") -> None:
    """A matrix (rows, columns) as coloured cells with a number in each.

    form  how a number is written, as of str.format
    cmap  matplotlib's name of the colours; with negative numbers, zero is in their middle
    """
    low, high = matrix.min().item(), matrix.max().item()
    if low < 0:
        low, high = -max(-low, high), max(-low, high)
    image = axes.imshow(matrix.numpy(), cmap=cmap, vmin=low, vmax=high)
    for row, column in np.ndindex(*matrix.shape):
        value = matrix[row, column].item() + 0.0  # -0.0 becomes 0.0
        red, green, blue, _ = image.cmap(image.norm(value))
        brightness = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
        color = "white" if brightness < 0.5 else "black"
        text = form.format(value)
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    axes.set(xticks=[], yticks=[])


def network(
    axes: Axes,
    model: nn.Module,
    input_shape: tuple[int, ...] = (1, 32, 32),
    *,
    costs: bool = True,
) -> None:
    """A network as the stacks of what it computes, drawn from a pass through it, all to one scale.

    A feature map is a square with the side it has, and a stack has a square for each map; values
    without extent (1×1 maps, vectors) stand as a column as long as they are many. Above each stack
    is its size, maps@height×width as in LeCun et al. 1998; below it the modules that make it, and
    with costs=True their parameters.
    """
    stages: list[tuple[tuple[int, ...], list[Layer]]] = [(input_shape, [])]
    for layer in layer_table(model, input_shape):
        shape = layer.output_shape[:1] if layer.output_shape[1:] == (1, 1) else layer.output_shape
        if shape != stages[-1][0]:
            stages.append((shape, []))
        stages[-1][1].append(layer)
    shift, cell, gap = 0.9, 0.45, 19.0  # in pixels of the input
    left, floor, labels = 0.0, 0.0, []
    for shape, layers in stages:
        maps = shape[0] if len(shape) == 3 else 1
        height, width = shape[1:] if len(shape) == 3 else (shape[0] * cell, 2.0)
        extent = (maps - 1) * shift
        color = GREY if not labels else BLUE if layers[0].parameters else ORANGE
        pale = [0.85 + 0.15 * part for part in to_rgb(color)]
        for number in range(maps):
            corner = (left + number * shift, (extent - height) / 2 - number * shift)
            square = Rectangle(corner, width, height, facecolor=pale, edgecolor=color, lw=0.8)
            axes.add_patch(square)
        top, centre = (height + extent) / 2, left + (width + extent) / 2
        size = f"{shape[0]}@{height}×{width}" if len(shape) == 3 else str(shape[0])
        axes.text(centre, top + 2, size, ha="center", va="bottom", fontsize=9)
        floor = min(floor, -top - 4)
        left += width + extent + (gap if len(shape) == 3 else 1.3 * gap)
        labels.append((centre, color, layers))
    for centre, color, layers in labels:
        lines = [f"{layer.kind} {layer.name}" for layer in layers]
        if centre == labels[0][0]:
            lines.insert(0, "input")
        cost = sum(layer.parameters for layer in layers)
        if costs and cost:
            lines.append(f"{cost:,}")
        axes.text(centre, floor, "\n".join(lines), ha="center", va="top", fontsize=8, color=color)
    axes.set(xlim=(-3, left - gap + 9), ylim=(floor - 20, 9 - floor), aspect="equal")
    axes.axis("off")
