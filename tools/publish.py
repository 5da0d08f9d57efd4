"""Publish under a GitHub address: write it into pyproject.toml, and from there everywhere else.

    python tools/publish.py ada/mnist-lenet5
    python tools/publish.py ada/mnist-lenet5 --ref v1.0

Run it once in a fork, before pushing to https://github.com/ada/mnist-lenet5; Colab then finds the
notebooks and lenet_utils there, on the branch or tag --ref (main unless told). Running it again
with the same address changes nothing.
"""

import argparse
import re

import frame

from lenet_utils.files import write_whole

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}/(?!\.{1,2}$)[\w.-]{1,100}"
REF = r"(?!.*\.\.)[A-Za-z0-9][\w./-]*(?<![./])"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", help="OWNER/REPOSITORY, as in github.com/OWNER/REPOSITORY")
    parser.add_argument("--ref", default="main", help="branch or tag to open and install from")
    given = parser.parse_args()
    if not re.fullmatch(NAME, given.address, re.ASCII) or given.address.endswith(".git"):
        parser.error(
            f"expected OWNER/REPOSITORY, such as ada/mnist-lenet5; got {given.address!r}: "
            "nothing changed"
        )
    if not re.fullmatch(REF, given.ref, re.ASCII):
        parser.error(f"expected a branch or tag, such as main; got {given.ref!r}: nothing changed")
    settings = frame.ROOT / "pyproject.toml"
    text, places = settings.read_text("utf-8"), 0
    for line in (f'Repository = "https://github.com/{given.address}"', f'ref = "{given.ref}"'):
        key = line.partition(" ")[0]
        text, found = re.subn(rf'^{key} = ".*"$', line, text, flags=re.MULTILINE)
        places += found
    if places != 2:
        raise SystemExit("pyproject.toml lacks a line Repository = … or ref = …: nothing changed")
    write_whole(settings, text.encode())
    frame.main(frame.ROOT)


if __name__ == "__main__":
    main()
