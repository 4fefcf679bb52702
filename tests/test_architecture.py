"""What the import linter cannot see: that a sender of alerts loads no chemistry toolkit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_alerts_import_no_toolkit() -> None:
    program = (
        "import pkgutil, importlib, sys, alerts\n"
        "for module in pkgutil.walk_packages(alerts.__path__, 'alerts.'): importlib.import_module(module.name)\n"
        "print(sorted({'rdkit', 'sqlalchemy', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]")


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "requirements", "Makefile", ".ci"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        text = (ROOT / name).read_text()
        assert "://" not in text, name
