"""Tests and recordings see nothing of the settings of whoever runs them."""

import os
import tempfile
from pathlib import Path

SETTINGS = ("IPYTHON", "JUPYTER", "LENET", "MATPLOTLIB", "MKL", "MPL", "OMP", "PYTHONSTARTUP")
SETTINGS += ("PYTHONWARNINGS", "PYTORCH", "TORCH", "TQDM")


def isolate() -> tempfile.TemporaryDirectory:
    """Let this process, and the kernels it starts, see no settings but these: the CPU, one thread.

    Two threads make this network 1.2 times as fast, but beside a busy process many times as slow.
    Call it before torch and matplotlib are imported; clean up what it returns at the end.
    """
    folder = tempfile.TemporaryDirectory(prefix="lenet_utils-", ignore_cleanup_errors=True)
    for name in [*os.environ]:
        if name.startswith(SETTINGS) or name.endswith("_NUM_THREADS"):
            del os.environ[name]
    matplotlibrc = Path(folder.name, "matplotlibrc")
    matplotlibrc.touch()
    os.environ |= {
        "IPYTHONDIR": f"{folder.name}/ipython",
        "JUPYTER_CONFIG_DIR": f"{folder.name}/jupyter",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "LENET_DEVICE": "cpu",
        "MATPLOTLIBRC": str(matplotlibrc),
        "OMP_NUM_THREADS": "1",
    }
    return folder
