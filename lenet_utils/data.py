"""The digits: loading, splits, preparing, resizing, normalisation.

Pixels stay uint8, 0 (paper) to 255 (ink), until a batch is made; `to_input` then makes of them
what a network reads.
"""

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.datasets import MNIST

from .preparation import centre, cut_out, darken, find_ink, fit_box, lightness

ARCHIVES = Path(__file__).with_name("mnist")
SUBSETS = ("train", "validation", "train+validation", "test")
# Of the pixels of the 60,000 training images, resized to 32×32: `mean_std` gives these two.
MEAN, STD = 0.1309002547998366, 0.28928823901803874
# Test images whose label fewer than three of five people chose, in place of a program's guess:
# counted from the votes published with C. G. Northcutt, A. Athalye, J. Mueller, "Pervasive label
# errors in test sets destabilize machine learning benchmarks", NeurIPS 2021
# (github.com/cleanlab/label-errors, mturk/).
DISPUTED = [947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729]


class Digits(NamedTuple):
    """Images and their labels: `images` uint8 (N, 1, size, size), `labels` int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __repr__(self) -> str:
        images, labels = tuple(self.images.shape), tuple(self.labels.shape)
        return f"Digits(images={images} {self.images.dtype}, labels={labels} {self.labels.dtype})"


def load(subset: str, size: int = 32) -> Digits:
    """One of the sets of MNIST.

    subset  "train" and "validation": 55,000 and 5,000 images, a fixed split of MNIST's training
            images that has the classes in the same proportions in both;
            "train+validation": all these 60,000, in their official order;
            "test": the 10,000 test images
    size    side of the images in pixels: 28 as MNIST stores them, anything else resized from that

    The archives that come with this package are read and checked in memory; nothing is unpacked or
    downloaded. Raises ValueError for an unknown subset, RuntimeError for a damaged archive.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {', '.join(SUBSETS)}; got {subset!r}")
    name = "t10k" if subset == "test" else "train"
    images = _read(f"{name}-images-idx3-ubyte.gz").unsqueeze(1)
    labels = _read(f"{name}-labels-idx1-ubyte.gz").long()
    if subset in ("train", "validation"):
        # Of the images sorted by class, every twelfth goes to validation: 5,000 of the 60,000.
        in_validation = torch.zeros(len(labels), dtype=torch.bool)
        in_validation[labels.argsort(stable=True)[::12]] = True
        chosen = in_validation if subset == "validation" else ~in_validation
        images, labels = images[chosen], labels[chosen]
    return Digits(images if size == images.shape[-1] else resize(images, size), labels)


def resize(images: Tensor | np.ndarray, size: int = 32) -> Tensor:
    """Images, as `as_images` takes them → uint8 (N, 1, size, size), bilinear with antialiasing.

    The same grey levels on every processor. (torchvision's own resize of uint8 depends on the
    processor's vector instructions: without AVX2 some pixels differ by one.)
    """
    return F.interpolate(as_images(images), size=(size, size), mode="bilinear", antialias=True)


def pad(images: Tensor | np.ndarray, size: int = 32) -> Tensor:
    """Images, as `as_images` takes them, in the middle of uint8 (N, 1, size, size), paper around.

    So the images of 1998 became 32×32. Raises ValueError for images larger than that.
    """
    images = as_images(images)
    height, width = size - images.shape[-2], size - images.shape[-1]
    if height < 0 or width < 0:
        shape = tuple(images.shape)
        raise ValueError(f"expected at most {size}×{size} pixels, got images {shape}: use resize")
    top, left = height // 2, width // 2
    return F.pad(images, (left, width - left, top, height - top))


def prepare(image: np.ndarray | Tensor | Image.Image | str | Path, size: int = 32) -> Tensor:
    """A picture of one digit → uint8 (1, 1, size, size), placed and inked like MNIST's.

    size   side in pixels: 28 as MNIST stores its images, anything else resized from that
    image  a path, a PIL image, or numbers of any scale, 0 for black: (H, W), or with 1, 3 or 4
           channels (the fourth is alpha) first or last; dark ink on light paper or light on dark

    Crop, a box of 20×20 pixels, and the centre of mass in pixel (14, 14) of 28×28 are those of
    MNIST (LeCun et al. 1998, section III.A). The steps are in `preparation`. Raises
    FileNotFoundError, TypeError or ValueError, with what to do, for what holds no picture, or a
    picture without ink.
    """
    ink = cut_out(find_ink(lightness(image)))
    return resize(centre(darken(fit_box(ink))), size)


def mean_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of images uint8 (any shape), counted exactly.

    In units of ink: 0 is paper, 1 is black.
    """
    counts = images.flatten().bincount(minlength=256).double()
    ink = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * ink).sum() / counts.sum()
    variance = (counts * (ink - mean) ** 2).sum() / counts.sum()
    return mean.item(), variance.sqrt().item()


def to_input(images: Tensor | np.ndarray) -> Tensor:
    """What a network reads: images as `as_images` takes them → float32 (N, 1, H, W).

    Normalisation belongs to the network: every network here learns from pixels less MEAN, divided
    by STD, and so is given the same two constants later, whatever images it is shown.
    """
    return (as_images(images).float() / 255 - MEAN) / STD


def as_images(images: Tensor | np.ndarray) -> Tensor:
    """Images as people have them → uint8 (N, 1, H, W), 0 (paper) to 255 (ink).

    Takes tensors and NumPy arrays (H, W), (N, H, W) or (N, 1, H, W), as uint8, or as floats from 0
    to 1. Raises TypeError or ValueError, with what to do, for anything else.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images.copy())  # it may be read-only, or mirrored
    if not isinstance(images, Tensor):
        raise TypeError(
            f"expected images as a tensor or a NumPy array, got {type(images).__name__}: "
            "np.asarray makes an array of a PIL image"
        )
    shape = tuple(images.shape)
    if len(shape) == 2:
        images = images[None, None]
    elif len(shape) == 3 and shape[0] != 3 and shape[2] > 4:  # else these may be colours
        images = images[:, None]
    elif len(shape) != 4 or shape[1] != 1:
        raise ValueError(
            f"expected grey images (N, 1, H, W), (N, H, W) or (H, W), got {shape}: average the "
            "channels of a colour image first; three grey images are (3, 1, H, W)"
        )
    if images.is_floating_point():
        if images.numel() and not 0 <= images.min() <= images.max() <= 1:
            low, high = images.aminmax()
            raise ValueError(
                f"expected floats from 0 (paper) to 1 (ink), got {low:.3g} to {high:.3g}: pass "
                "pixels as loaded, neither normalised nor inverted nor as floats up to 255"
            )
        images = (images * 255).round().to(torch.uint8)
    if images.dtype != torch.uint8:
        raise TypeError(
            f"expected pixels as uint8 or floats from 0 to 1, got {images.dtype}: convert them to "
            "uint8 if they are from 0 to 255, to float if they are 0 and 1"
        )
    return images


def _read(name: str) -> Tensor:
    """The uint8 array in one of MNIST's archives, whose MD5 is the one that torchvision knows.

    The idx format: two zeros, the type (8 for uint8), the number of dimensions, their sizes as
    big-endian int32, then the values. (Y. LeCun, "The MNIST database", its web page.)
    """
    archive, md5 = ARCHIVES / name, dict(MNIST.resources)[name]
    content = archive.read_bytes() if archive.exists() else b""
    if hashlib.md5(content).hexdigest() != md5:
        raise RuntimeError(
            f"{archive} is {'damaged' if content else 'missing'}: its MD5 should be {md5}. "
            "Restore it (git checkout -- lenet_utils/mnist) or install lenet_utils again."
        )
    values = bytearray(gzip.decompress(content))  # a tensor may be written to, so not bytes
    dimensions = values[3]
    shape = np.frombuffer(values, ">i4", dimensions, offset=4).tolist()
    return torch.frombuffer(values, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)
