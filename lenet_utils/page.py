"""A web page of one file that reads a drawn digit, the network in it, in any browser, offline.

python -m lenet_utils.page digit.html
"""

import argparse
import base64
import hashlib
import json
import re
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
    return re.sub(r"\[([a-z-]+)\]", lambda place: parts[place[1]], page)


def write(path: str | Path, model: LeNet | None = None) -> int:
    """Write the page, as `html` makes it, into a file; return its size in bytes."""
    content = html(model).encode()
    write_whole(writable(path), content)
    return len(content)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m lenet_utils.page", description=__doc__)
    parser.add_argument("path", help="of the file to write")
    parser.add_argument("--network", default=NETWORK, help="one that ships (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        print(f"{write(given.path, training.shipped(given.network).model):,} bytes")
    except (OSError, TypeError) as error:  # each says what to do
        parser.error(str(error))


if __name__ == "__main__":
    main()
