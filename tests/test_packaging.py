"""What is delivered: the wheel, the systemd unit, the container file, the lock files and the CI script."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.sections import Http
from gateway.web.app import WebDoor

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "systemd" / "faxgate.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ALLOWED = {
    "pyproject.toml", "README.md", "gateway", "templates", "tests", "systemd", "Dockerfile", "LICENSE", "CHANGELOG.md",
    "Makefile", ".ci", "bench", ".gitignore",
}  # fmt: skip


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    run(sys.executable, "-m", "pip", *build, "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel and, from this one, only the libraries."""
    home = tmp_path_factory.mktemp("env") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    # Folders named in a .pth file are searched after `site`, and .pth files in them are not read: this checkout,
    # which may be installed in our own environment, is not visible there.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = ["--python", str(home / "bin" / "python"), "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *pip, str(wheel))
    return home / "bin"


@pytest.mark.needs("git")
def test_the_wheel_has_the_templates_and_nothing_but_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packaged = {name.removeprefix("gateway/_templates/") for name in names if name.startswith("gateway/_templates/")}
    tracked = run("git", "ls-files", "templates").split()
    assert packaged >= {name.removeprefix("templates/") for name in tracked if (ROOT / name).exists()}
    assert any(name.startswith("mail/") for name in packaged)
    assert {name.split("/")[0] for name in names} == {"gateway", f"faxgate-{PROJECT['version']}.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or "test" in name.split("/")[0]]


def test_the_installed_wheel_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert PROJECT["version"] in run(str(installed / "faxgate"), "version", cwd=tmp_path)
    code = "import gateway.templates as t; print(t.__file__); print(t.built_in())"
    module, templates = run(str(installed / "python"), "-I", "-c", code, cwd=tmp_path).split()
    assert Path(module).is_relative_to(installed.parent)
    assert Path(templates).is_relative_to(installed.parent)
    assert (Path(templates) / "mail").is_dir()


def test_the_installed_wheel_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    told = run(str(installed / "faxgate"), "demo", "--out", "out", cwd=tmp_path)
    assert "was busy twice and took it at call 3" in told
    assert "4 mails were received" in told
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name for name in left if name.endswith(".pdf")] == [
        "fax-to-14155550100.pdf", "fax-to-14155550117.pdf", "fax-to-14155550123.pdf", "received-on-14155550100.pdf",
    ]  # fmt: skip
    assert len([name for name in left if name.endswith(".eml")]) == 4
    assert len([name for name in left if name.endswith(".png")]) == 16


# --- systemd


def unit_lines() -> list[str]:
    return UNIT.read_text(encoding="utf-8").splitlines()


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path, program: Callable[[str], str]) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"/opt/faxgate/bin/faxgate\b", "/bin/true", UNIT.read_text(encoding="utf-8")))
    done = subprocess.run([program("systemd-analyze"), "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
def test_the_unit_is_hardened_by_systemds_own_measure(program: Callable[[str], str]) -> None:
    # The threshold is ten times the exposure level; 2.5 leaves room for other versions of systemd.
    run(program("systemd-analyze"), "security", "--offline=yes", "--no-pager", "--threshold=25", str(UNIT))


@pytest.mark.needs("systemd-analyze")
def test_the_units_filter_allows_every_call_of_the_fence(program: Callable[[str], str]) -> None:
    sets: dict[str, list[str]] = {}
    for line in run(program("systemd-analyze"), "syscall-filter", "--no-pager").splitlines():
        name = line.strip().lstrip("#").strip()
        if line.startswith("@"):
            sets[line.strip()] = current = []
        elif name and " " not in name and not line.strip().startswith("# "):
            current.append(name)

    def calls(name: str) -> set[str]:
        return set().union(*map(calls, sets[name])) if name in sets else {name}

    settings = dict(line.split("=", 1) for line in unit_lines() if re.match(r"[A-Z]\w+=", line))
    allowed = set().union(*map(calls, settings["SystemCallFilter"].split()))
    landlock = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
    needed = {"unshare", "prctl", "seccomp", "setrlimit", "prlimit64", "execve", "clone", "recvmsg", "socketpair", "setitimer"}
    assert (landlock | needed) - allowed == set()
    assert not {"mount", "bpf", "ptrace", "setns"} & allowed - calls("@process")


def test_every_directive_of_the_unit_has_its_reason() -> None:
    lines = unit_lines()
    comment = re.compile(r"#+ \S")
    bare = []
    for n, line in enumerate(lines):
        if "=" not in line or line.startswith("#"):
            continue
        above = next((one for one in reversed(lines[:n]) if "=" not in one or one.startswith("#")), "")
        name = line.split("=")[0]
        if not comment.match(above) and name not in ("Description", "ExecStart"):
            bare.append(line)
    assert bare == []


def test_the_unit_fits_what_the_gateway_does() -> None:
    settings = dict(line.split("=", 1) for line in unit_lines() if re.match(r"[A-Z]\w+=", line))
    assert settings["Type"] == "notify"
    assert settings["ExecStartPre"].split()[1:] == ["check-config", "-c", "/etc/faxgate/gateway.toml"]
    assert settings["ExecStart"].split()[1:] == ["serve", "-c", "/etc/faxgate/gateway.toml"]
    assert settings["RestartPreventExitStatus"] == "78"
    # Converters lose the network by these two (`pages.fence`).
    assert set(settings["RestrictNamespaces"].split()) == {"user", "net"}
    assert {settings[f"{kind}Directory"] for kind in ("State", "Runtime", "Configuration")} == {"faxgate"}


# --- the container image


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(n for n, (word, _) in enumerate(found) if word == "FROM") :]


def test_the_image_is_made_in_two_stages_from_files_that_exist() -> None:
    words = [word for word, _ in instructions()]
    assert words.count("FROM") == 2
    known = {"FROM", "WORKDIR", "RUN", "ENV", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert set(words) <= known
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from=" not in rest]
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source


def test_the_image_does_not_run_as_root() -> None:
    stage = dict(last_stage())
    uid, gid = stage["USER"].split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert json.loads(stage["ENTRYPOINT"]) == ["faxgate"]
    assert json.loads(stage["CMD"]) == ["serve", "-c", "/etc/faxgate/gateway.toml"]
    assert stage["EXPOSE"].split() == ["2525", "8025"]
    assert stage["VOLUME"] == "/var/lib/faxgate"


async def test_the_image_knows_whether_it_is_healthy(free_port: int) -> None:
    command = json.loads(dict(last_stage())["HEALTHCHECK"].split("CMD ", 1)[1])
    assert command[0] == "python"
    code = command[-1].replace("8025", str(free_port))

    async def health() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, *command[1:-1], code, stderr=asyncio.subprocess.DEVNULL)
        return await process.wait()

    web = WebDoor(Http(listen=f"127.0.0.1:{free_port}"))
    await web.start()
    assert await health() == 0
    await web.stop()
    assert await health() == 1


# --- lock files, CI, the top of the tree


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ["postgres"]),
        ("requirements-image.lock", ["postgres", "s3", "html", "repair", "heic", "adaptive"]),
        ("requirements-test.lock", ["postgres", "test"]),
    ],
)
def test_the_lock_file_pins_everything_by_hash_and_names_no_index(lock: str, extras: list[str]) -> None:
    text = (ROOT / ".ci" / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in re.sub(r"#.*", "", text)
    entries = re.split(r"\n(?=\S)", text.strip())
    pinned = {}
    for entry in (entry for entry in entries if not entry.startswith("#")):
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+)(?: ; [^\n]+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry)
        assert match, entry
        pinned[canonicalize_name(match[1])] = match[2]
    optional = PROJECT["optional-dependencies"]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *(one for extra in extras for one in optional[extra])]):
        assert wanted.specifier.contains(pinned.get(canonicalize_name(wanted.name), "0")), f"run make lock: {wanted}"


def test_the_ci_script_is_bash_that_can_be_read() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    run("bash", "-n", str(script))
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")


@pytest.mark.needs("git")
def test_the_top_of_the_tree_stays_as_it_is() -> None:
    assert {name.split("/")[0] for name in run("git", "ls-files").splitlines()} <= ALLOWED


@pytest.mark.needs("make")
def test_make_without_a_target_says_what_there_is() -> None:
    assert {"demo", "test", "lock", "clean"} <= set(re.findall(r"^make (\w+)", run("make", "--no-print-directory"), re.M))
