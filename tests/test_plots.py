"""Drawings are judged by the data of their Axes: nbval does not look at pixels.

The data are not symmetric, so that a transposed or mirrored drawing fails.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
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


def shown_upright(axis):
    """Whether row 0 is on top and column 0 on the left."""
    left, right = axis.get_xlim()
    bottom, top = axis.get_ylim()
    return left < right and top < bottom


# Digits


@pytest.fixture
def images():
    """Five images of 3×4 pixels, all different."""
    return torch.arange(5 * 12, dtype=torch.uint8).reshape(5, 1, 3, 4)


def test_digits_stand_row_by_row(images):
    figure = plots.digits(images, ["a", "b", "c", "d", "e"], columns=2)
    rows = [axis.get_subplotspec().rowspan.start for axis in figure.axes]
    columns = [axis.get_subplotspec().colspan.start for axis in figure.axes]
    assert rows == [0, 0, 1, 1, 2, 2]
    assert columns == [0, 1, 0, 1, 0, 1]
    for axis, image, title in zip(figure.axes[:5], images, "abcde", strict=True):
        assert np.array_equal(axis.images[0].get_array(), image[0].numpy())
        assert axis.get_title() == title
        assert shown_upright(axis)


def test_digits_are_dark_ink_on_paper_on_one_scale(images):
    for axis in plots.digits(images).axes[:5]:
        assert axis.images[0].get_clim() == (0, 255)
        assert to_hex(axis.images[0].cmap(0)) == "#ffffff"
        assert to_hex(axis.images[0].cmap(255)) == "#000000"


def test_places_left_over_are_empty(images):
    figure = plots.digits(images, columns=3)
    assert len(figure.axes) == 6
    assert not figure.axes[5].images
    assert not any(axis.axison for axis in figure.axes)


def test_digits_without_titles(images):
    assert [axis.get_title() for axis in plots.digits(images, columns=5).axes] == [""] * 5


@pytest.mark.parametrize("count", [0, 4, 6])
def test_wrong_number_of_titles(images, count):
    with pytest.raises(ValueError, match=f"expected 5 titles, one an image; got {count}"):
        plots.digits(images, ["title"] * count)


def test_more_lines_of_title_make_a_higher_figure(images):
    one = plots.digits(images, ["a"] * 5).get_size_inches()
    two = plots.digits(images, ["a\nb"] * 5).get_size_inches()
    assert one[0] == two[0]
    assert one[1] < two[1]


# Curves


def test_curves_start_at_1(axes):
    plots.curves(axes, {"loss": [4.0, 1.0, 2.0]}, x="epoch", y="loss")
    line = axes.lines[0]
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [4.0, 1.0, 2.0]


def test_curves_are_the_mean_of_the_last_values(axes):
    plots.curves(axes, {"loss": [4.0, 1.0, 4.0, 10.0]}, x="step", y="loss", smooth=3)
    assert axes.lines[0].get_ydata() == pytest.approx([4.0, 2.5, 3.0, 5.0])


def test_smoothing_over_more_values_than_there_are(axes):
    plots.curves(axes, {"loss": [4.0, 2.0]}, x="step", y="loss", smooth=25)
    assert axes.lines[0].get_ydata() == pytest.approx([4.0, 3.0])


def test_curves_are_labelled(axes):
    plots.curves(axes, {"training": [3, 2], "validation": [4, 5, 6]}, x="epoch", y="loss in nats")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss in nats")
    assert [text.get_text() for text in axes.get_legend().texts] == ["training", "validation"]
    assert axes.lines[1].get_ydata().tolist() == [4, 5, 6]
    assert axes.lines[0].get_color() != axes.lines[1].get_color()


def test_one_curve_needs_no_legend(axes):
    plots.curves(axes, {"loss": [3, 2]}, x="epoch", y="loss")
    assert axes.get_legend() is None


# Bars


def test_bars_of_one_group(axes):
    plots.bars(axes, {"images": [3, 1500, 2]}, ["a", "b", "c"], x="class", y="count")
    assert [bar.get_height() for bar in axes.patches] == [3, 1500, 2]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    assert centres == pytest.approx([0, 1, 2])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.get_xticks().tolist() == [0, 1, 2]
    assert [text.get_text() for text in axes.texts] == ["3", "1,500", "2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("class", "count")
    assert axes.get_legend() is None


def test_groups_of_bars_stand_side_by_side(axes):
    groups = {"before": [1, 2], "after": [3, 4], "later": [5, 6]}
    plots.bars(axes, groups, ["a", "b"], x="class", y="count")
    before, after, later = axes.containers
    assert [bar.get_height() for bar in after] == [3, 4]
    for place in (0, 1):
        bars = [before[place], after[place], later[place]]
        edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
        assert edges[0][1] == pytest.approx(edges[1][0])
        assert edges[1][1] == pytest.approx(edges[2][0])
        assert (edges[0][0] + edges[2][1]) / 2 == pytest.approx(place)
    assert later[0].get_x() + later[0].get_width() < before[1].get_x()
    assert [text.get_text() for text in axes.get_legend().texts] == ["before", "after", "later"]
    assert len({bars[0].get_facecolor() for bars in axes.containers}) == 3


# Numbers


def test_numbers_stand_in_their_cells(axes):
    matrix = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 60.0]])
    plots.numbers(axes, matrix)
    assert np.array_equal(axes.images[0].get_array(), matrix.numpy())
    assert shown_upright(axes)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {
        (0, 0): "1",
        (1, 0): "2",
        (2, 0): "3",
        (0, 1): "4",
        (1, 1): "5",
        (2, 1): "60",
    }


def test_numbers_can_be_read_on_their_colours(axes):
    plots.numbers(axes, torch.tensor([[0, 255]], dtype=torch.uint8))
    paper, ink = axes.texts
    assert (paper.get_color(), ink.get_color()) == ("black", "white")
    assert axes.images[0].get_clim() == (0, 255)


def test_numbers_in_another_form(axes):
    plots.numbers(axes, torch.tensor([[0.25], [-0.5]]), form="{:+.2f}")
    assert [text.get_text() for text in axes.texts] == ["+0.25", "-0.50"]


def test_zero_is_in_the_middle_of_the_colours(axes):
    plots.numbers(axes, torch.tensor([[-1.0, 3.0]]))
    assert axes.images[0].get_clim() == (-3, 3)


# The network


def drawing(model, input_shape=(1, 32, 32), **options):
    """The stacks from left to right, each a list of its squares' (width, height), and all texts."""
    axes = plt.subplots()[1]
    plots.network(axes, model, input_shape, **options)
    texts = sorted((*text.get_position(), text.get_text()) for text in axes.texts)
    stacks, last = [], None
    for square in axes.patches:
        if last is None or square.get_x() > last + 5:  # the step within a stack is below 1
            stacks.append([])
        stacks[-1].append((square.get_width(), square.get_height()))
        last = square.get_x()
    return stacks, texts


def above(texts):
    return [text for _, y, text in texts if y > 0]


def below(texts):
    return [text.split("\n") for _, y, text in texts if y < 0]


def test_every_map_of_the_network_is_a_square_to_scale():
    stacks, _ = drawing(LeNet())
    maps = [[(32, 32)], [(28, 28)] * 6, [(14, 14)] * 6, [(10, 10)] * 16, [(5, 5)] * 16]
    assert stacks[:5] == maps
    assert [len(stack) for stack in stacks[5:]] == [1, 1, 1]
    heights = [stack[0][1] for stack in stacks[5:]]
    assert heights[0] / heights[1] == pytest.approx(120 / 84)
    assert heights[1] / heights[2] == pytest.approx(84 / 10)


def test_the_squares_of_a_stack_are_all_to_be_seen():
    axes = plt.subplots()[1]
    plots.network(axes, LeNet())
    corners = [square.get_xy() for square in axes.patches]
    assert len(set(corners)) == len(corners) == 1 + 6 + 6 + 16 + 16 + 3
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for square in axes.patches:
        assert left < square.get_x() < square.get_x() + square.get_width() < right
        assert bottom < square.get_y() < square.get_y() + square.get_height() < top
    assert axes.get_aspect() == 1


def test_the_network_is_labelled():
    _, texts = drawing(LeNet())
    assert above(texts) == [
        "1@32×32",
        "6@28×28",
        "6@14×14",
        "16@10×10",
        "16@5×5",
        "120",
        "84",
        "10",
    ]
    assert below(texts) == [
        ["input"],
        ["Conv2d 2-1", "ReLU 2-2", "156"],
        ["MaxPool2d 2-3"],
        ["Conv2d 2-4", "ReLU 2-5", "2,416"],
        ["MaxPool2d 2-6"],
        ["Conv2d 2-7", "ReLU 2-8", "Flatten 2-9", "48,120"],
        ["Linear 2-10", "ReLU 2-11", "10,164"],
        ["Linear 2-12", "850"],
    ]


def test_the_network_without_its_costs():
    _, texts = drawing(LeNet(), costs=False)
    assert below(texts)[1] == ["Conv2d 2-1", "ReLU 2-2"]
    assert below(texts)[-1] == ["Linear 2-12"]


def test_a_changed_width_changes_the_drawing():
    model = LeNet()
    model.network[3] = nn.Conv2d(6, 9, 5)
    model.network[6] = nn.Conv2d(9, 120, 5)
    stacks, texts = drawing(model)
    assert stacks[3:5] == [[(10, 10)] * 9, [(5, 5)] * 9]
    assert above(texts)[3:5] == ["9@10×10", "9@5×5"]
    assert below(texts)[3] == ["Conv2d 2-4", "ReLU 2-5", "1,359"]


def test_maps_that_are_higher_than_wide():
    stacks, texts = drawing(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 12, 7))
    assert stacks == [[(7, 12)], [(5, 10)] * 2]
    assert above(texts) == ["1@12×7", "2@10×5"]


def test_drawing_leaves_the_model_as_it_was():
    model = LeNet()
    drawing(model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


# Showing


def test_show_gives_the_alternative_text_and_closes_the_figure(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda thing, **options: shown.append((thing, options)))
    figure = plt.figure()
    plots.show(figure, "A falling curve")
    assert shown == [(figure, {"metadata": {"image/png": {"alt": "A falling curve"}}})]
    assert not plt.fignum_exists(figure.number)
