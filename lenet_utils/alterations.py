"""MNIST's digits as people have theirs: large, swapped, in a corner, photographed.

To measure what `data.prepare` mends. Each function takes a digit as MNIST has it, uint8 (28, 28),
0 for paper, and a generator, for what is left to chance; and returns a picture.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy import ndarray
from numpy.random import Generator
from PIL import Image


def swapped(digit: ndarray, chance: Generator) -> ndarray:
    """Dark ink on light paper, as one writes."""
    return 255 - digit


def large(digit: ndarray, chance: Generator) -> ndarray:
    """On a page of 280×280 pixels, 200 of them tall or wide, somewhere with a margin."""
    return 255 - placed(digit, 200, 280, chance.integers(10, 70, 2))


def cut(digit: ndarray, chance: Generator) -> ndarray:
    """Without any margin."""
    return cropped(digit)


def corner(digit: ndarray, chance: Generator) -> ndarray:
    """Ten pixels tall or wide, in one of the corners of 64×64."""
    return placed(digit, 10, 64, chance.choice([3, 51], 2))


def grey_paper(digit: ndarray, chance: Generator) -> ndarray:
    """Light ink on paper of grey level 100."""
    return (100 + digit * (155 / 255)).round().astype(np.uint8)


def falling_light(digit: ndarray, chance: Generator) -> ndarray:
    """Dark ink on paper whose light falls by half from one side to the other."""
    page = 255 - 0.9 * np.pad(digit, 14)
    light = np.broadcast_to(np.linspace(0.5, 1, 56), page.shape)
    return (page * np.rot90(light, chance.integers(4))).round().astype(np.uint8)


def jpeg(digit: ndarray, chance: Generator) -> Image.Image:
    """Dark ink, compressed with quality 30."""
    file = io.BytesIO()
    Image.fromarray(255 - digit).save(file, "JPEG", quality=30)
    return Image.open(file)


def blue_on_yellow(digit: ndarray, chance: Generator) -> ndarray:
    """In colours: (28, 28, 3)."""
    ink = digit[..., None] / 255
    return ((1 - ink) * [255, 230, 60] + ink * [20, 40, 200]).round().astype(np.uint8)


ALTERATIONS = {
    "dark on light": swapped,
    "drawn large": large,
    "cut without margin": cut,
    "small in a corner": corner,
    "grey paper": grey_paper,
    "falling light": falling_light,
    "JPEG": jpeg,
    "blue on yellow": blue_on_yellow,
}


def cropped(digit: ndarray) -> ndarray:
    """The smallest rectangle with all the ink."""
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def placed(digit: ndarray, side: int, page: int, place: Sequence[int]) -> ndarray:
    """The digit, its longer side `side` pixels, at (row, column) of a square of paper."""
    digit = cropped(digit)
    height, width = (max(1, round(n * side / max(digit.shape))) for n in digit.shape)
    digit = Image.fromarray(digit).resize((width, height), Image.Resampling.BILINEAR)
    paper = Image.new("L", (page, page))
    paper.paste(digit, (int(place[1]), int(place[0])))
    return np.asarray(paper)
