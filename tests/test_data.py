import hashlib
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import MNIST
from torchvision.datasets.utils import extract_archive

from lenet_utils import data

# Zeros to nines, and the first labels.
CONTENT = [
    ("train", [5429, 6180, 5462, 5620, 5355, 4969, 5425, 5743, 5363, 5454], "541921314"),
    ("validation", [494, 562, 496, 511, 487, 452, 493, 522, 488, 495], "034185769"),
    ("train+validation", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], "504192131"),
    ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "721041495"),
]
# Of validation, at 28×28: every account of results rests on this split.
VALIDATION_LABELS = [0, 3, 4, 1, 8, 5, 7, 6, 9, 0]
VALIDATION_CHECKSUM = 0xD9784EAB


@pytest.fixture(scope="module")
def loaded():
    """Every subset as MNIST stores it."""
    return {subset: data.load(subset, 28) for subset in data.SUBSETS}


@pytest.fixture(scope="module")
def training(loaded):
    return loaded["train+validation"]


@pytest.fixture(scope="module")
def images(loaded):
    return loaded["test"].images


@pytest.fixture(scope="module")
def resized():
    return data.load("train+validation").images


# What is loaded


def test_archives_are_the_official_ones():
    assert len(MNIST.resources) == 4
    for name, md5 in MNIST.resources:
        assert hashlib.md5((data.ARCHIVES / name).read_bytes()).hexdigest() == md5


def test_images_and_labels_are_those_that_torchvision_loads(loaded, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in MNIST.resources:
        extract_archive(data.ARCHIVES / name, raw)
    for subset, train in [("train+validation", True), ("test", False)]:
        ours, theirs = loaded[subset], MNIST(tmp_path, train=train)
        assert torch.equal(ours.images[:, 0], theirs.data)
        assert torch.equal(ours.labels, theirs.targets)


@pytest.mark.parametrize("subset, counts, first", CONTENT)
def test_shapes_dtypes_class_counts_and_first_labels(loaded, subset, counts, first):
    digits = loaded[subset]
    assert repr(digits) == (
        f"Digits(images=({sum(counts)}, 1, 28, 28) torch.uint8, "
        f"labels=({sum(counts)},) torch.int64)"
    )
    assert digits.labels.bincount().tolist() == counts
    assert digits.labels[:9].tolist() == [int(label) for label in first]


def test_unknown_subset():
    with pytest.raises(ValueError, match=r"train, validation, train\+validation, test; got 'full'"):
        data.load("full")


def test_train_and_validation_are_disjoint_and_all_images_in_their_official_order(loaded, training):
    positions = {image.tobytes(): n for n, image in enumerate(training.images.numpy())}
    found = []
    for subset in ("train", "validation"):
        images, labels = loaded[subset]
        places = [positions[image.tobytes()] for image in images.numpy()]
        assert places == sorted(places)
        assert torch.equal(labels, training.labels[places])
        found += places
    assert sorted(found) == list(range(60_000))


def test_split_is_stratified_and_fixed(loaded, training):
    images, labels = loaded["validation"]
    assert (labels.bincount() - training.labels.bincount() / 12).abs().max() < 1
    assert labels[:10].tolist() == VALIDATION_LABELS
    assert zlib.crc32(images.numpy()) == VALIDATION_CHECKSUM


def test_tensors_are_the_callers_own():
    digits = data.load("test", 28)
    before = [tensor.clone() for tensor in digits]
    digits.images.fill_(7)
    digits.labels.fill_(7)
    assert all(map(torch.equal, data.load("test", 28), before))


def test_loading_writes_nothing_and_needs_no_network(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise AssertionError("no network in this test")

    def files():
        paths = [*data.ARCHIVES.parent.rglob("*"), *tmp_path.rglob("*")]
        found = [path for path in paths if path.is_file() and path.suffix != ".pyc"]
        return {path: path.stat().st_mtime_ns for path in found}

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LENET_DATA"):
        monkeypatch.setenv(name, str(tmp_path))
    before = files()
    assert len(data.load("train").labels) + len(data.load("test").labels) == 65_000
    assert files() == before


@pytest.mark.parametrize("state", ["damaged", "missing"])
@pytest.mark.parametrize("name, md5", MNIST.resources)
def test_an_archive_that_cannot_be_used(monkeypatch, tmp_path, name, md5, state):
    shutil.copytree(data.ARCHIVES, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(data, "ARCHIVES", tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[5] ^= 1  # in gzip's time of writing: unpacking alone would not notice
    (tmp_path / name).unlink()
    if state == "damaged":
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RuntimeError) as error:
        data.load("test" if name.startswith("t10k") else "train", 28)
    assert f"{tmp_path / name} is {state}: its MD5 should be {md5}" in str(error.value)
    assert "git checkout -- lenet_utils/mnist" in str(error.value)


# Resizing and padding


@pytest.mark.parametrize("size, difference", [(32, 0), (20, 1)])
def test_resize_equals_pillows(images, size, difference):
    resized = data.load("test", size).images
    assert torch.equal(data.resize(images, size), resized)
    for image, ours in zip(images[:500, 0].numpy(), resized[:500, 0].numpy(), strict=True):
        theirs = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= difference


# Without the package and its torchvision, which would take longer to import than to resize.
RESIZE = """
import hashlib, sys
import torch
from lenet_utils.data import resize
pixels = torch.frombuffer(bytearray(sys.stdin.buffer.read()), dtype=torch.uint8)
resized = resize(pixels.view(-1, 1, 28, 28)).numpy()
print(torch.backends.cpu.get_cpu_capability(), hashlib.md5(resized).hexdigest())
"""


def test_resize_gives_the_same_pixels_whatever_the_vector_instructions(training, resized):
    expected = hashlib.md5(resized.numpy()).hexdigest()
    here = torch.backends.cpu.get_cpu_capability()
    for capability in ({"DEFAULT", "AVX2"} if here.startswith("AVX") else {"DEFAULT"}) - {here}:
        result = subprocess.run(
            [sys.executable, "-c", RESIZE],
            input=training.images.numpy().tobytes(),
            env=os.environ | {"ATEN_CPU_CAPABILITY": capability.lower()},
            capture_output=True,
        )
        assert result.stdout.decode().split() == [capability, expected], result.stderr.decode()


def test_pad_puts_images_in_the_middle(images):
    padded = data.pad(images)
    assert padded.shape == (10_000, 1, 32, 32)
    assert padded.dtype == torch.uint8
    assert torch.equal(padded[:, :, 2:30, 2:30], images)
    assert padded.long().sum() == images.long().sum()
    odd = data.pad(torch.tensor([[[[1, 2]]]], dtype=torch.uint8), 3)
    assert odd.tolist() == [[[[0, 0, 0], [1, 2, 0], [0, 0, 0]]]]


def test_padding_may_add_nothing_one_way_or_both(images):
    square = images[:, :, :, :28]
    assert torch.equal(data.pad(square, 28), square)
    assert data.pad(square[..., :20], 28).shape == square.shape


@pytest.mark.parametrize("shape", [(1, 1, 33, 20), (1, 1, 20, 33)])
def test_pad_refuses_larger_images(shape):
    with pytest.raises(ValueError) as error:
        data.pad(torch.zeros(shape))
    assert f"at most 32×32 pixels, got images {shape}: use resize" in str(error.value)


# Normalisation


def test_mean_and_std():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 1, 5, 6), dtype=np.uint8)
    ink = pixels.astype(float) / 255
    expected = pytest.approx((ink.mean(), ink.std()), rel=1e-12)
    assert data.mean_std(torch.from_numpy(pixels)) == expected


def test_constants(training, resized):
    mean, std = data.mean_std(training.images)
    assert f"{mean:.4f} {std:.4f}" == "0.1307 0.3081"  # known from elsewhere
    constants = pytest.approx((data.MEAN, data.STD), rel=1e-14, abs=0)  # sums in any order
    assert data.mean_std(resized) == constants


def mean_and_std_of_inputs(images):
    total = squares = 0.0
    for part in images.split(1_000):  # which fit the processor's cache
        inputs = data.to_input(part)
        assert (inputs.dtype, inputs.shape) == (torch.float32, part.shape)
        total += inputs.sum(dtype=torch.float64).item()
        squares += inputs.square().sum(dtype=torch.float64).item()
    mean = total / images.numel()
    return mean, (squares / images.numel() - mean**2) ** 0.5


def test_input_of_the_training_images_has_mean_0_and_std_1(resized):
    assert mean_and_std_of_inputs(resized) == pytest.approx((0, 1), abs=1e-6)


@pytest.mark.parametrize("prepare", [data.pad, lambda images: images], ids=["padded", "28×28"])
def test_other_images_are_normalised_with_the_same_two_constants(images, prepare):
    images = prepare(images)
    mean, std = data.mean_std(images)
    expected = ((mean - data.MEAN) / data.STD, std / data.STD)
    assert mean_and_std_of_inputs(images) == pytest.approx(expected, abs=1e-6)


# Images as people have them


def test_images_of_any_kind_and_shape():
    images = torch.arange(512).to(torch.uint8).view(2, 1, 8, 32)  # all 256 grey levels in each
    for pixels in (images, images[:, 0], images[1, 0]):
        expected = images if pixels.dim() > 2 else images[1:2]
        floats, array, view = (
            pixels.float() / 255,
            pixels.numpy(),
            pixels.flip(-1).numpy()[..., ::-1],
        )
        for same in (pixels, array, view, floats, floats.double(), floats.numpy(), array / 255):
            assert data.as_images(same).dtype == torch.uint8
            assert torch.equal(data.as_images(same), expected)
            assert torch.equal(data.to_input(same), data.to_input(expected))
    assert data.as_images(np.array([[0.003, 0.999]])).tolist() == [[[[1, 255]]]]  # rounded
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the array of a picture is read-only
        picture = np.asarray(Image.new("L", (5, 4), 7))
        assert data.as_images(picture).tolist() == [[[[7] * 5] * 4]]


GREY = "got {}: average the channels of a colour image first; three grey images are (3, 1, H, W)"
FLOATS = "expected floats from 0 (paper) to 1 (ink), got {}: pass pixels as loaded"
SHAPES = [(2, 3, 8, 9), (2, 8, 9, 3), (3, 8, 9), (8, 9, 3), (8, 9, 4), (9,), (2, 1, 1, 8, 9)]
RANGES = {-0.01: "-0.01 to 0.5", 255: "0.5 to 255", math.nan: "nan to nan", math.inf: "0.5 to inf"}


@pytest.mark.parametrize(
    "images, error, message",
    [
        *[(np.zeros(shape), ValueError, GREY.format(shape)) for shape in SHAPES],
        *[(torch.zeros(shape).byte(), ValueError, GREY.format(shape)) for shape in SHAPES],
        *[(np.array([[x, 0.5]]), ValueError, FLOATS.format(RANGES[x])) for x in RANGES],
        (torch.tensor([[0.5, 1.01]]), ValueError, FLOATS.format("0.5 to 1.01")),
        (torch.zeros(2, 2).long(), TypeError, "got torch.int64: convert them to uint8 if"),
        (np.zeros((2, 2), bool), TypeError, "got torch.bool: convert them to uint8 if"),
        ([[0, 255]], TypeError, "got list: np.asarray makes an array"),
        (Image.new("L", (2, 2)), TypeError, "got Image: np.asarray makes an array of a PIL image"),
    ],
)
def test_other_images_are_refused_with_what_to_do(images, error, message):
    with pytest.raises(error, match=re.escape(message)):
        data.as_images(images)
