"""The steps from a picture of one digit, as people have it, to one like MNIST's.

`data.prepare` takes them one after the other. After the first, each takes and returns float64
(H, W): ink, from 0 (paper) to 1. All is arithmetic on the CPU, and draws no random numbers.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy import ndarray
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

MOST_PIXELS = 50_000_000


def lightness(image: ndarray | Tensor | Image.Image | str | Path) -> ndarray:
    """How light each pixel is, from 0 to 1 where it is lightest, on at most 512 rows and columns.

    Of colours the channel that varies most; what is transparent lies on white, or on black if what
    is not is light.
    """
    if not isinstance(image, str | Path | ndarray | Tensor | Image.Image):
        raise TypeError(
            f"expected a path, an array, a tensor or a PIL image, got {type(image).__name__}"
        )
    if isinstance(image, str | Path | Image.Image):
        image = _decoded(image)
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    shape = values.shape
    if values.ndim > 3:
        values = values.reshape([n for n in shape if n != 1] or [1])
    if values.dtype.kind not in "buif" or values.ndim not in (2, 3) or not values.size:
        raise ValueError(f"expected one picture, (H, W) or (H, W, channels), got {shape}")
    if values.ndim == 3 and values.shape[2] not in (1, 3, 4):
        values = np.moveaxis(values, 0, 2)
    elif values.ndim == 2:
        values = values[:, :, None]
    if values.shape[2] not in (1, 3, 4):
        raise ValueError(f"expected 1, 3 or 4 channels, first or last, got {shape}")
    _refuse_huge(*values.shape[:2])
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("expected numbers from 0 (black) up, got negative ones, NaN or infinity")
    if values.max() > 0:
        values = values / values.max()
    if values.shape[2] == 4:
        alpha = values[:, :, 3:]
        colour = (alpha * values[:, :, :3]).sum() / max(3 * alpha.sum(), 1e-9)
        values = alpha * values[:, :, :3] + (1 - alpha) * (colour < 0.5)
    light = values[:, :, values.std((0, 1)).argmax()]
    return _scaled(light, min(1.0, 512 / max(light.shape)))


def find_ink(light: ndarray) -> ndarray:
    """How much ink there is on each pixel, from 0 to 1: the paper's light is divided away.

    Ink is what few pixels have and most have not; if neither are few, the corners are paper. The
    paper's light is a plane over the picture, or a curved surface where there is enough paper.
    """
    if min(light.shape) < 2 or np.ptp(light) < 0.02:
        raise ValueError(f"expected ink on paper, got {light.shape} pixels that are all alike")
    apart = light - _paper(light, curved=False)
    spread = (apart - apart.mean()) / max(apart.std(), 1e-12)
    skewness = (spread * spread * spread).mean()  # ** 3 takes hundreds of times as long
    size = max(1, min(light.shape) // 20)
    ends = [slice(None, size), slice(-size, None)]
    corners = np.mean([apart[rows, columns].mean() for rows in ends for columns in ends])
    dark_ink = skewness < 0 if abs(skewness) > 1 else corners > (apart.min() + apart.max()) / 2
    light = light if dark_ink else 1 - light
    paper = _paper(light, curved=abs(skewness) > 1, prefer_light=3.0)
    ink = np.clip((paper - light) / np.maximum(paper, 0.05), 0, 1)
    if ink.max() < 0.05:
        raise ValueError("expected ink on paper, found none that stands out")
    return ink / ink.max()


def cut_out(ink: ndarray) -> ndarray:
    """The smallest rectangle around the strokes, without specks, below a 20th of the largest."""
    strokes, count = ndimage.label(ink > 0.35, np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(ink), strokes, range(1, count + 1))
    kept = np.isin(strokes, 1 + np.flatnonzero(sizes >= 0.05 * sizes.max()))
    kept = ndimage.binary_dilation(kept, np.ones((3, 3)), max(1, round(max(ink.shape) / 28)))
    ink = np.where(kept, ink, 0)
    rows, columns = (np.flatnonzero((ink > 0.15).any(axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def fit_box(ink: ndarray, side: int = 20) -> ndarray:
    """The longer side becomes `side` pixels, the other in proportion, at least one."""
    return _scaled(ink, side / max(ink.shape))


def darken(ink: ndarray) -> ndarray:
    """The inside of strokes becomes 1, and what is nearly paper 0."""
    full = np.quantile(ink[ink >= 0.5 * ink.max()], 0.9)
    return np.clip((ink - 0.1) / (full - 0.1), 0, 1)


def centre(ink: ndarray, size: int = 28) -> ndarray:
    """Moved by whole pixels so that the centre of mass is in pixel (14, 14) of size × size."""
    placed = np.zeros((size, size))
    starts = []
    for axis in (0, 1):
        mass = ink.sum(1 - axis)
        balance = (mass * np.arange(len(mass))).sum() / mass.sum()
        starts.append(int(np.clip(round(size / 2 - balance), 0, size - len(mass))))
    (top, left), (height, width) = starts, ink.shape
    placed[top : top + height, left : left + width] = ink
    return placed


def _refuse_huge(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"expected at most {MOST_PIXELS:,} pixels, got {height}×{width}: shrink the picture"
        )


def _decoded(image: Image.Image | str | Path) -> Image.Image:
    """The pixels of a picture, unless they are too many, the way up that it was taken."""
    try:
        if not isinstance(image, Image.Image):
            image = Image.open(Path(image).expanduser())  # reads no more than the size
        _refuse_huge(image.height, image.width)
        image = ImageOps.exif_transpose(image)  # a telephone notes how it was held
        return image if image.mode[0] in "IF" else image.convert("RGBA")
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"expected a picture: {error}") from error


def _paper(light: ndarray, curved: bool, prefer_light: float = 1.0) -> ndarray:
    """The surface through most pixels: least absolute differences, by weighted least squares."""
    rows, columns = (np.linspace(-1, 1, n) for n in light.shape)

    def terms(y, x):
        y, x = (a.ravel() for a in np.meshgrid(y, x, indexing="ij"))
        return np.stack([np.ones_like(x), x, y, *([x * x, x * y, y * y] if curved else [])], 1)

    step = -(-max(light.shape) // 64)  # some pixels are enough
    known, values = terms(rows[::step], columns[::step]), light[::step, ::step].ravel()
    weights = np.ones(len(values))
    for _ in range(8):
        weighted = known * weights[:, None]
        square = weighted.T @ known + 1e-9 * np.eye(known.shape[1])
        solution = np.linalg.solve(square, weighted.T @ values)
        apart = values - known @ solution
        weights = np.where(apart > 0, prefer_light, 1.0) / np.maximum(abs(apart), 0.02)
    return (terms(rows, columns) @ solution).reshape(light.shape)


def _scaled(values: ndarray, factor: float) -> ndarray:
    """Shrunk with antialiasing, or enlarged by cubic interpolation, which keeps edges sharp."""
    size = tuple(max(1, round(side * factor)) for side in values.shape)
    if size == values.shape:
        return values
    mode = "bilinear" if factor < 1 else "bicubic"
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return F.interpolate(tensor, size, mode=mode, antialias=True)[0, 0].clamp(0, 1).numpy()
