"""Publish under a GitHub address: write it into README.md, every badge and every setup cell.

    python tools/publish.py ada/mnist-lenet5

Run it once in a fork, before pushing to https://github.com/ada/mnist-lenet5; Colab then finds the
notebooks and lenet_utils there. The address in pyproject.toml is the one that all others repeat.
Running it again with the same address changes nothing.
"""

import argparse
import re

from lenet_utils.data import write_whole
from notebooks import ROOT, all_notebooks

PYPROJECT = ROOT / "pyproject.toml"
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}/(?!\.{1,2}$)[\w.-]{1,100}"


def current() -> str:
    """The address in pyproject.toml, as OWNER/REPOSITORY."""
    line = re.compile(r'^Repository = "https://github\.com/([^/"]+/[^/"]+)"$', re.MULTILINE)
    found = line.search(PYPROJECT.read_text("utf-8"))
    if found is None:
        raise SystemExit('pyproject.toml lacks Repository = "https://github.com/OWNER/NAME"')
    return found[1]


def publish(new: str) -> list[str]:
    """Replace the address wherever it stands; return the names of the files that changed."""
    place = re.compile(rf"(github\.com/|/github/){re.escape(current())}(?![\w-]|\.\w)")
    changed = []
    for path in [ROOT / "README.md", *all_notebooks(), PYPROJECT]:
        before = path.read_text("utf-8")
        after = place.sub(rf"\g<1>{new}", before)
        if after != before:
            write_whole(path, after.encode())
            changed.append(str(path.relative_to(ROOT)))
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", help="OWNER/REPOSITORY, as in github.com/OWNER/REPOSITORY")
    address = parser.parse_args().address
    if not re.fullmatch(NAME, address, re.ASCII) or address.endswith(".git"):
        parser.error(
            f"expected OWNER/REPOSITORY, such as ada/mnist-lenet5; got {address!r}: nothing changed"
        )
    print("\n".join(publish(address)) or f"Already published under {address}: nothing to change.")


if __name__ == "__main__":
    main()
