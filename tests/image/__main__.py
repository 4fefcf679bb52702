"""The steps of the Dockerfile in an empty folder, without a container engine, and the service started from what they leave.

python -m tests.image            COPY and RUN of both stages, with /srv and /data in a folder of their own
It shows that the context has every file the steps need, that the locked requirements install, that the service starts as a
user without rights, from files it cannot write, and answers its health check. It does not show the base image itself.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEP = re.compile(r"^(FROM|COPY|RUN|WORKDIR|CMD|ENTRYPOINT|HEALTHCHECK)\s+(.*)", re.DOTALL)


def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in order, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    return [(match[1], match[2].strip()) for line in text.splitlines() if (match := STEP.match(line))]


def context(into: Path) -> None:
    """What a build would be given: the committed files without what .dockerignore leaves out."""
    left_out = [line.strip("*/") for line in (ROOT / ".dockerignore").read_text().split()]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if not any(name == part or name.startswith(f"{part}/") for part in left_out):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)


def build(source: Path, root: Path) -> dict[str, str]:
    """Run COPY and RUN of the first stage under `root`; the settings of the last one."""
    srv = root / "srv"
    srv.mkdir()
    tools = _tools(root.parent)
    stage, last = 0, {}
    for kind, rest in steps():
        if kind == "FROM":
            stage += 1
        elif kind == "COPY" and stage == 1:
            *names, target = rest.split()
            for name in names:
                to = srv / target if target != "./" else srv / name
                to.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (source / name).is_dir() else shutil.copy2)(source / name, to)
        elif kind == "RUN" and stage == 1:
            command = rest.replace("/srv", str(srv))
            print(f"  RUN {rest[:110]}")
            given = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "PIP_QUIET": "1"}
            subprocess.run(["/bin/sh", "-ec", command], cwd=srv, check=True, env=given, stderr=subprocess.DEVNULL)
        elif stage == 2:
            last[kind] = rest
    return last


def _tools(folder: Path) -> Path:
    """`python` and `pip` as the base image has them: the system's Python, which every user may read, where it is the same."""
    system = Path("/usr/bin/python3")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    same = system.exists() and subprocess.run([system, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    python = system if same and same.startswith(f"{version}.") else Path(sys.executable)
    tools = folder / "tools"
    tools.mkdir()
    for name, line in (("python", f'exec {python} "$@"'), ("pip", f'exec {sys.executable} -m pip "$@"')):
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    return tools


def start(root: Path, last: dict[str, str]) -> float:
    """Start the service as a user without rights, its files read-only; seconds until the health check holds."""
    data, srv = root / "data", root / "srv"
    data.mkdir()
    nobody = pwd.getpwnam("nobody")
    if os.geteuid() == 0:
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        os.chmod(root, 0o755)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(srv)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = [part.strip('", ') for part in shlex.split(last["CMD"].strip("[]").replace(",", " "))]
    given[given.index("0.0.0.0")] = "127.0.0.1"
    environment = {"PATH": f"{srv}/venv/bin:/usr/bin:/bin", "NPS_DATA_DIR": str(data), "NPS_LOG": "json", "HOME": str(data),
                   "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    unprivileged: dict[str, Any] = (
        {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
    )
    began = time.monotonic()
    command = [f"{srv}/venv/bin/nps", *given, "--port", str(port)]
    with subprocess.Popen(command, cwd=data, env=environment, **unprivileged) as service:
        try:
            while time.monotonic() < began + 120:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=4) as answer:
                        print(f"  /readyz {answer.status}: {answer.read().decode()}")
                        return time.monotonic() - began
                except OSError:
                    if service.poll() is not None:
                        raise SystemExit("the service ended") from None
                    time.sleep(0.3)
            raise SystemExit("the health check does not hold")
        finally:
            service.terminate()
            service.wait(40)
            time.sleep(5)  # its chemistry processes end by themselves


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nps-image-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, root = folder / "context", folder / "root"
        source.mkdir()
        root.mkdir()
        os.chmod(folder, 0o755)
        context(source)
        last = build(source, root)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        print(f"  /srv is {size / 2**20:,.0f} MiB")
        print(f"  healthy after {start(root, last):.1f} s, as nobody, from files it cannot write")
    if hadolint := shutil.which("hadolint"):
        subprocess.run([hadolint, str(ROOT / "Dockerfile")], check=True)
        print("  hadolint: nothing to say")
    else:
        print("  hadolint is not installed here: not run")


if __name__ == "__main__":
    main()
