"""The drawing pad without a browser: pixels of strokes, answers, what is kept."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lenet_utils import data, pad
from lenet_utils.models import LeNet

SEVEN = [{"width": 20, "points": [[80, 60], [200, 60], [130, 230]]}]
ONE = [{"width": 20, "points": [[140, 50], [140.5, 230]]}]


def edges(picture):
    """First and last row and column with ink."""
    return [int(np.flatnonzero(picture.any(axis))[end]) for axis in (1, 0) for end in (0, -1)]


def answer(pad, strokes, number=1):
    pad.drawing = {"number": number, "strokes": strokes}
    return pad.answer


@pytest.fixture(scope="module")
def trained():
    return pad.Pad()


@pytest.fixture
def kept(trained):
    """A pad with three drawings kept, one of them without a label."""
    trained.kept.clear()
    for label, strokes in ((7, SEVEN), (None, ONE), (1, ONE)):
        trained._handle_custom_msg({"label": label, "strokes": strokes}, [])
    return trained


# Pixels


def test_a_line_has_its_place_its_width_and_round_ends():
    picture = pad.drawn([{"width": 20, "points": [[40, 60], [40, 160]]}])
    assert (picture.dtype, picture.shape, picture.max()) == (np.uint8, (280, 280), 255)
    assert edges(picture) == [50, 169, 30, 49]  # x goes to the right, y down
    assert picture[100].sum() == 20 * 255
    assert picture[51].sum() < 12 * 255  # near an end it is narrower
    assert picture.sum() / 255 == pytest.approx(20 * 100 + np.pi * 10**2, rel=0.01)


def test_a_tap_is_a_round_dot():
    picture = pad.drawn([{"width": 30, "points": [[100, 50]]}])
    assert edges(picture) == [35, 64, 85, 114]
    dot = picture[35:65, 85:115]
    assert (dot == dot.T).all() and (dot == dot[::-1]).all()
    assert dot.sum() / 255 == pytest.approx(np.pi * 15**2, rel=0.01)


def test_a_joint_is_round_and_edges_are_smooth():
    """Straight ends alone would leave out the corner's outside."""
    picture = pad.drawn([{"width": 40, "points": [[60, 200], [140, 60], [220, 200]]}])
    assert picture[41:44, 138:142].min() == 255 and edges(picture)[0] == 40
    assert len(np.unique(picture)) > 3
    assert not pad.drawn([]).any() and not pad.drawn([{"width": 20, "points": []}]).any()


def test_strokes_outside_the_paper_are_cut_off():
    picture = pad.drawn([{"width": 20, "points": [[-50, 100], [400, 100]]}])
    assert edges(picture) == [90, 109, 0, 279]


# Answers


def test_an_answer(trained):
    found = answer(trained, SEVEN, number=5)
    assert re.fullmatch(r"The network reads 7 \(\d\d %\)\.", found["text"])
    assert found["image"] == data.prepare(pad.drawn(SEVEN)).flatten().tolist()
    assert len(found["probabilities"]) == 10 and sum(found["probabilities"]) == pytest.approx(1)
    assert f"({100 * found['probabilities'][7]:.0f} %)" in found["text"]
    assert found["number"] == 5 and answer(trained, SEVEN, number=6) == {**found, "number": 6}
    assert json.dumps(found)


def test_a_model_with_a_softmax_gives_probabilities_already():
    torch.manual_seed(0)
    model = LeNet(softmax=True)
    with torch.no_grad():
        outputs = model(data.to_input(data.prepare(pad.drawn(ONE))))
    assert answer(pad.Pad(model), ONE)["probabilities"] == pytest.approx(outputs[0].tolist())


def test_another_way_to_prepare():
    found = answer(pad.Pad(prepare=data.resize), ONE)
    assert found["image"] == data.resize(pad.drawn(ONE)).flatten().tolist()


@pytest.mark.parametrize(
    "limit, text", [(0.4, "The network reads"), (0.6, "I don't know. Perhaps")]
)
def test_doubt_is_asked_about_the_outputs(limit, text):
    """A model that gives a 3 half of the probability, and the others the rest."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    nn.init.constant_(model[1].bias[3], float(np.log(9)))
    doubting = pad.Pad(model, doubt=lambda outputs: outputs.softmax(1).max().item() < limit)
    assert answer(doubting, SEVEN)["text"] == f"{text} 3 (50 %)."
    assert doubting.answer["probabilities"] == pytest.approx(
        [0.5 if n == 3 else 1 / 18 for n in range(10)]
    )
    assert answer(doubting, [], 2)["text"] == "Draw a digit."  # about no ink there is no doubt


EMPTY = {"image": [], "probabilities": []}


@pytest.mark.parametrize("strokes", [[], [{"width": 9, "points": [[-80, -80]]}]])
def test_without_ink(trained, strokes):
    assert pad.Pad(nn.Identity()).answer["text"] == "Draw a digit."
    answer(trained, SEVEN)
    assert answer(trained, strokes, 2).items() >= {"text": "Draw a digit.", **EMPTY}.items()


def raising(error):
    def prepare(picture):
        raise error

    return prepare


@pytest.mark.parametrize(
    "error, text",
    [(ValueError("no ink"), "no ink"), (RuntimeError("boom"), "RuntimeError: boom")]
    + [(OSError("no disk"), "OSError: no disk")],
)
def test_what_prepare_raises_is_said(error, text):
    found = answer(pad.Pad(prepare=raising(error)), SEVEN)
    assert found == {"number": 1, "text": text, "kept": "0 kept", **EMPTY}
    assert answer(pad.Pad(doubt=raising(error)), SEVEN)["text"] == text


@pytest.mark.parametrize("outputs, bias", [(9, 0.0), (10, float("nan"))])
def test_outputs_that_are_no_answer(outputs, bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, outputs))
    nn.init.constant_(model[1].bias, bias)
    found = answer(pad.Pad(model), SEVEN)
    assert found["text"].startswith("expected ten finite outputs, got [[")
    assert found["probabilities"] == [] and len(found["image"]) == 1024


# What is kept


def test_kept_drawings_in_a_file(kept, tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.expanduser", lambda path: tmp_path / path.name)
    assert kept.answer["kept"] == "3 kept, 1 without a label"
    assert kept.kept[0] == {"label": 7, "strokes": SEVEN}
    kept.save("~/mine.json")
    assert len((tmp_path / "mine.json").read_text("utf-8").splitlines()) == 5
    assert pad.load_drawings("~/mine.json") == kept.kept
    before, other = list(kept.kept), {"label": 2, "strokes": ONE + SEVEN}
    kept.save("~/mine.json")  # not twice
    assert pad.load_drawings("~/mine.json") == before
    kept.kept[:] = [other, before[0]]  # as after a restart: what is in the file stays
    kept.save("~/mine.json")
    assert pad.load_drawings("~/mine.json") == [*before, other]
    kept.kept.clear()
    with pytest.raises(ValueError, match="expected kept drawings, there are none: press Keep"):
        kept.save("~/mine.json")
    (tmp_path / "letter.json").write_text("Dear reader")
    kept.kept[:] = [other]
    with pytest.raises(ValueError, match="letter.json is damaged, or was not written by Pad"):
        kept.save("~/letter.json")
    assert (tmp_path / "letter.json").read_text() == "Dear reader"


def test_what_cannot_be_written_or_is_not_there(kept, tmp_path):
    with pytest.raises(OSError, match="name a file in a folder that exists"):
        kept.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        pad.load_drawings(tmp_path / "none.json")


def changed(**parts):
    return [{"label": 1, "strokes": ONE}, {"label": 7, "strokes": SEVEN, **parts}]


OTHER = [{}, 3, None, "text", [3], [[]], [{}], [{"label": 1}], changed(strokes=[])]
OTHER += [changed(label=label) for label in (10, -1, 1.0, True, "1", [1])]
OTHER += [changed(strokes=strokes) for strokes in (3, "abc", {}, [3], [{}], [{"width": 9}])]
POINTS = ([], 3, "ab", [3], [[1]], [[1, 2, 3]], [["1", 2]], [[None, 2]], [[1, 2], [True, 2]])
POINTS += ([[1e99, 2]], [[float("nan"), 2]], [[2, float("inf")]])
OTHER += [changed(strokes=[{"width": 9, "points": points}]) for points in POINTS]
WIDTHS = (0, 0.4, -9, "9", None, float("nan"), 1e99, 281)
OTHER += [changed(strokes=[{"width": width, "points": [[1, 2]]}]) for width in WIDTHS]
GOOD = {"width": 9, "points": [[1, 2]]}
OTHER += [changed(strokes=[GOOD, {"points": []}]), changed(strokes=[{**GOOD, "points": []}, GOOD])]
CONTENT = [json.dumps(other).encode() for other in OTHER]
CONTENT += [b"", b"[", b"\xff", b"[" * 100_000, json.dumps(changed()).encode()[:-9]]


@pytest.mark.parametrize("content", CONTENT, ids=lambda content: content[-70:].decode("latin1"))
def test_a_file_of_something_else(tmp_path, content):
    path = tmp_path / "drawings.json"
    path.write_bytes(json.dumps(changed()).encode())
    assert pad.load_drawings(path) == changed()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"drawings\.json is damaged, or was not written by Pad"):
        pad.load_drawings(path)


def test_those_with_a_label_become_digits(kept):
    digits = pad.to_digits(kept.kept)
    assert digits.labels.tolist() == [7, 1]
    assert (digits.images.dtype, digits.labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(digits.images[:1], data.prepare(pad.drawn(SEVEN)))
    assert torch.equal(digits.images[1:], data.prepare(pad.drawn(ONE)))
    other = pad.to_digits(kept.kept, data.resize)
    assert torch.equal(other.images[1:], data.resize(pad.drawn(ONE)))
    with pytest.raises(ValueError, match="expected drawings with a label, got 1 without"):
        pad.to_digits(kept.kept[1:2])
    outside = {"label": 5, "strokes": [{"width": 9, "points": [[900, 900]]}]}
    with pytest.raises(ValueError, match="drawing 3 of those with a label: expected ink on paper"):
        pad.to_digits([*kept.kept, outside])


# In a notebook


def test_its_text_is_the_same_in_every_run():
    made = pad.Pad(nn.Identity())
    bundle, _ = made._repr_mimebundle_()
    assert bundle["text/plain"] == repr(made) == "Pad(draw a digit)"
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == made.model_id


def test_nothing_is_loaded_from_elsewhere():
    texts = {path.name: path.read_text("utf-8") for path in pad.WEB.iterdir()}
    assert texts.keys() >= {"drawing.js", "pad.css", "pad.js"}
    elsewhere = r"//\w+\.|https?:|@import|url\(|^import|fetch\(|import\("
    assert [name for name, text in texts.items() if re.search(elsewhere, text, re.M)] == []
    assert "export" not in re.sub("//.*", "", texts["drawing.js"])


def test_on_colab_the_manager_of_widgets_is_asked_for(tmp_path):
    stub = tmp_path / "google" / "colab" / "output"
    stub.mkdir(parents=True)
    (stub.parent / "__init__.py").touch()
    text = "def enable_custom_widget_manager():\n    print('asked')\n\nclass _widgets:\n"
    (stub / "__init__.py").write_text(f"{text}    _installed_url = 'place'\n")
    program = "import google.colab.output; from lenet_utils.pad import Pad; p = Pad(); "
    result = subprocess.run(
        [sys.executable, "-c", f"{program}print(*p._repr_mimebundle_())"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
    )
    asked, bundle = result.stdout.splitlines()
    assert (asked, result.stderr) == ("asked", "")
    assert "Pad(draw a digit)" in bundle and "'url': 'place'" in bundle
