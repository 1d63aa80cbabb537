"""Makes an environment with Airflow, apart from that of the tests, whose packages it needs in other versions."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = ("apache-airflow>=3.3,<3.4", "apache-airflow-providers-postgres>=7,<8")
_SECONDS = 600


@functools.cache
def airflow_python() -> str:
    """The Python of the environment, which is made if it is not there; the test is skipped where that cannot be.

    It lies in the environment of the tests, whose packages it finds behind its own: those that importer needs.
    """
    folder = Path(sys.prefix, "airflow")
    python, done = folder / "bin" / "python", folder / "complete"
    if done.exists() and done.read_text() == " ".join(_PACKAGES):
        return str(python)
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = (str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile")
    _run(*pip, *_PACKAGES)
    _run(*pip, "--no-deps", "-e", str(_ROOT))
    libraries = [path for path in sysconfig.get_paths().values() if path.endswith("site-packages")]
    places = Path(_run(str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    lines = [f"import site; site.addsitedir({library!r})" for library in sorted({*libraries})]
    (places / "zz_tests.pth").write_text("\n".join(lines))
    done.write_text(" ".join(_PACKAGES))
    return str(python)


def _run(*command: str) -> str:
    """What a command prints."""
    try:
        # Nothing but what is installed there may be found.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, env=env)
    except (OSError, subprocess.TimeoutExpired) as exc:
        pytest.skip(f"no environment with Airflow can be made here: {exc}")
    if ran.returncode:
        said = (ran.stderr.strip() or ran.stdout.strip() or "no message").splitlines()[-1]
        pytest.skip(f"no environment with Airflow can be made here: {said}")
    return ran.stdout
