"""What chapter 12 writes out: running a file, timing, quantising, fewer bits, fingerprints.

The functions are those of its cells, found by their ids. Each check is also run on copies that are
broken on purpose, and must notice.
"""

import base64
import copy
import hashlib
import json
import re
import tempfile
import time
import types

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cells import Checks
from IPython.display import Markdown
from onnxruntime import quantization
from onnxruntime.quantization.quant_utils import quantize_nparray
from test_page import BROKEN, same_answers

from lenet_utils import data, evaluation, page, training

ROBUST = training.shipped("robust").model.eval()
IMAGES = data.load("validation").images[:60]
CHECKS = Checks(
    12,
    "session speed quantise calibrate int8-weights steps javascript policy-holds few-bits",
    **{"base64": base64, "copy": copy, "data": data, "hashlib": hashlib, "np": np, "page": page},
    **{"json": json, "tempfile": tempfile},
    **{"quantization": quantization, "onnxruntime": onnxruntime, "re": re, "time": time},
    **{"torch": torch, "robust": ROBUST, "Markdown": Markdown},
)
notices = CHECKS.notices


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(tmp_path_factory.mktemp("onnx"))


def export(folder):
    """By the chapter's own cells, without what they print."""
    path = folder / "lenet5.onnx"
    if not path.exists():
        names = {"data": data, "onnx": onnx, "torch": torch, "robust": ROBUST}
        names |= {"test": types.SimpleNamespace(images=IMAGES), "print": lambda *_: None}
        names["writable"] = lambda name: folder / name
        for cell in ("export", "onnx-write"):
            exec(CHECKS.cells[cell].source, names)
    return path


class Session:
    """Answers as onnxruntime's sessions do, and says what it was given."""

    def __init__(self):
        self.given = []

    def run(self, names, inputs):
        (images,) = inputs.values()
        self.given.append((names, list(inputs), images.shape, images.dtype))
        with torch.no_grad():
            return [ROBUST(torch.from_numpy(images)).numpy()]


@notices(
    ("session", "images.split(batch_size)", "images[:25].split(batch_size)"),
    ("session", "data.to_input(batch)", "batch.float()"),
    ("session", "np.concatenate(outputs)", "np.concatenate(outputs[::-1])"),
)
def a_file_is_run_on_all_images_in_batches(chapter):
    session = Session()
    logits = chapter.run(session, IMAGES, batch_size=25)
    assert session.given == [
        (["logits"], ["images"], (n, 1, 32, 32), np.float32) for n in (25, 25, 10)
    ]
    assert (logits - evaluation.predict(ROBUST, IMAGES)).abs().max() < 1e-5


@notices(
    ("speed", "1000000.0 * min", "1000.0 * min"),
    ("speed", "/ len(images)", "/ 1"),
    ("speed", "min(of)", "sum(of)"),
)
def times_are_microseconds_for_an_image(chapter):
    waits = {"short": 0.002, "long": 0.006}
    programs = {name: lambda _, wait=wait: time.sleep(wait) for name, wait in waits.items()}
    times = chapter.microseconds(programs, IMAGES[:4], calls=3)
    assert times.keys() == waits.keys()
    for name, wait in waits.items():
        assert 0.9e6 * wait / 4 < times[name] < 4e6 * wait / 4


@notices(
    ("quantise", "/ 255", "/ 256"),
    ("quantise", "+ zero_point", "+ 0"),
    ("quantise", "round(-low / scale)", "0"),
    ("quantise", ".clamp(0, 255)", ""),
)
def whole_numbers_come_back_within_half_a_step(chapter):
    torch.manual_seed(0)
    for low, high in ((-1.0, 3.0), (0.0, 5.5), (-0.42, 2.13)):
        values = torch.cat([torch.tensor([low, high, 0.0]), low + (high - low) * torch.rand(500)])
        whole, scale, zero_point = chapter.quantise(values, low, high)
        assert whole.dtype == torch.uint8 and scale == pytest.approx((high - low) / 255)
        back = scale * (whole.float() - zero_point)
        assert back[2] == 0 and (back - values)[2:].abs().max() <= scale * 0.501
        outside, *_ = chapter.quantise(torch.tensor([high + 9, low - 9]), low, high)
        assert outside.tolist() == [255, 0]
        theirs = quantize_nparray(
            *(onnx.TensorProto.UINT8, values.numpy(), np.float32(scale)),
            np.uint8(zero_point),
        )
        assert (whole.int() - torch.from_numpy(theirs).int()).abs().max() <= 1


@notices(
    ("int8-weights", "/ 127", "/ 128"),
    ("int8-weights", "values.abs().max()", "values.max()"),
)
def weights_are_quantised_evenly_around_zero(chapter):
    values = torch.tensor([[0.3, -2.54], [0.0, 1.0]])
    whole, scale = chapter.symmetric(values)
    assert whole.dtype == torch.int8 and whole.tolist() == [[15, -127], [0, 50]]
    assert scale.item() == pytest.approx(0.02)


@notices(
    ("calibrate", "images[:500]", "images[:50]"),
    ("calibrate", "'train'", "'test'"),
    (
        "calibrate",
        "data.to_input(data.load('train').images[:500])",
        "data.load('train').images[:500]",
    ),
)
def ranges_are_noted_on_training_images(chapter):
    reader = chapter.Calibration()
    batches = list(iter(reader.get_next, None))
    images = np.concatenate([batch["images"] for batch in batches])
    expected = data.to_input(data.load("train").images[:500]).numpy()
    assert np.array_equal(images, expected) and reader.get_next() is None


@notices(
    ("steps", "/ len(images)", "/ 1"),
    ("steps", "_kernel_time", "_time"),
    ("steps", "min(of)", "sum(of)"),
    ("steps", "range(calls)", "range(1)"),
)
def the_time_of_each_step_is_that_of_its_fastest_call(chapter):
    notes = [("Conv", "a_kernel_time", 70), ("Conv", "b_kernel_time", 30), ("", "run_time", 999)]

    class Profiled:
        def __init__(self, path, options, providers):
            self.path, self.notes = options.profile_file_prefix, []
            assert options.enable_profiling and options.intra_op_num_threads == 1

        def run(self, names, inputs):
            late = 10 if len(self.notes) != 3 else 0  # the second of the calls is the fastest
            self.notes += [
                {"name": name, "args": {"op_name": kind}, "dur": took + late}
                for kind, name, took in notes
            ]

        def end_profiling(self):
            with open(self.path, "w") as file:
                json.dump(self.notes, file)
            return self.path

    chapter.onnxruntime = types.SimpleNamespace(
        SessionOptions=onnxruntime.SessionOptions, InferenceSession=Profiled
    )
    assert chapter.steps_of("x.onnx", IMAGES[:10], calls=3) == [("Conv", 7.0), ("Conv", 3.0)]


@notices(
    ("few-bits", "bits - 1", "bits"),
    ("few-bits", "parameter.dim() > 1", "True"),
    ("few-bits", "copy.deepcopy(model)", "model"),
)
def fewer_bits_leave_fewer_weights(chapter):
    model = copy.deepcopy(ROBUST)
    for bits in (2, 3, 8):
        few = chapter.rounded(model, bits)
        for before, after in zip(model.parameters(), few.parameters(), strict=True):
            if before.dim() == 1:
                assert torch.equal(before, after)
            else:
                assert 1 < len(after.unique()) <= 2**bits - 1
                step = before.abs().max() / (2 ** (bits - 1) - 1)
                assert (before - after).abs().max() <= 0.501 * step
    for before, after in zip(ROBUST.parameters(), model.parameters(), strict=True):
        assert torch.equal(before, after)


@notices(
    ("javascript", "```javascript", "```python"),
    ("javascript", "found[0]", "found[0][:-1]"),
)
def an_excerpt_is_what_runs(chapter):
    shown = chapter.javascript("lenet.js", "convolve").data
    language, source = shown.removesuffix("\n```").split("\n", 1)
    assert language == "```javascript" and source in page.html()
    assert source.startswith("/** Convolution and ReLU") and source.endswith("  return result;\n}")
    assert source.count("for (let") == 6 and source.count("function ") == 1


@notices(
    ("policy-holds", "sha256(", "sha512("),
    ("policy-holds", "text.encode()", "text.strip().encode()"),
)
def a_fingerprint_is_the_browsers(chapter):
    """The example of the standard, Content Security Policy Level 3, section 8.1."""
    assert chapter.fingerprint("alert('Hello, world.');") == (
        "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
    )
    assert chapter.fingerprint("a ") != chapter.fingerprint("a")


test_chapter, test_what_is_broken_is_noticed = CHECKS.tests()


# The files


def test_the_exported_file_runs_any_batch_on_one_thread(exported):
    chapter = CHECKS.chapter()
    session = chapter.open_session(exported)
    assert session.get_session_options().intra_op_num_threads == 1
    assert [input.shape for input in session.get_inputs()] == [["batch", 1, 32, 32]]
    for count in (1, 7, 60):
        logits = chapter.run(session, IMAGES[:count])
        assert (logits - evaluation.predict(ROBUST, IMAGES[:count])).abs().max() < 1e-5


def test_the_export_as_colab_has_it_says_nothing(exported, tmp_path, recwarn, capfd):
    assert export(tmp_path).stat().st_size < 300_000
    captured = capfd.readouterr()
    assert (captured.out, captured.err, [str(warning.message) for warning in recwarn]) == (
        "",
        "",
        [],
    )


def test_what_the_chapter_says_of_the_pages_tests():
    cell = CHECKS.cells["same-page-text"].source
    assert len(BROKEN) == 18 and "eighteen ways" in cell
    assert same_answers.__defaults__ == ("robust", 2_000) and "2,000 test images" in cell
