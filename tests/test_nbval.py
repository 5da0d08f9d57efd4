"""What the command that tests the chapters makes of a notebook that is not as it should be."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
from frame import ROOT
from nbformat.v4 import new_code_cell, new_notebook, new_output

IMPORT = """
import torch
from lenet_utils import data, training
"""
TRAIN = """
digits = data.Digits(torch.zeros(64, 1, 32, 32, dtype=torch.uint8), torch.zeros(64).long())
training.train(training.Recipe(epochs=100_000), digits)
"""


def code(source, text=None, **options):
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    return new_code_cell(source, outputs=outputs, execution_count=1, **options)


def failing(folder, timeout=60, env=None):
    """Which notebooks of a folder fail, with the settings of this repository."""
    settings = ["-c", ROOT / "pyproject.toml", "--rootdir", folder, "-rfE", "-n", "0"]
    command = [sys.executable, "-m", "pytest", *settings, f"--nbval-cell-timeout={timeout}"]
    result = subprocess.run([*command, folder], capture_output=True, encoding="utf-8", env=env)
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


SETTINGS = {
    "MPLBACKEND": "agg",
    "MATPLOTLIBRC": "matplotlibrc",
    "IPYTHONDIR": "ipython",
    "LENET_DEVICE": "gpu",
    "OMP_NUM_THREADS": "7",
    "TQDM_DISABLE": "1",
}
LOOK = """
import os
import matplotlib
import torch
from lenet_utils import training
print(training.device(), torch.get_num_threads(), matplotlib.rcParams["figure.figsize"])
print("inline" in matplotlib.get_backend(), "TQDM_DISABLE" in os.environ, "spoilt" in globals())
"""


def test_settings_of_whoever_runs_them_reach_no_kernel(tmp_path):
    profile = tmp_path / "ipython" / "profile_default" / "startup"
    profile.mkdir(parents=True)
    (profile / "spoil.py").write_text("spoilt = True\n")
    (tmp_path / "matplotlibrc").write_text("figure.figsize: 1, 1\n")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "notebooks").mkdir()
    text = "cpu 1 [6.4, 4.8]\nTrue False False\n"
    write(tmp_path / "notebooks", "look", code(LOOK, text))
    spoilt = (
        os.environ
        | SETTINGS
        | {name: str(tmp_path / SETTINGS[name]) for name in ("MATPLOTLIBRC", "IPYTHONDIR")}
    )
    assert failing(tmp_path, env=spoilt) == set()


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
