import gzip
import hashlib
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import MNIST
from torchvision.transforms import v2

from lenet_utils import data

ROOT = Path(data.__file__).parents[1]
# Of the 60,000 and of the 10,000, zeros to nines.
TRAINING_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
UNPACKED = {
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
}


# Of validation, at 28×28: every account of results rests on this split.
VALIDATION_LABELS = [0, 3, 4, 1, 8, 5, 7, 6, 9, 0]
VALIDATION_CHECKSUM = 0xD9784EAB


def archive(name):
    """An archive's content read without torchvision: bytes after the header."""
    content = gzip.decompress((data.ARCHIVES / f"{name}-ubyte.gz").read_bytes())
    dimensions = content[3]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)


def files(folder):
    return {file.name for file in folder.rglob("*") if file.is_file()}


def forget():
    data._mnist.cache_clear()
    data.mean_std.cache_clear()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder, and nothing in memory."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LENET_DATA", str(folder))
    forget()
    yield folder
    forget()


@pytest.fixture
def archives(monkeypatch, tmp_path):
    """A copy of the archives that a test may damage."""
    folder = tmp_path / "mnist"
    shutil.copytree(data.ARCHIVES, folder)
    monkeypatch.setattr(data, "ARCHIVES", folder)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """The list of attempts to reach the network, each of which fails."""
    attempts = []

    def refuse(*arguments, **options):
        attempts.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


# What is in the archives


def test_archives_are_the_official_ones():
    assert len(MNIST.resources) == 4
    for name, md5 in MNIST.resources:
        assert hashlib.md5((data.ARCHIVES / name).read_bytes()).hexdigest() == md5


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize(
    "subset, count", [("full", 60_000), ("train", 55_000), ("validation", 5_000), ("test", 10_000)]
)
def test_shapes_and_dtypes(subset, count, size):
    digits = data.load(subset, size)
    assert digits.images.shape == (count, 1, size, size)
    assert digits.images.dtype == torch.uint8
    assert digits.labels.shape == (count,)
    assert digits.labels.dtype == torch.int64


def test_repr_tells_shapes_and_dtypes():
    digits = data.Digits(torch.zeros(2, 1, 5, 6, dtype=torch.uint8), torch.zeros(2).long())
    assert repr(digits) == "Digits(images=(2, 1, 5, 6) torch.uint8, labels=(2,) torch.int64)"


@pytest.mark.parametrize("subset, name", [("full", "train"), ("test", "t10k")])
def test_images_and_labels_are_those_of_the_archives_in_their_order(subset, name):
    digits = data.load(subset, 28)
    assert np.array_equal(digits.images.numpy().ravel(), archive(f"{name}-images-idx3"))
    assert np.array_equal(digits.labels.numpy(), archive(f"{name}-labels-idx1"))


def test_class_counts():
    assert data.load("full").labels.bincount().tolist() == TRAINING_COUNTS
    assert data.load("test").labels.bincount().tolist() == TEST_COUNTS


def test_first_labels():
    assert data.load("full").labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.load("test").labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_unknown_subset():
    with pytest.raises(ValueError, match="full, train, validation, test; got 'testing'"):
        data.load("testing")


# The split


def pairs(digits):
    """How often each image stands there with each label."""
    images = digits.images.numpy()
    return Counter(
        (image.tobytes(), label)
        for image, label in zip(images, digits.labels.tolist(), strict=True)
    )


def test_train_and_validation_are_disjoint_and_together_the_full_set():
    assert pairs(data.load("train", 28)) + pairs(data.load("validation", 28)) == pairs(
        data.load("full", 28)
    )


def test_split_is_stratified():
    validation = data.load("validation").labels.bincount().tolist()
    train = data.load("train").labels.bincount().tolist()
    for count, in_validation, in_train in zip(TRAINING_COUNTS, validation, train, strict=True):
        assert abs(in_validation - count / 12) < 1
        assert in_validation + in_train == count


def test_split_is_fixed():
    validation = data.load("validation", 28)
    assert validation.labels[:10].tolist() == VALIDATION_LABELS
    assert zlib.crc32(validation.images.numpy()) == VALIDATION_CHECKSUM


def test_both_parts_keep_the_official_order():
    full = data.load("full", 28)
    positions = {image.tobytes(): n for n, image in enumerate(full.images.numpy())}
    for subset in ("train", "validation"):
        found = [positions[image.tobytes()] for image in data.load(subset, 28).images.numpy()]
        assert found == sorted(found)


@pytest.mark.parametrize("subset", data.SUBSETS)
def test_tensors_are_the_callers_own(subset):
    digits = data.load(subset)
    first_image, first_label = digits.images[0].clone(), digits.labels[0].clone()
    digits.images.fill_(7)
    digits.labels.fill_(7)
    again = data.load(subset)
    assert torch.equal(again.images[0], first_image)
    assert torch.equal(again.labels[0], first_label)


# Resizing, padding, normalisation


def test_load_resizes():
    small, large = data.load("test", 28), data.load("test", 32)
    assert torch.equal(large.images, data.resize(small.images))


@pytest.mark.parametrize("size", [32, 20])
def test_resize_equals_torchvisions(size):
    images = data.load("test", 28).images[:500]
    resized = data.resize(images, size)
    assert resized.shape == (500, 1, size, size)
    assert torch.equal(resized, v2.Resize(size, antialias=True)(images))


@pytest.mark.parametrize("size, difference", [(32, 0), (20, 1)])
def test_resize_equals_pillows(size, difference):
    images = data.load("test", 28).images[:500]
    resized = data.resize(images, size)[:, 0].numpy()
    for image, ours in zip(images[:, 0].numpy(), resized, strict=True):
        theirs = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= difference


def test_pad_puts_images_in_the_middle():
    images = data.load("test", 28).images[:3]
    padded = data.pad(images)
    assert padded.shape == (3, 1, 32, 32)
    assert padded.dtype == torch.uint8
    assert torch.equal(padded[:, :, 2:30, 2:30], images)
    assert padded.long().sum() == images.long().sum()


def test_pad_with_an_odd_number_of_pixels():
    image = torch.tensor([[[[1, 2]]]])
    assert data.pad(image, 3).tolist() == [[[[0, 0, 0], [1, 2, 0], [0, 0, 0]]]]


def test_pad_refuses_larger_images():
    with pytest.raises(ValueError, match=r"at most 32×32 pixels.*\(1, 1, 33, 20\).*resize"):
        data.pad(torch.zeros(1, 1, 33, 20))


@pytest.mark.parametrize("size", [28, 32])
def test_mean_and_std(size):
    chunks = data.load("full", size).images.split(5_000)
    mean = sum((chunk.double() / 255).mean().item() for chunk in chunks) / len(chunks)
    squares = [((chunk.double() / 255 - mean) ** 2).mean().item() for chunk in chunks]
    std = (sum(squares) / len(squares)) ** 0.5
    assert data.mean_std(size) == pytest.approx((mean, std), rel=1e-9)


def test_constants_known_from_elsewhere():
    mean, std = data.mean_std(28)
    assert f"{mean:.4f} {std:.4f}" == "0.1307 0.3081"


@pytest.mark.parametrize("size", [28, 32])
def test_input_of_the_training_set_has_mean_0_and_std_1(size):
    chunks = data.load("full", size).images.split(5_000)
    inputs = [data.to_input(chunk) for chunk in chunks]
    assert inputs[0].dtype == torch.float32
    assert inputs[0].shape == chunks[0].shape
    mean = sum(part.double().mean() for part in inputs) / len(inputs)
    square = sum((part.double() ** 2).mean() for part in inputs) / len(inputs)
    assert mean.item() == pytest.approx(0, abs=1e-6)
    assert (square - mean**2).item() == pytest.approx(1, abs=1e-6)


def test_wider_images_are_normalised_as_those_of_their_height():
    wide = data.load("test").images[:4].reshape(1, 2, 64, 32).reshape(2, 1, 32, 64)
    mean, std = data.mean_std(32)
    torch.testing.assert_close(data.to_input(wide), (wide.float() / 255 - mean) / std)


def test_input_from_scaled_pixels_is_refused():
    with pytest.raises(TypeError, match="torch.uint8, got torch.float32: pass them as loaded"):
        data.to_input(torch.zeros(1, 1, 32, 32))


# The cache folder


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LENET_DATA", str(tmp_path))
    assert data.cache_folder() == tmp_path
    monkeypatch.setenv("LENET_DATA", "")
    assert data.cache_folder() == Path.home() / ".cache" / "lenet_utils"
    monkeypatch.delenv("LENET_DATA")
    assert data.cache_folder() == Path.home() / ".cache" / "lenet_utils"


def test_loading_fills_an_empty_cache_without_a_network(cache, no_network):
    assert len(data.load("test", 28).labels) == 10_000
    assert files(cache) == UNPACKED
    assert no_network == []


def test_a_whole_file_is_not_written_again(cache):
    data.load("test", 28)
    before = {file: file.stat().st_mtime_ns for file in cache.rglob("*ubyte")}
    forget()
    data.load("test", 28)
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*ubyte")} == before


def truncate(content):
    return content[:-1000]


def flip(content):
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", [truncate, flip, lambda content: b""])
def test_a_damaged_unpacked_file_is_repaired(cache, name, damage):
    good = data.load("test", 28)
    file = cache / "MNIST" / "raw" / name
    file.write_bytes(damage(file.read_bytes()))
    forget()
    again = data.load("test", 28)
    assert torch.equal(again.images, good.images)
    assert torch.equal(again.labels, good.labels)
    assert files(cache) == UNPACKED


def load_together(barrier, folder, results):
    os.environ["LENET_DATA"] = folder
    barrier.wait(timeout=300)
    results.put(zlib.crc32(data.load("full", 28).images.numpy()))


def test_eight_processes_on_one_empty_cache(tmp_path):
    expected = zlib.crc32(data.load("full", 28).images.numpy())
    # Where there is a fork server, it imports torch once for all eight.
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(["torchvision.datasets", "torchvision.transforms.v2"])
    barrier, results = context.Barrier(8), context.SimpleQueue()
    arguments = (barrier, str(tmp_path), results)
    processes = [context.Process(target=load_together, args=arguments) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert [results.get() for _ in processes] == [expected] * 8
    assert files(tmp_path) == UNPACKED


# What cannot be repaired is said clearly


@pytest.mark.parametrize("name, md5", MNIST.resources)
def test_a_corrupt_archive(cache, archives, no_network, name, md5):
    content = (archives / name).read_bytes()
    (archives / name).write_bytes(content[:100] + b"?" + content[101:])
    with pytest.raises(RuntimeError) as error:
        data.load("test", 28)
    assert str(archives / name) in str(error.value)
    assert f"damaged: its MD5 should be {md5}" in str(error.value)
    assert "git checkout -- lenet_utils/mnist" in str(error.value)
    assert no_network == []
    assert name.removesuffix(".gz") not in files(cache)


def test_a_missing_archive(cache, archives, no_network):
    name, md5 = MNIST.resources[0]
    (archives / name).unlink()
    with pytest.raises(RuntimeError) as error:
        data.load("test", 28)
    assert f"{archives / name} is missing: its MD5 should be {md5}" in str(error.value)
    assert "git checkout -- lenet_utils/mnist" in str(error.value)
    assert no_network == []
    assert files(cache) == set()


def test_a_corrupt_archive_is_noticed_even_with_a_whole_cache(cache, archives):
    data.load("test", 28)
    forget()
    (archives / MNIST.resources[0][0]).write_bytes(b"not an archive")
    with pytest.raises(RuntimeError, match="damaged"):
        data.load("test", 28)


def test_an_unusable_cache_folder(monkeypatch, cache, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LENET_DATA", str(tmp_path / "file"))
    with pytest.raises(RuntimeError, match="cannot unpack MNIST into .*LENET_DATA"):
        data.load("test", 28)
    assert (tmp_path / "file").read_text() == "in the way"


# Root may write everywhere, so the rest runs as nobody; any other account runs it as itself.
# It loads once before, with all that this imports, since nobody may not be allowed to read Python.
LOAD_AS_NOBODY = """
import os, sys
from lenet_utils import data
data.load("test", 28)
data._mnist.cache_clear()
os.environ["LENET_DATA"] = sys.argv[1]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(data.__file__, data.load("test", 28))
"""


def load_as_nobody(installed, cache):
    return subprocess.run(
        [sys.executable, "-B", "-c", LOAD_AS_NOBODY, str(cache)],
        cwd=installed,  # where Python looks for packages first
        capture_output=True,
        text=True,
    )


@pytest.fixture
def installed():
    """A folder with a copy of the package, both read-only."""
    if not hasattr(os, "setuid"):
        pytest.skip("Windows has no such permissions")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "lenet_utils", folder / "lenet_utils", ignore=ignored)
        everything = [folder, *folder.rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in everything:
            path.chmod(0o755)


@pytest.fixture
def open_folder():
    """An empty folder in which everybody may write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def tree(folder):
    return {
        str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def test_read_only_package(installed, open_folder):
    before = tree(installed)
    result = load_as_nobody(installed, open_folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(installed))
    assert "images=(10000, 1, 28, 28)" in result.stdout
    assert tree(installed) == before
    assert files(open_folder) == UNPACKED


def test_read_only_cache_folder(installed, open_folder):
    open_folder.chmod(0o555)
    result = load_as_nobody(installed, open_folder)
    assert "RuntimeError: cannot unpack MNIST into" in result.stderr
    assert "LENET_DATA" in result.stderr
    assert files(open_folder) == set()


def test_unreadable_file_in_the_cache_is_replaced(installed, open_folder):
    assert load_as_nobody(installed, open_folder).returncode == 0
    (open_folder / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").chmod(0)
    result = load_as_nobody(installed, open_folder)
    assert result.returncode == 0, result.stderr
    assert files(open_folder) == UNPACKED
