"""The digits: loading, splits, resizing, normalisation.

Pixels stay uint8, 0 (paper) to 255 (ink), until a batch is made; `to_input` then makes of them
what a network reads.
"""

import contextlib
import functools
import gzip
import hashlib
import os
import uuid
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.datasets import MNIST
from torchvision.transforms.v2 import functional as transforms

ARCHIVES = Path(__file__).with_name("mnist")
SUBSETS = ("full", "train", "validation", "test")


class Digits(NamedTuple):
    """Images and their labels: `images` uint8 (N, 1, size, size), `labels` int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __repr__(self) -> str:
        images, labels = tuple(self.images.shape), tuple(self.labels.shape)
        return f"Digits(images={images} {self.images.dtype}, labels={labels} {self.labels.dtype})"


def load(subset: str, size: int = 32) -> Digits:
    """One of the sets of MNIST, as tensors of your own: changing them changes no later `load`.

    subset  "full": the 60,000 training images, in their official order;
            "train" and "validation": a fixed split of these into 55,000 and 5,000, both with
            the classes in the same proportions;
            "test": the 10,000 test images
    size    side of the images in pixels: 28 as MNIST stores them, anything else resized from that

    Raises ValueError for an unknown subset, RuntimeError for a damaged archive or a cache folder
    that cannot be used.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {', '.join(SUBSETS)}; got {subset!r}")
    images, labels = _mnist(train=subset != "test", size=size)
    if subset in ("full", "test"):
        return Digits(images.clone(), labels.clone())
    # Of the images sorted by class, every twelfth goes to validation: 5,000 of the 60,000.
    by_class = labels.argsort(stable=True)
    in_validation = torch.zeros(len(labels), dtype=torch.bool)
    in_validation[by_class[::12]] = True
    chosen = in_validation if subset == "validation" else ~in_validation
    return Digits(images[chosen], labels[chosen])


def resize(images: Tensor, size: int = 32) -> Tensor:
    """Images uint8 (N, 1, H, W) resized to (N, 1, size, size), bilinear with antialiasing.

    The same grey levels as `torchvision.transforms.v2.Resize`, whose functional form this calls.
    """
    return transforms.resize(images, [size, size], antialias=True)


def pad(images: Tensor, size: int = 32) -> Tensor:
    """Images (N, 1, H, W) in the middle of (N, 1, size, size), with zeros (paper) around them.

    So the images of 1998 became 32×32. Raises ValueError for images larger than that.
    """
    height, width = size - images.shape[-2], size - images.shape[-1]
    if height < 0 or width < 0:
        shape = tuple(images.shape)
        raise ValueError(f"expected at most {size}×{size} pixels, got images {shape}: use resize")
    top, left = height // 2, width // 2
    return torch.nn.functional.pad(images, (left, width - left, top, height - top))


@functools.cache
def mean_std(size: int = 32) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of the 60,000 training images at this size.

    In units of ink: 0 is paper, 1 is black.
    """
    counts = torch.bincount(_mnist(train=True, size=size)[0].flatten(), minlength=256).double()
    ink = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * ink).sum() / counts.sum()
    variance = (counts * (ink - mean) ** 2).sum() / counts.sum()
    return mean.item(), variance.sqrt().item()


def to_input(images: Tensor) -> Tensor:
    """What a network reads: pixels uint8 (N, 1, S, W) → float32 (N, 1, S, W).

    Over the training set at size S the result has mean 0 and standard deviation 1. Raises TypeError
    unless the images are uint8: scaled twice, they would be nearly constant.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"expected pixels as torch.uint8, got {images.dtype}: pass them as loaded")
    mean, std = mean_std(images.shape[-2])
    return (images.float() / 255 - mean) / std


def cache_folder() -> Path:
    """Where unpacked archives are kept: $LENET_DATA, or .cache/lenet_utils in the home folder."""
    return Path(os.environ.get("LENET_DATA") or Path.home() / ".cache" / "lenet_utils")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or replace it; under its name there is never only a part of the content."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@functools.cache
def _mnist(train: bool, size: int) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 1, size, size) and labels int64 (N,), kept in memory: hand out copies."""
    folder = cache_folder()
    raw = folder / "MNIST" / "raw"  # where torchvision looks
    for address, md5 in MNIST.resources:
        _unpack(ARCHIVES / address, md5, raw)
    mnist = MNIST(folder, train=train, download=False)
    images = mnist.data.unsqueeze(1)
    return images if size == images.shape[-1] else resize(images, size), mnist.targets


def _unpack(archive: Path, md5: str, folder: Path) -> None:
    """Unpack an archive into folder, unless it is there and whole.

    torchvision checks only that the unpacked file exists, and writes it in place. Here its length
    and checksum are compared with those at the archive's end, and a new file gets its name only
    when it is complete: many processes may do this at once, and one that is stopped half-way
    leaves nothing that could be taken for the data.
    """
    content = archive.read_bytes() if archive.exists() else b""
    if hashlib.md5(content).hexdigest() != md5:
        raise RuntimeError(
            f"{archive} is {'damaged' if content else 'missing'}: its MD5 should be {md5}. "
            "Restore it (git checkout -- lenet_utils/mnist) or install lenet_utils again."
        )
    target = folder / archive.stem
    if _is_whole(target, content):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(target, gzip.decompress(content))
    except OSError as error:
        # On Windows a file that another process reads cannot be replaced; then it is there.
        if not _is_whole(target, content):
            raise RuntimeError(
                f"cannot unpack MNIST into {folder} ({error.strerror or error}): set "
                "the environment variable LENET_DATA to a folder you may write to, with 60 MB free."
            ) from error


def _is_whole(file: Path, archive: bytes) -> bool:
    """Whether a file can be read and has the checksum and length at its gzip archive's end."""
    try:
        content = file.read_bytes()
    except OSError:
        return False
    checksum, length = zlib.crc32(content), len(content)
    return checksum.to_bytes(4, "little") + length.to_bytes(4, "little") == archive[-8:]
