"""What is built and installed: the wheel works outside the checkout, and the requirements fit together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
OURS = ("bench", "methods", "temper_bench", "_editable_impl_temper_bench", "__editable__")  # not third party
REGISTRIES = (  # hosts in two parts, so that this file does not hold them
    ("pypi", "org"),
    ("pypi.python", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("anaconda", "org"),
    ("download.pytorch", "org"),
    ("crates", "io"),
    ("rubygems", "org"),
    ("proxy.golang", "org"),
)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = re.compile("|".join(re.escape(f"{host}.{domain}") for host, domain in REGISTRIES).encode(), re.IGNORECASE)
    files = [path for path in checked_in() if path.is_file()]
    named = {str(path.relative_to(ROOT)): match[0] for path in files if (match := hosts.search(path.read_bytes()))}
    assert len(files) > 50
    assert named == {}


def test_the_requirements_fit_together() -> None:
    """As `pip check`, for our own dependencies and theirs: torchattacks and Streamlit among them."""
    versions, problems = installed_tree(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert problems == []
    assert versions["torchattacks"] == "3.3.0"
    assert {"streamlit", "torch", "requests"} <= set(versions)


@pytest.mark.slow
def test_the_wheel_holds_all_that_is_needed_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"bench/py.typed", "methods/py.typed", "methods/references.bib", "bench/_shipped/app.py"}
    expected |= {path.relative_to(ROOT).as_posix() for path in python_files_and_data()}
    expected |= {f"bench/_shipped/{path.relative_to(ROOT).as_posix()}" for path in shipped_records()}
    assert expected - names == set()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench", "methods"}
    assert [name for name in names if "/.work/" in name or "__pycache__" in name or "/tests/" in name] == []
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_installed_package_is_a_copy_of_its_own(installed: Installed) -> None:
    script = "import bench, bench.files, methods; print(bench.__file__, methods.__file__, bench.files.SHIPPED)"
    lines = installed.run("python", "-c", script).stdout.split()
    home = installed.site_packages
    assert [Path(line) for line in lines] == [
        home / "bench" / "__init__.py",
        home / "methods" / "__init__.py",
        home / "bench" / "_shipped",
    ]


@pytest.mark.slow
def test_its_commands_work_in_another_folder_and_write_nothing_into_it(installed: Installed) -> None:
    before = installed.files()
    assert "leaderboard" in installed.run("temper", "--help").stdout
    methods = json.loads(installed.run("temper", "methods", "--json").stdout)
    assert {"natural", "pgd-at", "rslad", "gkd-logit"} <= {method["name"] for method in methods}
    scenarios = {row["name"]: row for row in json.loads(installed.run("temper", "scenarios", "--json").stdout)}
    assert set(scenarios) == {path.stem for path in (ROOT / "bench" / "scenarios").glob("*.toml")}
    assert scenarios["digits-linf"]["fingerprint"], scenarios["digits-linf"]["missing"]  # it found the teachers
    json.loads(installed.run("temper", "leaderboard", "digits-linf", "--json").stdout)
    assert installed.files() == before
    assert list(installed.folder.iterdir()) == []


@pytest.mark.slow
def test_it_sees_the_records_that_ship(installed: Installed) -> None:
    script = (
        "from bench.records import record_folders, shipped_leaderboards; "
        "print(len(list(record_folders(shipped_leaderboards()))))"
    )
    records = [path for path in shipped_records() if path.name == "record.json"]
    assert int(installed.run("python", "-c", script).stdout) == len(records)
    if any("digits-linf" in path.parts for path in records):
        answer = installed.run("temper", "leaderboard", "digits-linf", "--json")
        assert json.loads(answer.stdout)
        assert "left out" not in answer.stderr


class Installed:
    """Temper in a virtual environment of its own, outside the checkout; third-party packages are shared with ours."""

    def __init__(self, home: Path, source: str | Path) -> None:
        self.home, self.folder = home / "venv", home / "elsewhere"
        self.folder.mkdir()
        venv.create(self.home, with_pip=False)
        self.site_packages = next((self.home / "lib").glob("python*/site-packages"))
        (self.site_packages / "third_party.pth").write_text(f"{third_party(home / 'third-party')}\n")
        pip("--python", str(self.home / "bin" / "python"), "install", "--no-deps", *offline(), str(source))

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of this environment, started in an empty folder that is no checkout."""
        environment = clean_environment() | {"HOME": str(self.home.parent), "TEMPER_CACHE": str(self.home / "cache")}
        done = subprocess.run(
            [self.home / "bin" / command, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command} {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file that was installed; bytecode aside, which Python itself writes."""
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.site_packages.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `pip wheel .` builds."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", *offline(), "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("temper_bench-*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", "checkout"])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Temper installed from the built wheel, and by `pip install .`."""
    return Installed(tmp_path_factory.mktemp(request.param), wheel if request.param == "wheel" else ROOT)


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, cwd="/", env=clean_environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def offline() -> list[str]:
    """Options that spare pip a download, where the build backend is here already."""
    return ["--no-build-isolation"] if find_spec("hatchling") else []


def clean_environment() -> dict[str, str]:
    """This process's environment, less what would lead Python or Temper back to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TEMPER"))}


def third_party(folder: Path) -> Path:
    """A folder of links to every package that is installed here, but for this project.

    The site-packages of a developer's environment also hold Temper's own metadata and a path to the checkout.
    """
    folder.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not path.name.startswith(OURS) and path.suffix != ".pth" and path.name != "__pycache__":
            (folder / path.name).symlink_to(path)
    return folder


def checked_in() -> Iterator[Path]:
    """Files that git has, or would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout")
    yield from (ROOT / name for name in listed.split("\0") if name)


def python_files_and_data() -> Iterator[Path]:
    """All of the two packages but hidden folders and bytecode."""
    for package in ("bench", "methods"):
        for path in (ROOT / package).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
                yield path


def shipped_records() -> list[Path]:
    """Every file of a record in the checkout."""
    folder = ROOT / "leaderboards" / "records"
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def installed_tree(requirements: list[str]) -> tuple[dict[str, str], list[str]]:
    """Versions of all that `requirements` pull in, and what is missing or of a version that somebody refuses."""
    versions: dict[str, str] = {}
    problems: list[str] = []
    waiting = [("temper-bench", text, "") for text in requirements]
    seen = set(waiting)
    while waiting:
        whose, text, extra = waiting.pop()
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        try:
            found = distribution(name)
        except PackageNotFoundError:
            problems.append(f"{whose} needs {text}, which is not installed")
            continue
        versions[name] = found.version
        if not wanted.specifier.contains(found.version, prereleases=True):
            problems.append(f"{whose} needs {text}, installed is {found.version}")
        for each in found.requires or []:
            news = {(name, each, wanted_extra) for wanted_extra in wanted.extras or {""}} - seen
            seen |= news
            waiting += sorted(news)
    return versions, problems
