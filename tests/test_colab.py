"""Every chapter alone, as on Colab: no checkout, no lenet_utils, and a network of one git address.

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

import pytest

from notebooks import NOTEBOOKS, ROOT, read, write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need privileges on Windows")

ADDRESS = "https://github.com/a-reader/digits"
WHOLE = ["00_quickstart", "02_architecture"]
CHAPTERS = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
HIDDEN = ("lenet_utils", "__editable__", "torchinfo")


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """What all these environments share: links to packages, the stub, torchinfo's wheel."""
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


def copy_of_repository(folder):
    """The files that git tracks, as they are now, in another folder."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    for name in filter(lambda name: (ROOT / name).is_file(), listing.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A repository with this one's files, published under ADDRESS."""
    copy = copy_of_repository(tmp_path_factory.mktemp("published"))
    subprocess.run([sys.executable, "tools/publish.py", "a-reader/digits"], cwd=copy, check=True)
    git = ["git", "-c", "user.name=reader", "-c", "user.email=reader@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "published"]):
        subprocess.run([*git, *command], cwd=copy, check=True)
    return copy


@pytest.fixture
def runtime(colab, tmp_path):
    """A fresh runtime: run(notebook) executes it by nbval, alone in its folder."""

    class Runtime:
        folder = tmp_path / "content"
        environment = tmp_path / "environment"
        python = environment / "bin" / "python"
        variables = {
            **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
            "PYTHONPATH": str(colab / "stub"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(colab / "index"),
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: without isolation
        }

        def publish(self, repository):
            self.variables = {
                **self.variables,
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
                "GIT_CONFIG_VALUE_0": ADDRESS,
            }

        def execute(self, *arguments):
            command = [str(self.python), *arguments]
            return subprocess.run(
                command, cwd=self.folder, env=self.variables, capture_output=True, text=True
            )

        def run(self, notebook):
            options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-q"]
            return self.execute("-m", "pytest", "-c", os.devnull, *options, notebook.name)

        def installed(self):
            packages = self.environment.glob("lib/python*/site-packages/*.dist-info")
            return sorted(path.name.partition("-")[0] for path in packages)

    runtime = Runtime()
    runtime.folder.mkdir()
    venv.create(runtime.environment, symlinks=True, with_pip=False)
    site = next(runtime.environment.glob("lib/python*/site-packages"))
    (site / "packages.pth").write_text(f"{colab / 'packages'}\n")
    missing = (
        "import importlib.util as u; print(u.find_spec('lenet_utils'), u.find_spec('torchinfo'))"
    )
    assert runtime.execute("-c", missing).stdout.split() == ["None", "None"]
    return runtime


def setup_only(source, target):
    """A notebook with the setup cell of another, and a cell that needs what it installed."""
    notebook = read(source)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    needs = type(setup)(setup, id="needs", source="import torchinfo\nimport lenet_utils.training")
    notebook.cells = [setup, needs]
    write(notebook, target)
    return target


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_alone(name, runtime, published):
    runtime.publish(published)
    source, target = published / "notebooks" / f"{name}.ipynb", runtime.folder / f"{name}.ipynb"
    if name in WHOLE:
        shutil.copy(source, target)
    else:
        setup_only(source, target)
    result = runtime.run(target)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    # Nothing else was installed: torch, torchvision and numpy are the ones that were there.
    assert runtime.installed() == ["lenet_utils", "torchinfo"]


def test_uploaded_wheel(runtime, tmp_path):
    copy = copy_of_repository(tmp_path / "copy")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(copy)]
    assert runtime.execute(*build).returncode == 0
    result = runtime.run(setup_only(NOTEBOOKS / "00_quickstart.ipynb", runtime.folder / "a.ipynb"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert runtime.installed() == ["lenet_utils", "torchinfo"]
    data = "from lenet_utils import data; print(len(data.load('test').labels))"
    assert runtime.execute("-c", data).stdout.strip() == "10000"


def test_uploaded_folder(runtime):
    shutil.copytree(ROOT / "lenet_utils", runtime.folder / "lenet_utils")
    result = runtime.run(setup_only(NOTEBOOKS / "00_quickstart.ipynb", runtime.folder / "a.ipynb"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert runtime.installed() == ["torchinfo"]


def test_not_published(runtime):
    result = runtime.run(setup_only(NOTEBOOKS / "00_quickstart.ipynb", runtime.folder / "a.ipynb"))
    assert result.returncode != 0
    assert "not published yet" in result.stdout
    assert runtime.installed() == []


def test_not_on_colab(runtime):
    del runtime.variables["PYTHONPATH"]
    result = runtime.run(setup_only(NOTEBOOKS / "00_quickstart.ipynb", runtime.folder / "a.ipynb"))
    assert result.returncode != 0
    assert "no lenet_utils and no torchinfo: start Jupyter with README's command" in result.stdout
    assert runtime.installed() == []
