import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lenet_utils import data, evaluation, preparation, training
from lenet_utils.alterations import ALTERATIONS, cropped, placed


@pytest.fixture(scope="module")
def digits():
    """100 validation digits at 28×28: no test image chooses or judges here."""
    loaded = data.load("validation", 28)
    return data.Digits(loaded.images[:100], loaded.labels[:100])


@pytest.fixture(scope="module")
def model():
    return training.shipped("robust").model


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_digit_is_read_as_before(digits, model, name):
    chance = np.random.default_rng(0)
    altered = [ALTERATIONS[name](digit, chance) for digit in digits.images[:, 0].numpy()]
    prepared = torch.cat([data.prepare(picture) for picture in altered])
    answers = evaluation.predict(model, prepared).argmax(1)
    assert (answers == digits.labels).sum() >= 97
    difference = (prepared.double() - data.resize(digits.images).double()).abs().mean((1, 2, 3))
    assert difference.median() < 12 and difference.max() < 40  # grey levels, of 255


def test_the_same_digit_however_it_lies_on_paper(digits, model):
    """Random polarity, size, position, paper and channels, never with ink on the edge."""
    same = []
    untouched = evaluation.predict(model, data.resize(digits.images)).argmax(1)

    @settings(deadline=None, max_examples=300, derandomize=True, database=None)
    @given(
        number=st.integers(0, 99),
        side=st.integers(20, 200),
        margins=st.tuples(*[st.integers(4, 120)] * 4),
        paper=st.integers(0, 100),
        ink=st.integers(160, 255),
        dark_ink=st.booleans(),
        channels=st.sampled_from([0, 1, 3, 4]),
        first=st.booleans(),
    )
    def alter(number, side, margins, paper, ink, dark_ink, channels, first):
        digit = Image.fromarray(cropped(digits.images[number, 0].numpy()))
        digit = np.asarray(digit.resize([max(1, n * side // max(digit.size)) for n in digit.size]))
        page = paper + np.pad(digit, (margins[:2], margins[2:])) * ((ink - paper) / 255)
        page = (255 - page if dark_ink else page).round().astype(np.uint8)
        if channels:
            page = np.stack([page] * 3 + [np.full_like(page, 255)], 2)[:, :, :channels]
            page = np.moveaxis(page, 2, 0) if first else page
        prepared = data.prepare(page)
        apart = prepared.double() - data.resize(digits.images[[number]]).double()
        assert apart.abs().mean() < 40  # grey levels, of 255
        same.append(evaluation.predict(model, prepared).argmax() == untouched[number])

    alter()
    assert len(same) >= 300 and sum(same) >= 0.99 * len(same)


def test_it_fills_the_box_and_balances_where_mnists_digits_do(digits):
    for image in digits.images[:20, 0].numpy():
        for altered in (placed(image, 200, 280, (70, 70)), cropped(image), image[:, ::-1]):
            ink = preparation.cut_out(preparation.find_ink(preparation.lightness(altered)))
            framed = preparation.centre(preparation.darken(preparation.fit_box(ink)))
            assert max(preparation.fit_box(ink).shape) == 20 and framed.shape == (28, 28)
            for axis in (0, 1):
                mass = framed.sum(axis)
                assert abs((mass * np.arange(28)).sum() / mass.sum() - 14) <= 0.5
            assert framed.min() == 0 and 0.99 < framed.max() <= 1


@pytest.mark.parametrize("rises", [1, -1])
@pytest.mark.parametrize("powers", [(2, 0), (1, 1), (0, 2)])
def test_curved_light_is_divided_away(powers, rises):
    y, x = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 50), indexing="ij")
    ink = np.zeros((60, 50))
    ink[20:23, 18:30] = ink[20:40, 24:27] = 1
    light = (0.65 + 0.3 * rises * y ** powers[0] * x ** powers[1]) * (1 - 0.8 * ink)
    assert abs(preparation.find_ink(light / light.max()) - ink).max() < 0.02


def test_where_ink_covers_most_the_corners_are_paper():
    ink = np.ones((40, 40))  # a bold zero, cut without margin
    ink[9:31, 10:30] = 0
    ink[np.ix_([0, 1, 2, 3, -4, -3, -2, -1], [0, 1, 2, 3, -4, -3, -2, -1])] = 0
    for light in (1 - 0.8 * ink, 0.2 + 0.8 * ink):
        assert abs(preparation.find_ink(light) - ink).max() < 0.02


def test_the_edge_of_a_stroke_belongs_to_it():
    ink = np.zeros((20, 20))
    ink[5:15, 8:10] = 1
    ink[5:15, 7], ink[5:15, 10] = 0.3, 0.1  # an edge, and what is nearly paper
    assert preparation.cut_out(ink).tolist() == [[0.3, 1, 1]] * 10


def test_what_is_cut_out_reaches_as_far_around_a_stroke_on_every_side():
    ink = np.full((56, 84), 0.3)  # too faint for a stroke, too dark for paper
    ink[20:30, 40:45] = 1
    expected = np.pad(np.ones((10, 5)), 3, constant_values=0.3)
    assert np.array_equal(preparation.cut_out(ink), expected)


@pytest.mark.parametrize(
    "side, method", [(42, Image.Resampling.BICUBIC), (14, Image.Resampling.BILINEAR)]
)
def test_strokes_are_enlarged_or_shrunk_as_pillow_does(digits, side, method):
    ink = digits.images[0, 0, :, :20].numpy() / 255
    resized = Image.fromarray(ink.astype(np.float32)).resize((side * 20 // 28, side), method)
    assert abs(preparation.fit_box(ink, side) - np.clip(resized, 0, 1)).max() < 1e-5


def test_the_inside_of_a_faint_stroke_becomes_black():
    darkened = preparation.darken(np.array([[0.0, 0.1, 0.35, 0.6, 0.6]]))
    assert darkened == pytest.approx(np.array([[0, 0, 0.5, 1, 1]]))


def test_every_step_gives_ink_from_0_to_1(digits):
    for image in digits.images[:20, 0].numpy():
        ink = preparation.lightness(placed(image, 10, 16, (3, 3)))  # small: it has to be enlarged
        for step in ("find_ink", "cut_out", "fit_box", "darken", "centre"):
            ink = getattr(preparation, step)(ink)
            assert ink.dtype == np.float64 and 0 <= ink.min() <= ink.max() <= 1, step


def test_the_same_picture_in_every_form(digits, tmp_path):
    image = digits.images[0, 0].numpy()
    expected = data.prepare(image)
    assert (expected.shape, expected.dtype) == ((1, 1, 32, 32), torch.uint8)
    colours = np.repeat(image[:, :, None], 3, 2)
    Image.fromarray(255 - colours).save(tmp_path / "digit.png")
    Image.fromarray(255 - image).convert("1").save(tmp_path / "two colours.png")
    clear = np.dstack([np.zeros_like(colours), image])  # black, where it is not transparent
    white = np.dstack([np.full_like(colours, 255), image])
    same = [image.copy(), torch.from_numpy(image), image[None], image[None, None], image / 255.0]
    same += [image.astype(np.float32) / 16, image.astype(np.uint16) * 256, 255 - image]
    same += [colours, np.moveaxis(colours, 2, 0), 255 - colours, clear, white]
    same += [np.moveaxis(clear, 2, 0), Image.fromarray(image), Image.fromarray(clear)]
    same += [tmp_path / "digit.png", str(tmp_path / "digit.png")]
    for form in same:
        apart = data.prepare(form).int() - expected.int()
        assert apart.abs().max() <= 1, form
    data.prepare(tmp_path / "two colours.png")
    data.prepare(image > 100)


@pytest.mark.parametrize("colour", [0, 100, 150, 255])
def test_what_is_transparent_lies_on_the_opposite_of_what_is_not(digits, colour):
    pixels, around = digits.images[0, 0].numpy(), 255 if colour < 128 else 0
    light = preparation.lightness(np.dstack([np.full((28, 28, 3), colour, np.uint8), pixels]))
    alpha = pixels / 255
    assert light * 255 == pytest.approx(alpha * colour + (1 - alpha) * around)


def test_a_picture_knows_how_the_telephone_was_held(digits, tmp_path):
    image = placed(digits.images[0, 0].numpy(), 200, 280, (30, 30))
    note = Image.Exif()
    note[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.rot90(image)).save(tmp_path / "turned.png", exif=note)
    assert torch.equal(data.prepare(tmp_path / "turned.png"), data.prepare(image))


def test_specks_are_no_ink(digits):
    page = placed(digits.images[0, 0].numpy(), 120, 280, (80, 80))
    specked = page.copy()
    specked[5:8, 5:8] = specked[270:273, 200:203] = 255
    assert torch.equal(data.prepare(specked), data.prepare(page))


class Huge(Image.Image):
    """A picture whose pixels must not be asked for."""

    width, height, size = 8000, 8000, (8000, 8000)

    def __init__(self):
        pass


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (None, TypeError, "expected a path, an array, a tensor or a PIL image, got NoneType"),
        ([[0, 1]], TypeError, "got list"),
        (np.zeros((0, 5)), ValueError, "expected one picture"),
        (np.zeros(5), ValueError, "expected one picture"),
        (np.zeros((2, 5, 5, 3)), ValueError, "expected one picture"),
        (np.array([["a", "b"]]), ValueError, "expected one picture"),
        (np.zeros((5, 6, 7)), ValueError, "expected 1, 3 or 4 channels"),
        (np.array([[0.0, np.nan], [1.0, 0.0]]), ValueError, "NaN"),
        (np.array([[0.0, np.inf], [1.0, 0.0]]), ValueError, "infinity"),
        (np.array([[0.0, -1.0], [1.0, 0.0]]), ValueError, "negative"),
        (np.ones((1, 1)), ValueError, r"\(1, 1\) pixels that are all alike"),
        (np.eye(5)[:1, :, None], ValueError, r"\(1, 5\) pixels that are all alike"),
        (np.full((28, 28), 7, np.uint8), ValueError, "all alike"),
        (np.zeros((28, 28)), ValueError, "all alike"),
        (np.broadcast_to(np.uint8(0), (8000, 8001)), ValueError, "got 8000×8001: shrink"),
        (np.broadcast_to(np.uint8(0), (3, 8000, 8001)), ValueError, "got 8000×8001: shrink"),
        (np.add.outer(np.arange(9.0), np.arange(9.0)), ValueError, "none that stands out"),
        (Huge(), ValueError, r"at most 50,000,000 pixels, got 8000×8000"),
        ("no such file.png", FileNotFoundError, "no such file.png"),
        (__file__, ValueError, "cannot identify"),
    ],
)
def test_what_is_no_picture_is_refused(picture, error, message):
    with pytest.raises(error, match=message):
        data.prepare(picture)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.int16, np.bool_]),
        arrays.array_shapes(min_dims=1, max_dims=4, max_side=12),
    )
)
def test_any_array_is_prepared_or_refused(array):
    try:
        prepared = data.prepare(array)
    except ValueError as error:
        assert str(error).startswith("expected ")
    else:
        assert (prepared.shape, prepared.dtype) == ((1, 1, 32, 32), torch.uint8)
        assert prepared.max() > 100


def test_as_large_as_mnist_stores_them():
    image = data.load("test", 28).images[3]
    small = data.prepare(image, size=28)
    assert (small.shape, small.dtype) == ((1, 1, 28, 28), torch.uint8)
    assert torch.equal(data.resize(small), data.prepare(image))
