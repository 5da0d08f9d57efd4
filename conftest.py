"""Tests, and the kernels that nbval starts, use a cache of their own and compute on the CPU."""

import os
import tempfile

import matplotlib

CACHE = tempfile.TemporaryDirectory(prefix="lenet_utils-tests-", ignore_cleanup_errors=True)
os.environ["LENET_DATA"] = CACHE.name
os.environ["LENET_DEVICE"] = "cpu"

# Drawings of the unit tests need no screen. Not by the environment: kernels draw into notebooks.
os.environ.pop("MPLBACKEND", None)
matplotlib.use("agg")


def pytest_unconfigure():
    CACHE.cleanup()
