"""Drawings are judged by the data of their Axes: nbval does not look at pixels.

The data are not symmetric, so that a transposed or mirrored drawing fails.
"""

import base64
import importlib
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from PIL import Image
from torch import nn

from lenet_utils import plots
from lenet_utils.models import LeNet


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def axes():
    return plt.subplots()[1]


# Digits


@pytest.fixture
def images():
    """Five images of 3×5 pixels, all different."""
    return torch.arange(5 * 15, dtype=torch.uint8).reshape(5, 1, 3, 5)


def test_digits_stand_row_by_row(images):
    figure = plots.digits(images, ["a", "b", "c", "d", "e"], columns=2)
    places = [axis.get_subplotspec() for axis in figure.axes]
    assert [place.rowspan.start for place in places] == [0, 0, 1, 1, 2, 2]
    assert [place.colspan.start for place in places] == [0, 1, 0, 1, 0, 1]
    for axis, image, title in zip(figure.axes[:5], images, "abcde", strict=True):
        assert np.array_equal(axis.images[0].get_array(), image[0].numpy())
        assert axis.get_title() == title
        assert axis.yaxis_inverted() and not axis.xaxis_inverted()
    assert not figure.axes[5].images
    assert not any(axis.axison for axis in figure.axes)


def test_digits_of_every_kind_are_dark_ink_on_paper_on_one_scale(images):
    for same in (images, images.float() / 255, images[:, 0].numpy(), images.numpy() / 255):
        drawn = [axis.images[0] for axis in plots.digits(same, columns=5).axes]
        assert np.array_equal([image.get_array() for image in drawn], images[:, 0])
        for image in drawn:
            assert image.get_clim() == (0, 255)
            assert [to_hex(image.cmap(ink)) for ink in (0, 255)] == ["#ffffff", "#000000"]


@pytest.mark.parametrize("count", [0, 4, 6])
def test_wrong_number_of_titles(images, count):
    with pytest.raises(ValueError, match=f"expected 5 titles, one per image; got {count}"):
        plots.digits(images, ["title"] * count)


def test_more_lines_of_title_make_a_higher_figure(images):
    sizes = [plots.digits(images, titles).get_size_inches() for titles in (None, "12345")]
    sizes.append(plots.digits(images, ["a", "b", "c", "d\nd", "e"]).get_size_inches())
    assert sizes[0][0] == sizes[1][0] == sizes[2][0]
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]


# Curves


@pytest.mark.parametrize(
    "values, smooth, drawn",
    [
        ([4.0, 1.0, 2.0], 1, [4.0, 1.0, 2.0]),
        ([4.0, 1.0, 4.0, 10.0], 3, [4.0, 2.5, 3.0, 5.0]),
        ([4.0, 2.0], 25, [4.0, 3.0]),
        ([4.0, np.nan, 2.0, 1.0], 1, [4.0, np.nan, 2.0, 1.0]),
        ([4.0, np.nan, 2.0, 1.0], 2, [4.0, np.nan, 2.0, 1.5]),
        ([np.nan, 3.0, 1.0], 3, [np.nan, 3.0, 2.0]),
    ],
)
def test_curves_are_means_of_the_last_values_that_are_numbers(axes, values, smooth, drawn):
    plots.curves(axes, {"loss": values}, x="step", y="loss", smooth=smooth)
    assert axes.lines[0].get_xdata().tolist() == list(range(1, len(values) + 1))
    assert axes.lines[0].get_ydata() == pytest.approx(drawn, nan_ok=True)
    assert axes.get_legend() is None


def test_curves_are_labelled(axes):
    plots.curves(axes, {"training": [3, 2], "validation": [4, 5, 6]}, x="epoch", y="loss in nats")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss in nats")
    assert [text.get_text() for text in axes.get_legend().texts] == ["training", "validation"]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3, 2], [4, 5, 6]]
    assert [line.get_color() for line in axes.lines] == [plots.BLUE, plots.ORANGE]


# Bars


def test_bars_of_one_group(axes):
    plots.bars(axes, {"images": [3, 1500, 2]}, ["a", "b", "c"], x="class", y="count")
    assert [bar.get_height() for bar in axes.patches] == [3, 1500, 2]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    assert centres == pytest.approx([0, 1, 2])
    assert axes.get_xticks().tolist() == [0, 1, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axes.texts] == ["3", "1,500", "2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("class", "count")
    assert axes.get_legend() is None


def test_groups_of_bars_stand_side_by_side(axes):
    groups = {"before": [1, 2], "after": [3, 4], "later": [5, 6]}
    plots.bars(axes, groups, ["a", "b"], x="class", y="count")
    for place in (0, 1):
        bars = [container[place] for container in axes.containers]
        assert [bar.get_height() for bar in bars] == [values[place] for values in groups.values()]
        lefts = [bar.get_x() for bar in bars]
        rights = [bar.get_x() + bar.get_width() for bar in bars]
        assert lefts[1:] == pytest.approx(rights[:-1])
        assert (lefts[0] + rights[-1]) / 2 == pytest.approx(place)
        assert rights[-1] - lefts[0] == pytest.approx(0.8)
    assert [text.get_text() for text in axes.get_legend().texts] == list(groups)
    assert len({bars[0].get_facecolor() for bars in axes.containers}) == 3


# Numbers


def test_numbers_stand_in_their_cells(axes):
    matrix = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 60.0]])
    plots.numbers(axes, matrix)
    assert np.array_equal(axes.images[0].get_array(), matrix.numpy())
    assert axes.yaxis_inverted() and not axes.xaxis_inverted()
    for text in axes.texts:
        column, row = text.get_position()
        assert text.get_text() == f"{matrix[row, column]:.0f}"
    assert len({text.get_position() for text in axes.texts}) == 6


def test_numbers_can_be_read_on_their_colours(axes):
    plots.numbers(axes, torch.tensor([[0, 255]], dtype=torch.uint8))
    assert [text.get_color() for text in axes.texts] == ["black", "white"]
    assert axes.images[0].get_clim() == (0, 255)


def test_numbers_are_white_on_dark_colours(axes):
    plots.numbers(axes, torch.arange(7)[None], cmap="hsv")
    # About red, yellow, green, cyan, blue, magenta, and red again.
    expected = ["white", "black", "black", "black", "white", "white", "white"]
    assert [text.get_color() for text in axes.texts] == expected


@pytest.mark.parametrize("row", [[0.25, -0.0, -0.5], [0.5, -0.0, -0.25]])
def test_negative_numbers(axes, row):
    plots.numbers(axes, torch.tensor([row]), form="{:+.2f}", cmap="RdBu")
    assert [text.get_text() for text in axes.texts] == [f"{value + 0.0:+.2f}" for value in row]
    assert axes.images[0].get_clim() == (-0.5, 0.5)
    assert axes.images[0].cmap.name == "RdBu"


# The network


def texts(axes, above):
    """Those above, or below, the stacks from left to right."""
    found = sorted((*text.get_position(), text.get_text()) for text in axes.texts)
    return [text for _, y, text in found if (y > 0) == above]


def stacks(axes):
    """From left to right, each its squares' (width, height)."""
    found, last = [], -10.0
    for square in axes.patches:
        if square.get_x() > last + 5:  # the step within a stack is below 1
            found.append([])
        found[-1].append((square.get_width(), square.get_height()))
        last = square.get_x()
    return found


def test_every_map_of_the_network_is_a_square_to_scale_and_to_be_seen(axes):
    plots.network(axes, LeNet())
    maps = [[(32, 32)], [(28, 28)] * 6, [(14, 14)] * 6, [(10, 10)] * 16, [(5, 5)] * 16]
    assert stacks(axes)[:5] == maps
    ((_, first),), ((_, second),), ((_, third),) = stacks(axes)[5:]
    assert [first / third, second / third] == pytest.approx([120 / 10, 84 / 10])
    assert axes.get_aspect() == 1
    assert len({square.get_xy() for square in axes.patches}) == len(axes.patches)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for square in axes.patches:
        assert left < square.get_x() < square.get_x() + square.get_width() < right
        assert bottom < square.get_y() < square.get_y() + square.get_height() < top


def test_stacks_stand_apart_under_and_over_their_labels(axes):
    plots.network(axes, LeNet())
    boxes, count = [], 0
    for stack in stacks(axes):
        squares = axes.patches[count : count + len(stack)]
        count += len(stack)
        boxes.append((squares[0].get_x(), squares[-1].get_x() + squares[-1].get_width()))
        tops = [square.get_y() + square.get_height() for square in squares]
        sizes = [t for t in axes.texts if t.get_position()[0] == pytest.approx(sum(boxes[-1]) / 2)]
        assert sorted(t.get_position()[1] > 0 for t in sizes) == [False, True]
        (above,) = [t.get_position()[1] for t in sizes if t.get_position()[1] > 0]
        assert above == pytest.approx(max(tops) + 2)
    spaces = [right[0] - left[1] for left, right in zip(boxes, boxes[1:], strict=False)]
    assert spaces == pytest.approx([19.0] * 5 + [1.3 * 19] * 2)
    assert axes.get_xlim() == pytest.approx((-3, boxes[-1][1] + 0.3 * 19 + 9))
    floor = min(square.get_y() for square in axes.patches) - 4
    below = [t.get_position()[1] for t in axes.texts if t.get_position()[1] < 0]
    assert below == pytest.approx([floor] * 8)
    assert axes.get_ylim() == pytest.approx((floor - 20, 9 - floor))


def test_the_colour_of_a_stack_tells_whether_its_modules_learn(axes):
    plots.network(axes, LeNet())
    learn, others = plots.BLUE, plots.ORANGE
    expected = [plots.GREY, learn, others, learn, others, learn, learn, learn]
    labels = sorted((*text.get_position(), text.get_color()) for text in axes.texts)
    assert [color for _, y, color in labels if y < 0] == expected
    colors = [c for stack, c in zip(stacks(axes), expected, strict=True) for _ in stack]
    for square, color in zip(axes.patches, colors, strict=True):
        assert to_hex(square.get_edgecolor()) == color.lower()
        assert 0.85 <= min(square.get_facecolor()) < 1  # pale, and not white


def test_the_network_is_labelled(axes):
    plots.network(axes, LeNet())
    sizes = ["1@32×32", "6@28×28", "6@14×14", "16@10×10", "16@5×5", "120", "84", "10"]
    assert texts(axes, above=True) == sizes
    assert texts(axes, above=False) == [
        "input",
        "Conv2d 2-1\nReLU 2-2\n156",
        "MaxPool2d 2-3",
        "Conv2d 2-4\nReLU 2-5\n2,416",
        "MaxPool2d 2-6",
        "Conv2d 2-7\nReLU 2-8\nFlatten 2-9\n48,120",
        "Linear 2-10\nReLU 2-11\n10,164",
        "Linear 2-12\n850",
    ]


def test_another_network_without_its_costs(axes):
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3))
    plots.network(axes, model, (1, 12, 7), costs=False)
    assert stacks(axes) == [[(7, 12)], [(5, 10)] * 2]
    assert texts(axes, above=True) == ["1@12×7", "2@10×5"]
    assert texts(axes, above=False) == ["input\nBatchNorm2d 1-1", "Conv2d 1-2"]
    drawn = [to_rgb(square.get_edgecolor()) for square in axes.patches]
    assert drawn == [to_rgb(plots.GREY), to_rgb(plots.BLUE), to_rgb(plots.BLUE)]


# Showing


def test_importing_undoes_the_readers_settings():
    with plt.rc_context({"image.interpolation": "bicubic", "savefig.dpi": 300}):
        importlib.reload(plots)
        for name in ("image.interpolation", "savefig.dpi"):
            assert plt.rcParams[name] == plt.rcParamsDefault[name]
        colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        assert colors == [plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, plots.GREY]


def test_show_puts_a_picture_and_its_caption_and_closes_the_figure(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda thing, **options: shown.append((thing, options)))
    figure = plt.figure(figsize=(3, 2), dpi=50)
    figure.add_axes([0, 0, 1, 1]).set(xticks=[], yticks=[])
    text = repr(figure)
    plots.show(figure, 'Loss < 1 & "falling"')
    (picture, options), (caption, nothing) = shown
    assert options == {"raw": True, "metadata": {"image/png": {"alt": 'Loss < 1 & "falling"'}}}
    assert set(picture) == {"image/png", "text/plain"}
    assert picture["text/plain"] == text
    png = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    assert png.format == "PNG"
    assert png.size == pytest.approx((150, 100), abs=15)  # with a margin of 0.1 inches around
    assert isinstance(caption, plots.HTML) and nothing == {}
    assert caption.data == '<small>Loss &lt; 1 &amp; "falling"</small>'
    assert not plt.fignum_exists(figure.number)
