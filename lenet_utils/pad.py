"""A pad to draw digits on: in a notebook the network answers while one draws.

A drawing is a list of strokes, {"width": 20, "points": [[x, y], …]}, in a square of 280 by 280
units, x to the right, y down. `drawn` makes its pixels, the same for every browser.
"""

import json
from collections.abc import Callable
from pathlib import Path

import anywidget
import numpy as np
import torch
from numpy import ndarray
from PIL import Image, ImageDraw
from torch import Tensor, nn
from traitlets import Dict, observe

from . import data, training
from .evaluation import predict
from .files import writable, write_whole

NETWORK = "robust"  # the one that ships which answers if none is given
SIDE = 280
WEB = Path(__file__).with_name("web")  # what runs in the browser
Prepare = Callable[[ndarray], Tensor]
Doubt = Callable[[Tensor], bool]


def drawn(strokes: list[dict]) -> ndarray:
    """Strokes → uint8 (280, 280), 0 (paper) to 255 (ink), with smooth edges and round ends."""
    sheet = Image.new("L", (2 * SIDE, 2 * SIDE))  # shrunk at the end, which smooths edges
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        radius = stroke["width"] - 0.5  # from centre to centre of the outermost pixels
        points = [(2 * x - 0.5, 2 * y - 0.5) for x, y in stroke["points"]]
        pen.line(points, fill=255, width=round(2 * stroke["width"]))
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.array(sheet.reduce(2))


class Pad(anywidget.AnyWidget):
    """Paper to draw a digit on, and beside it what the network gets and answers.

    model    an nn.Module with ten outputs, logits or (LeNet(softmax=True)) probabilities; a
             network that ships if left out
    prepare  makes of a picture, as `drawn` returns it, uint8 (1, 1, 32, 32)
    doubt    of the model's outputs (1, 10), whether to say "I don't know"; never, if left out

    `kept` is a list of the drawings kept: dicts {"label": 0 to 9 or None, "strokes": […]}. What
    `prepare`, the model or `doubt` raises is shown as the answer.
    """

    # The browser gets one program: the paper, the answer, and what connects them with Python.
    _esm = "\n".join(
        (WEB / name).read_text("utf-8") for name in ("drawing.js", "answer.js", "pad.js")
    )
    _css = (WEB / "pad.css").read_text("utf-8")
    # From the browser, and back; an answer has the number of the drawing that it is about.
    drawing = Dict({"number": 0, "strokes": []}).tag(sync=True, echo_update=False)
    answer = Dict().tag(sync=True)

    def __init__(
        self,
        model: nn.Module | None = None,
        prepare: Prepare = data.prepare,
        doubt: Doubt = lambda outputs: False,
    ) -> None:
        super().__init__()
        self.model = training.shipped(NETWORK).model if model is None else model
        self.prepare, self.doubt, self.kept = prepare, doubt, []
        self.on_msg(self._keep)
        self._answer()

    def __repr__(self) -> str:
        return "Pad(draw a digit)"  # the same in every run

    def save(self, path: str | Path) -> None:
        """Add the kept drawings to a file, JSON with one a line; what is in it stays.

        Raises ValueError if none is kept or the file is something else; OSError if it cannot write.
        """
        if not self.kept:
            raise ValueError("expected kept drawings, there are none: press Keep after drawing")
        there = load_drawings(path) if Path(path).expanduser().is_file() else []
        new = [drawing for drawing in self.kept if drawing not in there]
        lines = ",\n".join(json.dumps(drawing) for drawing in there + new)
        write_whole(writable(path), f"[\n{lines}\n]\n".encode())

    @observe("drawing")
    def _answer(self, _=None) -> None:
        answer = {"number": self.drawing["number"], "text": "Draw a digit."}
        answer |= {"image": [], "probabilities": []}
        try:
            picture = drawn(self.drawing["strokes"])
            if picture.any():
                prepared = self.prepare(picture)
                answer["image"] = prepared.flatten().tolist()
                outputs = predict(self.model, prepared)
                if outputs.shape != (1, 10) or not outputs.isfinite().all():
                    raise ValueError(f"expected ten finite outputs, got {outputs.tolist()}")
                softmax = getattr(self.model, "softmax", False)
                shares = (outputs if softmax else outputs.softmax(1))[0].tolist()
                digit = int(outputs.argmax())
                reads = "I don't know. Perhaps" if self.doubt(outputs) else "The network reads"
                answer["probabilities"] = shares
                answer["text"] = f"{reads} {digit} ({100 * shares[digit]:.0f} %)."
        except Exception as error:  # elsewhere nobody would see it
            name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            answer["text"] = f"{name}{error}"
        self.answer = {**answer, "kept": self._count()}

    def _keep(self, _, content: dict, buffers: list) -> None:
        self.kept.append({name: content[name] for name in ("label", "strokes")})
        self.answer = {**self.answer, "kept": self._count()}

    def _count(self) -> str:
        without = sum(drawing["label"] is None for drawing in self.kept)
        return f"{len(self.kept)} kept" + (f", {without} without a label" if without else "")


def load_drawings(path: str | Path) -> list[dict]:
    """The drawings in a file that `Pad.save` wrote, as they were in `kept`.

    Raises FileNotFoundError; ValueError for a file that is damaged or something else.
    """
    content = Path(path).expanduser().read_bytes()
    try:
        drawings = json.loads(content)
        if isinstance(drawings, list) and all(map(_is_drawing, drawings)):
            return drawings
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ValueError(f"{path} is damaged, or was not written by Pad.save: save the drawings again")


def _is_drawing(drawing: dict) -> bool:
    """Whether it is; TypeError, KeyError or ValueError for most of what has other parts."""
    for stroke in drawing["strokes"]:
        numbers = [stroke["width"], *(n for x, y in stroke["points"] for n in (x, y))]
        known = all(type(n) in (int, float) and abs(n) < 10_000 for n in numbers)
        if not (known and stroke["points"] and 1 <= stroke["width"] <= SIDE):
            return False
    known = type(drawing["label"]) is int and 0 <= drawing["label"] <= 9 or drawing["label"] is None
    return len(drawing["strokes"]) > 0 and known


def to_digits(drawings: list[dict], prepare: Prepare = data.prepare) -> data.Digits:
    """Those drawings that have a label, prepared.

    Raises ValueError if there is none, and, with its number, for one that cannot be prepared.
    """
    labelled = [drawing for drawing in drawings if drawing["label"] is not None]
    if not labelled:
        raise ValueError(
            f"expected drawings with a label, got {len(drawings)} without: choose it before Keep"
        )
    images = []
    for number, drawing in enumerate(labelled, start=1):
        try:
            images.append(prepare(drawn(drawing["strokes"])))
        except ValueError as error:
            raise ValueError(f"drawing {number} of those with a label: {error}") from error
    return data.Digits(torch.cat(images), torch.tensor([drawing["label"] for drawing in labelled]))
