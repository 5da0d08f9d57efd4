"""Tests, and the kernels that nbval starts, run as tools/isolation.py says; the longest first."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tools"))

from isolation import isolate  # noqa: E402

SETTINGS = isolate()

import matplotlib  # noqa: E402

matplotlib.use("agg")  # unit tests need no screen; kernels draw into their notebooks


def seconds(path: Path) -> int:
    """How long a notebook took when it was recorded; about as long as the slowest test module."""
    if path.suffix != ".ipynb":
        return 60
    recorded = json.loads(path.read_text("utf-8"))["metadata"].get("recorded", {})
    return recorded.get("seconds", 60)


def pytest_collection_modifyitems(items):
    """Files stay whole (--dist loadscope); those that take longest start first."""
    paths = {item.path: None for item in items}
    order = {path: -seconds(path) for path in paths}
    items.sort(key=lambda item: order[item.path])


def pytest_unconfigure():
    SETTINGS.cleanup()
