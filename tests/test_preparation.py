import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lenet_utils import data, evaluation, preparation, training


@pytest.fixture(scope="module")
def digits():
    """100 validation digits at 28×28: no test image chooses or judges here."""
    loaded = data.load("validation", 28)
    return data.Digits(loaded.images[:100], loaded.labels[:100])


def cut(image):
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def grown(image, side, place, canvas):
    """The digit cut out, its longer side so many pixels, at a place of a square of paper."""
    digit = cut(image)
    size = [max(1, round(n * side / max(digit.shape))) for n in digit.shape]
    digit = np.asarray(Image.fromarray(digit).resize(size[::-1], Image.Resampling.BILINEAR))
    page = np.zeros((canvas, canvas), np.uint8)
    page[place : place + size[0], place : place + size[1]] = digit
    return page


def falling_light(image):
    page = np.full((56, 56), 255.0)
    page[14:42, 14:42] -= 0.9 * image
    return (page * np.linspace(0.5, 1, 56)).round().astype(np.uint8)


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(255 - image).save(file, "JPEG", quality=30)
    return Image.open(file)


def blue_on_yellow(image):
    ink = image[..., None] / 255
    return ((1 - ink) * [255, 230, 60] + ink * [20, 40, 200]).round().astype(np.uint8)


ALTERED = {
    "as it is": lambda image: image,
    "light and dark swapped": lambda image: 255 - image,
    "drawn large": lambda image: 255 - grown(image, 200, 30, 280),
    "cut without margin": cut,
    "cut, and swapped": lambda image: 255 - cut(image),
    "small in a corner": lambda image: grown(image, 10, 3, 64),
    "on grey paper": lambda image: (100 + image * (155 / 255)).round().astype(np.uint8),
    "in falling light": falling_light,
    "as JPEG": jpeg,
    "blue on yellow": blue_on_yellow,
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_digit_is_read_as_before(digits, name):
    prepared = torch.cat([data.prepare(ALTERED[name](x)) for x in digits.images[:, 0].numpy()])
    answers = evaluation.predict(training.shipped().model, prepared).argmax(1)
    assert (answers == digits.labels).sum() >= (95 if name == "small in a corner" else 97)
    difference = (prepared.double() - data.resize(digits.images).double()).abs().mean((1, 2, 3))
    assert difference.median() < 12 and difference.max() < 40  # grey levels, of 255


def test_it_fills_the_box_and_balances_where_mnists_digits_do(digits):
    for image in digits.images[:20, 0].numpy():
        for altered in (grown(image, 200, 70, 280), cut(image), image[:, ::-1]):
            ink = preparation.cut_out(preparation.find_ink(preparation.lightness(altered)))
            placed = preparation.centre(preparation.darken(preparation.fit_box(ink)))
            assert max(preparation.fit_box(ink).shape) == 20 and placed.shape == (28, 28)
            for axis in (0, 1):
                mass = placed.sum(axis)
                assert abs((mass * np.arange(28)).sum() / mass.sum() - 14) <= 0.5
            assert placed.min() == 0 and 0.99 < placed.max() <= 1


def test_the_edge_of_a_stroke_belongs_to_it():
    ink = np.zeros((20, 20))
    ink[5:15, 8:10] = 1
    ink[5:15, 7], ink[5:15, 10] = 0.3, 0.1  # an edge, and what is nearly paper
    assert preparation.cut_out(ink).tolist() == [[0.3, 1, 1]] * 10


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


def test_a_picture_knows_how_the_telephone_was_held(digits, tmp_path):
    image = grown(digits.images[0, 0].numpy(), 200, 30, 280)
    note = Image.Exif()
    note[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.rot90(image)).save(tmp_path / "turned.png", exif=note)
    assert torch.equal(data.prepare(tmp_path / "turned.png"), data.prepare(image))


def test_specks_are_no_ink(digits):
    page = grown(digits.images[0, 0].numpy(), 120, 80, 280)
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
