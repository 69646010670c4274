"""docs/methods/ is what the catalogue says today."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_pages_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "method_pages.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
