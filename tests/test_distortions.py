"""Distortions: each does what it says to digits that are not symmetric, and nothing else."""

import functools

import pytest
import torch
from scipy import ndimage

from lenet_utils import data, distortions
from lenet_utils.distortions import distort, thicken
from lenet_utils.training import Recipe, train

EXTENTS = dict(turn=25, scale=0.3, stretch=0.2, shear=0.3, shift=0.1, stroke=0.8, elastic=0.03)
ALL = EXTENTS | {"coarse": 0.5}


@pytest.fixture(scope="module")
def digits():
    loaded = data.load("validation")
    return data.Digits(loaded.images[:200], loaded.labels[:200])


def ink(inputs):
    """What the network was given, as ink from 0 to 1, float64 (B, H, W)."""
    return (inputs * data.STD + data.MEAN)[:, 0].double()


def moments(images):
    """Mass, centre (y, x) and covariances (yy, xx, xy) of ink (B, H, W), in pixels."""
    mass = images.sum((1, 2))
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in images.shape[1:]), indexing="ij")
    means = [(images * axis).sum((1, 2)) / mass for axis in (y, x)]
    away = [axis - mean.view(-1, 1, 1) for axis, mean in zip((y, x), means, strict=True)]
    pairs = [(0, 0), (1, 1), (0, 1)]
    return mass, *means, *((images * away[a] * away[b]).sum((1, 2)) / mass for a, b in pairs)


def bar():
    """A bar, 40 pixels high and 8 wide: uint8 (1, 1, 64, 64)."""
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    image[:, :, 12:52, 28:36] = 255
    return image


def extent(name, amount, monkeypatch):
    """A bar distorted by the whole of an option."""
    monkeypatch.setattr(distortions, "spread", lambda n, extent, where: torch.full((n,), extent))
    return moments(ink(distort(bar(), **{name: amount})))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_extent_of_each_distortion(monkeypatch, sign):
    mass, y, x, yy, xx, xy = moments(ink(data.to_input(bar())))
    turned = extent("turn", sign * 20.0, monkeypatch)
    angle = 0.5 * torch.atan2(2 * turned[5], turned[3] - turned[4])  # against the vertical
    assert angle.rad2deg().item() == pytest.approx(sign * 20, abs=0.3)  # to the right, downwards
    assert turned[0].item() == pytest.approx(mass.item(), rel=0.01)
    scaled = extent("scale", sign * 0.2, monkeypatch)
    factor = torch.tensor(sign * 0.4).exp().item()  # of an area, and of a variance
    for number in (0, 3, 4):
        before = (mass, y, x, yy, xx)[number].item()
        assert scaled[number].item() == pytest.approx(factor * before, rel=0.05)
    stretched = extent("stretch", sign * 0.2, monkeypatch)
    assert stretched[3].item() == pytest.approx(yy.item(), rel=0.01)
    assert stretched[4].item() == pytest.approx(factor * xx.item(), rel=0.05)
    sheared = extent("shear", sign * 0.3, monkeypatch)
    assert abs(sheared[5] / sheared[3]).item() == pytest.approx(0.3, abs=0.01)
    assert sheared[3].item() == pytest.approx(yy.item(), rel=0.01)
    shifted = extent("shift", sign * 0.125, monkeypatch)
    assert (shifted[1] - y).item() == pytest.approx(-sign * 8)
    assert (shifted[2] - x).item() == pytest.approx(-sign * 8)


@pytest.mark.parametrize("name", EXTENTS)
def test_every_image_goes_its_own_way_up_to_the_extent_in_both_directions(digits, name):
    torch.manual_seed(0)
    images = bar().repeat(400, 1, 1, 1)
    measured = {"turn": 5, "scale": 0, "stretch": 4, "shear": 5, "shift": 1, "elastic": 5}
    values = moments(ink(distort(images, **{name: EXTENTS[name]})))[measured.get(name, 0)]
    untouched = moments(ink(data.to_input(bar())))[measured.get(name, 0)]
    assert len(values.round(decimals=6).unique()) > 200  # grey levels are whole numbers
    assert 0.35 < (values > untouched).double().mean() < 0.65


def test_small_extents_are_more_frequent():
    torch.manual_seed(0)
    drawn = distortions.spread(100_000, 4.0, torch.device("cpu"))
    assert -4 < drawn.min() < -3.9 and 3.9 < drawn.max() < 4
    for within, share in [(1, 7 / 16), (2, 3 / 4), (3, 15 / 16)]:
        assert (drawn.abs() < within).double().mean().item() == pytest.approx(share, abs=0.01)


def test_stroke_is_dilation_and_erosion_and_between(digits):
    pictures = digits.images[:3].float() / 255
    for amount, wanted in [(1.0, ndimage.grey_dilation), (-1.0, ndimage.grey_erosion)]:
        far = torch.stack(
            [torch.from_numpy(wanted(p[0].numpy(), (3, 3), mode="nearest")) for p in pictures]
        )[:, None]
        assert torch.equal(thicken(pictures, torch.full((3,), amount)), far)
        half = thicken(pictures, torch.full((3,), amount / 2))
        assert torch.allclose(half, (pictures + far) / 2)
    assert torch.equal(thicken(pictures, torch.zeros(3)), pictures)
    mixed = thicken(pictures, torch.tensor([1.0, -1.0, 0.0])).sum((1, 2, 3))
    assert mixed[0] > pictures[0].sum() and mixed[1] < pictures[1].sum()


def test_elastic_points_move_as_far_as_it_says_and_paper_yields_smoothly():
    torch.manual_seed(0)
    between = distortions.between(32, 48)
    assert torch.allclose(between.sum(0), torch.ones(32 * 48), atol=1e-5)
    corner = between.view(16, 32, 48)[:, 0, -1]
    assert torch.allclose(corner, torch.eye(16)[3], atol=1e-5)
    columns = (torch.arange(64) / 63 * 255).round().to(torch.uint8)  # a ramp: grey is place
    ramp = columns.expand(500, 1, 64, 64)
    moved = ink(distort(ramp, elastic=0.02)) - ramp[:, 0] / 255
    at = [21, 42]  # the inner points of the grid
    spread = moved[:, at][:, :, at].std().item()
    assert spread == pytest.approx(0.02 * 64 / 63, rel=0.05)
    inside = moved[:, 16:48, 16:48]
    assert inside.diff(dim=1).abs().max() < 0.02  # no tear between neighbours


def test_a_share_of_the_images_gets_fewer_pixels(digits):
    torch.manual_seed(0)
    before, shares, rows = ink(data.to_input(digits.images)), [], []
    for _ in range(20):
        after = ink(distort(digits.images, coarse=0.3))
        fewer = (before != after).any((1, 2))
        shares.append(fewer.double().mean())
        old, new = before[fewer], after[fewer]
        assert torch.allclose(new.sum((1, 2)), old.sum((1, 2)), rtol=0.1)
        rows.append((new.diff(dim=1).abs().sum() / old.diff(dim=1).abs().sum()).item())
    assert 0.25 < sum(shares) / 20 < 0.35
    assert max(rows) < 0.95 and len(set(rows)) == 20  # smoother, every time by another factor
    for part in (0.25, 0.3, 0.37, 0.4999):  # what is coarse stays where it was
        still = distortions.fewer_pixels(before[:, None], part)[:, 0]
        for old, new in list(zip(moments(before), moments(still), strict=True))[1:3]:
            assert (new - old).mean().abs() < 0.1 and (new - old).abs().max() < 0.3
    flat = distortions.fewer_pixels(torch.full((2, 1, 32, 44), 0.6), 0.3)
    assert torch.allclose(flat, torch.full((2, 1, 32, 44), 0.6))
    tips = distortions.fewer_pixels(torch.eye(32)[None, None], 0.25)
    assert tips.max() < 0.5


def test_without_options_nothing_happens_and_nothing_is_drawn(digits):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert torch.equal(distort(digits.images), data.to_input(digits.images))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (5, 1, 28, 28), (3, 1, 2, 2)])
def test_the_seed_decides_and_the_old_images_stay(shape):
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.manual_seed(1))
    before, made = images.clone(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(distort(images, **ALL))
    assert made[0].shape == shape and made[0].dtype == torch.float32
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert torch.equal(images, before)
    assert 0 <= ink(made[0]).min() + 1e-6 and ink(made[0]).max() <= 1 + 1e-6


def test_a_recipe_with_distortions_is_the_transform_of_its_training(digits):
    plain, seen = Recipe(epochs=1), []

    def note(images):
        seen.append(images)
        return distort(images, turn=30, shift=0.1)

    named = train(Recipe(epochs=1, distortions={"turn": 30, "shift": 0.1}), digits, seed=4)
    given = train(plain, digits, seed=4, transform=note)
    without = train(plain, digits, seed=4)
    assert named.history == given.history != without.history and len(seen) == 4
    chosen = train(named.recipe, digits, seed=4, transform=functools.partial(distort))
    assert chosen.history == without.history  # what is passed comes first


def test_a_misspelt_distortion_is_named(digits):
    with pytest.raises(TypeError, match="tilt"):
        train(Recipe(epochs=1, distortions={"tilt": 3}), digits)
