"""What the command that tests the chapters makes of a notebook that is not as it should be."""

import re
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from notebooks import ROOT

IMPORT = """
import torch
from lenet_utils import data, training
from lenet_utils.models import LeNet
"""
TRAIN = """
digits = data.Digits(torch.zeros(64, 1, 32, 32, dtype=torch.uint8), torch.zeros(64).long())
training.fit(LeNet(), digits, training.Recipe(epochs=100_000))
"""


def code(source, text=None, **options):
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    return new_code_cell(source, outputs=outputs, execution_count=1, **options)


def failing(folder, timeout=60):
    """Which notebooks of a folder fail, with the settings of this repository."""
    settings = ["-c", ROOT / "pyproject.toml", "--rootdir", folder, "-rfE"]
    command = [sys.executable, "-m", "pytest", *settings, f"--nbval-cell-timeout={timeout}"]
    result = subprocess.run([*command, folder], capture_output=True, encoding="utf-8")
    assert result.returncode in (0, 1), result.stdout
    return set(re.findall(r"^(?:FAILED|ERROR) (?:.*/)?(\w+)\.ipynb", result.stdout, re.M))


def write(folder, name, *cells):
    nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")


def test_stored_outputs_are_compared(tmp_path):
    ignored = {"tags": ["nbval-ignore-output"]}
    misspelt = {"tags": ["nbval-ignore-outputs"]}
    write(tmp_path, "same", code("print(2 + 2)", "4\n"))
    write(tmp_path, "changed", code("print(2 + 2)", "5\n"))
    write(tmp_path, "ignored", code("print(2 + 2)", "5\n", metadata=ignored))
    write(tmp_path, "misspelt", code("print(2 + 2)", "5\n", metadata=misspelt))
    write(tmp_path, "raising", code("raise ValueError", metadata=ignored))
    assert failing(tmp_path) == {"changed", "misspelt", "raising"}


# After a cell that takes too long nbval expects the later ones to fail, and calls that success.


def test_training_that_takes_too_long(tmp_path):
    # fit passes the interrupt on, so the cell itself fails, whatever the later ones do.
    ignored = {"tags": ["nbval-ignore-output"]}
    cells = [code(IMPORT), code(TRAIN, metadata=ignored), code("print(2 + 2)", "5\n")]
    write(tmp_path, "training", *cells)
    assert failing(tmp_path, timeout=8) == {"training"}


def test_a_cell_that_takes_too_long_and_hides_it(tmp_path):
    # Its later cells succeed where they were expected to fail: xfail_strict makes that a failure.
    hiding = "try:\n    while True:\n        pass\nexcept KeyboardInterrupt:\n    pass"
    write(tmp_path, "hiding", code(hiding), code("print(2 + 2)", "4\n"))
    assert failing(tmp_path, timeout=2) == {"hiding"}
