"""Digits as other hands might have written them: distortions of whole batches, for training.

They are random, drawn on the batch's device: `torch.manual_seed`, which `training.fit` calls,
decides them.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from .data import as_images, to_input


def distort(
    images: Tensor,
    *,
    turn: float = 0.0,
    scale: float = 0.0,
    stretch: float = 0.0,
    shear: float = 0.0,
    shift: float = 0.0,
    stroke: float = 0.0,
    elastic: float = 0.0,
    coarse: float = 0.0,
) -> Tensor:
    """Images uint8 (B, 1, S, S) → what a network reads, float32, each distorted in its own way.

    An option, but for the last two, is the largest extent, in both directions; small ones are more
    frequent. 0 leaves it out.

    turn     degrees
    scale    of both sides, the logarithm of the factor: 0.3 means 0.74 to 1.35 times
    stretch  of the width alone, likewise
    shear    how far the top moves against the bottom, as a part of the side
    shift    along both axes, as a part of the side, before it is resized, slanted and turned
    stroke   how far each pixel goes, 1 at most, to the darkest, or lightest, of the 3×3 around it
    elastic  how far 4×4 points move (normally distributed, the standard deviation as a part of the
             side), between which the paper yields like rubber
    coarse   the share of the images that get fewer pixels: in a batch a certain part of those in a
             row, from a quarter to a half

    After P. Y. Simard, D. Steinkraus, J. C. Platt, "Best practices for convolutional neural
    networks applied to visual document analysis", ICDAR 2003.
    """
    count, where, ink = len(images), images.device, as_images(images).float() / 255
    if turn or scale or stretch or shear or shift or elastic:
        size = spread(count, scale, where)
        places = F.affine_grid(
            affine(
                spread(count, turn, where).deg2rad(),
                (size + spread(count, stretch, where)).exp(),
                size.exp(),
                spread(count, shear, where),
                2 * spread(2 * count, shift, where).view(count, 2, 1),
            ),
            images.shape,
            align_corners=False,
        )
        if elastic:
            moves = 2 * elastic * torch.randn(count, 2, 16, device=where)
            rubber = moves @ between(*images.shape[2:]).to(where)
            places = places + rubber.view(count, 2, *images.shape[2:]).permute(0, 2, 3, 1)
        ink = F.grid_sample(ink, places, align_corners=False)  # outside is paper, 0
    if stroke:
        ink = thicken(ink, spread(count, stroke, where))
    if coarse:
        few = torch.rand(count, device=where) < coarse
        part = 0.25 + 0.25 * torch.rand((), device=where).item()
        ink[few] = fewer_pixels(ink[few], part)
    return to_input(ink)


def spread(count: int, extent: float, device: torch.device) -> Tensor:
    """Random numbers float32 (count,), from -extent to extent, the small ones more often."""
    return extent * (torch.rand(count, device=device) - torch.rand(count, device=device))


def affine(angle: Tensor, width: Tensor, height: Tensor, slant: Tensor, shift: Tensor) -> Tensor:
    """Matrices (B, 2, 3) that find, for each place of the new image, the place in the old.

    Places are (x, y, 1), x and y from -1 to 1. The digit is shifted (against the sign), resized,
    slanted, and turned (counter-clockwise, radians): so a place is turned back first. All arguments
    are (B,), shift, in the units of places, is (B, 2, 1).
    """

    def rows(*entries: Tensor) -> Tensor:
        return torch.stack(entries, 1).view(-1, 2, 2)

    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    turned = rows(angle.cos(), -angle.sin(), angle.sin(), angle.cos())
    slanted = rows(one, slant, zero, one)
    sized = rows(1 / width, zero, zero, 1 / height)
    return torch.cat([sized @ slanted @ turned, shift], 2)


@functools.cache
def between(height: int, width: int) -> Tensor:
    """What each of 4×4 points adds to every pixel, by cubic interpolation: (16, height · width)."""
    points = torch.eye(16).view(16, 1, 4, 4)
    spread = F.interpolate(points, (height, width), mode="bicubic", align_corners=True)
    return spread.view(16, height * width)


def thicken(ink: Tensor, amount: Tensor) -> Tensor:
    """Ink (B, 1, H, W) from 0 to 1, thicker by an amount (B,) from 0 to 1, thinner by -1 to 0.

    At 1 each pixel becomes the darkest of the 3×3 around it (a dilation), at -1 the lightest (an
    erosion), in between it goes part of the way.
    """
    amount = amount.view(-1, 1, 1, 1)
    side = torch.where(amount < 0, -1.0, 1.0)  # the lightest is the darkest of the negative
    far = F.pad(side * ink, (1, 1, 1, 1), mode="replicate")
    far = torch.maximum(far[:, :, 1:-1], torch.maximum(far[:, :, :-2], far[:, :, 2:]))
    far = torch.maximum(far[..., 1:-1], torch.maximum(far[..., :-2], far[..., 2:]))
    return torch.lerp(ink, side * far, amount.abs())


def fewer_pixels(ink: Tensor, part: float) -> Tensor:
    """Ink (B, 1, H, W) as if it had so large a part of the pixels in a row, and in a column."""
    size = [max(1, round(part * side)) for side in ink.shape[2:]]  # a factor would cut edges off
    small = F.interpolate(ink, size, mode="bilinear", antialias=True)
    return F.interpolate(small, ink.shape[2:], mode="bicubic").clamp(0, 1)
