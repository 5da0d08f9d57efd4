"""A chapter alone, as on Colab: no checkout, no lenet_utils, and a network of one git address.

The kernel is that of a new environment which sees the packages of this one, as links, but for
lenet_utils and torchinfo. A stub of google.colab is imported as the kernel starts. pip has no
index: torchinfo comes from a folder, the address on GitHub leads to a repository in another.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import frame
import pytest

import lenet_utils

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need privileges on Windows")

QUICK, CHAPTER = "00_quickstart", "02_architecture"  # of which one needs torchinfo, too
WHEEL = f"lenet_utils-{lenet_utils.__version__}-py3-none-any.whl"
HIDDEN = ("lenet_utils", "__editable__", "torchinfo")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What all runtimes share: links to packages, the stub, torchinfo's wheel."""
    shared = tmp_path_factory.mktemp("colab")
    (shared / "packages").mkdir()
    for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(path).iterdir():
            if not entry.name.startswith(HIDDEN):
                (shared / "packages" / entry.name).symlink_to(entry)
    (shared / "stub" / "google" / "colab").mkdir(parents=True)
    (shared / "stub" / "google" / "colab" / "__init__.py").touch()
    (shared / "stub" / "sitecustomize.py").write_text("import google.colab\n")
    (shared / "index").mkdir()
    torchinfo = importlib.metadata.distribution("torchinfo")
    wheel = shared / "index" / f"torchinfo-{torchinfo.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in torchinfo.files:
            if file.suffix != ".pyc":
                archive.write(file.locate(), file)
    return shared


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with this one's files, published at a tag."""
    copy = tmp_path_factory.mktemp("published")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=frame.ROOT,
        capture_output=True,
        text=True,
    )
    for name in filter(lambda name: (frame.ROOT / name).is_file(), listing.stdout.splitlines()):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(frame.ROOT / name, copy / name)
    publish = [sys.executable, "tools/publish.py", "a-reader/digits", "--ref", "v1"]
    subprocess.run(publish, cwd=copy, check=True)
    git = ["git", "-c", "user.name=reader", "-c", "user.email=reader@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "published"], ["tag", "v1"]):
        subprocess.run([*git, *command], cwd=copy, check=True)
    (copy / "lenet_utils" / "__init__.py").write_text("raise ImportError('not at the tag')\n")
    subprocess.run([*git, "commit", "-qam", "the branch goes on"], cwd=copy, check=True)
    return copy


class Runtime:
    """A fresh runtime on Colab; a chapter lies alone in its folder."""

    def __init__(self, shared, published, folder):
        self.folder, environment = folder / "content", folder / "environment"
        self.folder.mkdir()
        venv.create(environment, symlinks=True, with_pip=False)
        self.python = environment / "bin" / "python"
        self.site = next(environment.glob("lib/python*/site-packages"))
        (self.site / "packages.pth").write_text(f"{shared / 'packages'}\n")
        self.variables = {
            **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
            "PYTHONPATH": str(shared / "stub"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(shared / "index"),
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: without isolation
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{published}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/a-reader/digits",
        }

    def execute(self, *arguments):
        command = [str(self.python), *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=self.variables, capture_output=True, text=True
        )

    def set_up(self, repository):
        """Run the setup cell of the chapter in a repository; return what it did."""
        notebook = frame.read(repository / "notebooks" / f"{CHAPTER}.ipynb")
        setup = next(cell.source for cell in notebook.cells if cell.id == "setup")
        return self.execute("-c", f"{setup}\nimport lenet_utils")

    def installed(self):
        return sorted(path.name.partition("-")[0] for path in self.site.glob("*.dist-info"))


@pytest.fixture
def runtime(shared, published, tmp_path):
    return Runtime(shared, published, tmp_path)


def test_a_chapter_as_a_whole(runtime, published):
    shutil.copy(published / "notebooks" / f"{QUICK}.ipynb", runtime.folder)
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-q", "-n", "0"]
    result = runtime.execute("-m", "pytest", "-c", os.devnull, *options, f"{QUICK}.ipynb")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    # Nothing else was installed: torch, torchvision and numpy are the ones that were there.
    assert runtime.installed() == ["lenet_utils"]


def test_the_setup_cell_of_a_chapter_that_needs_more(runtime, published):
    result = runtime.set_up(published)
    assert result.returncode == 0, result.stderr
    assert runtime.installed() == ["lenet_utils", "torchinfo"]


def test_kaggle(runtime, published):
    del runtime.variables["PYTHONPATH"]
    runtime.variables["KAGGLE_KERNEL_RUN_TYPE"] = "Interactive"
    result = runtime.set_up(published)
    assert result.returncode == 0, result.stderr
    assert runtime.installed() == ["lenet_utils", "torchinfo"]


def test_elsewhere_it_says_the_command(runtime, published):
    del runtime.variables["PYTHONPATH"]
    result = runtime.set_up(published)
    assert "run in a cell: %pip install" in result.stderr
    assert '"git+https://github.com/a-reader/digits@v1"' in result.stderr
    assert '"torchinfo>=1.8,<1.9"' in result.stderr
    assert runtime.installed() == []


def test_not_published(runtime):
    result = runtime.set_up(frame.ROOT)
    assert f"not published: start Jupyter by README's command, or upload {WHEEL}" in result.stderr
    assert runtime.installed() == []


def test_an_uploaded_wheel_between_wrong_ones(runtime, published):
    pip = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    tag = f"git+file://{published}@v1"
    assert runtime.execute(*pip, "-w", runtime.folder, tag).returncode == 0
    for wrong in (WHEEL.replace(".whl", " (1).whl"), "lenet_utils-0.1.0-py3-none-any.whl"):
        (runtime.folder / wrong).write_text("not a wheel")
    result = runtime.set_up(frame.ROOT)
    assert result.returncode == 0, result.stderr
    assert runtime.installed() == ["lenet_utils", "torchinfo"]
    program = "from lenet_utils import data, pad, training; print(len(data.load('test').labels)); "
    result = runtime.execute("-c", f"{program}training.shipped('plain')")
    assert result.stdout.strip() == "10000", result.stderr


def test_an_uploaded_folder(runtime):
    shutil.copytree(frame.ROOT / "lenet_utils", runtime.folder / "lenet_utils")
    result = runtime.set_up(frame.ROOT)
    assert result.returncode == 0, result.stderr
    assert runtime.installed() == ["torchinfo"]


@pytest.mark.parametrize("version", ["0.0.9", "0.1.0rc1", None])
def test_an_old_lenet_utils_is_said(runtime, published, version):
    (runtime.site / "lenet_utils").mkdir()
    text = f'__version__ = "{version}"\n' if version else ""
    (runtime.site / "lenet_utils" / "__init__.py").write_text(text)
    result = runtime.set_up(published)
    assert f"lenet_utils {version or 0} is old: %pip uninstall" in result.stderr
