"""Record the notebooks: run them, store their outputs, and write pictures/ from these.

    python tools/record.py                                  all chapters and solutions
    python tools/record.py notebooks/02_architecture.ipynb  one of them, or several

First writes what is generated (tools/frame.py). Then runs each notebook from top to bottom, one
after the other, in a kernel of this Python that tools/isolation.py shuts off from settings, and
replaces its file only if every cell succeeded. Figures are stored with 256 colours, which makes
them small. Widgets (progress bars) are left out of cells that are not compared; in others the lint
finds them. A cell with "picture": "name.png" in its metadata has its figure written to
pictures/name.png. Versions, processor and seconds, rounded up to tens, are kept in the notebook's
metadata.

In the same environment, recording again changes only the outputs of cells tagged
nbval-ignore-output, and perhaps the seconds.
"""

import argparse
import base64
import io
import math
import time
from pathlib import Path

import frame
from isolation import isolate
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from lenet_utils.files import write_whole
from lenet_utils.lesson import versions

PICTURES = frame.ROOT / "pictures"
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_METADATA = {"cellView", "jupyter", "picture", "sourced", "tags"}
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


def record(path: Path) -> float:
    """Run and rewrite one notebook; return the seconds it took."""
    notebook = frame.read(path)
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in CELL_METADATA}
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=1800,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    seconds = time.perf_counter() - start
    for cell in frame.code_cells(notebook):
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if not is_widget(output)]
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)  # its text stays, which nbval compares
            if picture := output.get("data", {}).get("image/png"):
                small = with_256_colours(base64.b64decode(picture))
                output.data["image/png"] = base64.b64encode(small).decode()
    recorded = {"seconds": 10 * math.ceil(seconds / 10), **versions()}
    notebook.metadata = {**NOTEBOOK_METADATA, "recorded": recorded}
    cells = [cell for cell in notebook.cells if "picture" in cell.metadata]
    pictures = {PICTURES / cell.metadata["picture"]: png(cell) for cell in cells}
    frame.write(notebook, path)
    for picture, content in pictures.items():
        write_whole(picture, content)
    return seconds


def is_widget(output: dict) -> bool:
    return WIDGET in output.get("data", {})


def with_256_colours(png: bytes) -> bytes:
    """The same picture, opaque, in as many colours as the eye needs; without metadata."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    small = io.BytesIO()
    opaque.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def png(cell: dict) -> bytes:
    """The one figure among a cell's outputs, as the bytes of a PNG file."""
    images = [
        output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    if len(images) != 1:
        raise SystemExit(f"expected one figure for a picture, got {len(images)} from {cell.source}")
    return base64.b64decode(images[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "notebook", nargs="*", type=Path, help="notebooks to record; all if none is named"
    )
    paths = parser.parse_args().notebook or [*frame.chapters(), *frame.solutions()]
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    frame.main()
    for path in paths:
        try:
            print(f"{path.name}: {record(path.resolve()):.0f} s", flush=True)
        except CellExecutionError as error:
            raise SystemExit(
                f"{path.name}: a cell failed, the file is as it was.\n{error}"
            ) from None
    frame.main()  # the seconds may be others


def isolated_main() -> None:
    with isolate():
        main()


if __name__ == "__main__":
    isolated_main()
