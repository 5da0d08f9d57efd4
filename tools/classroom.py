"""Make one archive for classrooms without a network: the site, the notebooks, the module, the data.

    python tools/classroom.py

It is dist/mnist-lenet5-VERSION.zip, beside it its SHA-256; inside it SHA256SUMS has those of all
files, in the form that `sha256sum -c` reads. The same files make the same archive. The site is
built first (tools/book.py); setuptools, which is in site/requirements.txt, makes the wheel.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import book
import frame

from lenet_utils import __version__
from lenet_utils.files import write_whole

NAME = f"mnist-lenet5-{__version__}"
SUMS = "SHA256SUMS"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip file can say: no file's own time matters
START = """\
{title}

Read      Open site/index.html in a browser. It needs no network and no server.
Run       Python 3.10 or newer, and some packages. On one computer that has a network, in this
          folder, fetch them for all others with the same system and the same Python:

              python -m pip wheel -w packages -r requirements.txt

          Copy this folder, packages in it, to each computer, and there, in this folder:

              python -m venv .venv
              .venv/bin/python -m pip install --no-index --find-links packages -r requirements.txt
              .venv/bin/jupyter lab --ServerApp.root_dir=. notebooks/00_quickstart.ipynb

          (On Windows: .venv\\Scripts\\python and .venv\\Scripts\\jupyter.)
Check     {sums} has the SHA-256 of each file; on Linux: sha256sum -c {sums}
Contents  site/         all chapters with their figures, results and solutions
          notebooks/    the chapters to run; their solutions in solutions/
          data/         MNIST's four archives and their licence; the module has them, too
          {wheel}
                        lenet_utils, the module that the notebooks use

The site was made with Sphinx, MyST-NB and the PyData Sphinx Theme (BSD licences). It shows formulas
with MathJax (Apache licence 2.0), and icons of Font Awesome Free (CC BY 4.0, SIL OFL 1.1, MIT).
"""


def wheel(folder: Path, root: Path = frame.ROOT) -> Path:
    """Make the wheel of lenet_utils in a folder, from a copy: the repository stays as it is."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, copy)
        ignored = shutil.ignore_patterns("__pycache__", "*.begun")
        shutil.copytree(root / "lenet_utils", Path(copy) / "lenet_utils", ignore=ignored)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        pip += ["--no-build-isolation", "-w", str(folder), copy]
        subprocess.run(pip, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"})
    (made,) = folder.glob("lenet_utils-*.whl")
    return made


def contents(site: Path, wheel: Path, root: Path = frame.ROOT) -> dict[str, bytes]:
    """The files of the archive by their names in it, the sums among them."""
    notebooks = [*frame.chapters(root), *frame.solutions(root)]
    notebooks.append(root / "notebooks" / "tensor_idioms.md")
    files = {path.relative_to(root).as_posix(): path for path in notebooks}
    files |= {f"data/{path.name}": path for path in (root / "lenet_utils" / "mnist").iterdir()}
    inner = [path for path in site.rglob("*") if path.is_file()]
    files |= {f"site/{path.relative_to(site).as_posix()}": path for path in inner}
    files |= {"LICENSE": root / "LICENSE", wheel.name: wheel}
    found = {name: path.read_bytes() for name, path in files.items()}
    needed = re.sub(r"\A(?:#.*\n)+", "", book.read(root / "requirements.txt"))  # its introduction
    needed = re.sub(r"^-e \.", f"./{wheel.name}", needed, flags=re.M)
    title = book.read_me(root).partition("\n")[0].removeprefix("# ")
    start = START.format(title=title, sums=SUMS, wheel=wheel.name)
    found |= {"requirements.txt": needed.encode(), "START.txt": start.encode()}
    sums = [f"{hashlib.sha256(found[name]).hexdigest()}  {name}\n" for name in sorted(found)]
    return found | {SUMS: "".join(sums).encode()}


def pack(files: dict[str, bytes], archive: Path) -> str:
    """Write the archive, all in one folder, and its SHA-256 beside it; return that."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{archive.stem}/{name}", EARLIEST)
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, files[name], zipfile.ZIP_DEFLATED)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    line = f"{digest}  {archive.name}\n"
    write_whole(archive.with_name(f"{archive.name}.sha256"), line.encode())
    return digest


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    place = frame.ROOT / "dist"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        files = contents(book.build(), wheel(Path(folder)))
    archive = place / f"{NAME}.zip"
    pack(files, archive)
    print(f"{archive.relative_to(frame.ROOT).as_posix()}: {archive.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
