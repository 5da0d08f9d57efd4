"""Record the notebooks: run them, store their outputs, and write pictures/ from these.

    python tools/record.py                                  all chapters and solutions
    python tools/record.py notebooks/02_architecture.ipynb  one of them, or several

Runs each notebook from top to bottom in a kernel of this Python, on the CPU, and replaces its file
only if every cell succeeded. Widgets (progress bars) are left out of cells that are not compared;
in others the lint finds them. A cell with "picture": "name.png" in its metadata has its figure
written to pictures/name.png. In the same environment, recording again changes only the outputs of
cells tagged nbval-ignore-output.
"""

import argparse
import base64
import os
import time
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lenet_utils.data import write_whole
from notebooks import PICTURES, all_notebooks, read, write

KEPT_METADATA = {"tags", "picture"}


def record(path: Path) -> float:
    """Run and rewrite one notebook; return the seconds it took."""
    notebook = read(path)
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_METADATA}
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
    for cell in notebook.cells:
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if not is_widget(output)]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
    }
    cells = [cell for cell in notebook.cells if "picture" in cell.metadata]
    pictures = {PICTURES / cell.metadata["picture"]: png(cell) for cell in cells}
    write(notebook, path)
    for picture, content in pictures.items():
        write_whole(picture, content)
    return seconds


def is_widget(output: dict) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


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
    paths = parser.parse_args().notebook or all_notebooks()
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    os.environ["LENET_DEVICE"] = "cpu"
    for path in paths:
        try:
            print(f"{path.name}: {record(path.resolve()):.0f} s", flush=True)
        except CellExecutionError as error:
            raise SystemExit(
                f"{path.name}: a cell failed, the file is as it was.\n{error}"
            ) from None


if __name__ == "__main__":
    main()
