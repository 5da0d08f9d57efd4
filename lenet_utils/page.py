"""A web page of one file that reads a drawn digit, the network in it, in any browser, offline.

python -m lenet_utils.page digit.html
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from . import training
from .data import MEAN, STD
from .files import writable, write_whole
from .models import LeNet

NETWORK = "robust"  # the one that ships which reads if none is given
WEB = Path(__file__).with_name("web")
SCRIPTS = ("drawing.js", "answer.js", "prepare.js", "lenet.js", "page.js")
STYLES = ("pad.css", "page.css")


def html(model: LeNet | None = None) -> str:
    """The page, its parts put into web/page.html; what runs is allowed by its SHA-256 alone.

    model  the network that ships and is for other people's digits if left out
    """
    model = training.shipped(NETWORK).model if model is None else model
    if not isinstance(model, LeNet):
        raise TypeError(
            f"expected a LeNet, which web/lenet.js computes, got {type(model).__name__}"
        )
    parameters = [p.detach().cpu().float().numpy().ravel() for p in model.parameters()]
    values = b"".join(p.astype("<f4").tobytes() for p in parameters)
    data = {
        "parameters": base64.b64encode(values).decode(),
        "normalisation": [MEAN, STD],
        "examples": json.loads((training.SHIPPED / "drawings.json").read_text("utf-8")),
    }
    parts = {"data": json.dumps(data, separators=(",", ":"))}
    for kind, names in {"script": SCRIPTS, "style": STYLES}.items():
        parts[kind] = "\n".join((WEB / name).read_text("utf-8") for name in names)
        digest = hashlib.sha256(parts[kind].encode()).digest()
        parts[f"{kind}-hash"] = f"sha256-{base64.b64encode(digest).decode()}"
    page = (WEB / "page.html").read_text("utf-8")
    for name, part in parts.items():
        page = page.replace(f"[{name}]", part)
    return page


def write(path: str | Path, model: LeNet | None = None) -> int:
    """Write the page, as `html` makes it, into a file; return its size in bytes."""
    content = html(model).encode()
    write_whole(writable(path), content)
    return len(content)


if __name__ == "__main__":
    print(f"{write(sys.argv[1]):,} bytes")
