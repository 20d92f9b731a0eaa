"""The same topology gives the same plan everywhere, and asks for nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from netlab.plan.codec import digest
from netlab.plan.resolve import resolve
from netlab.topology.load import load

ROOT = Path(__file__).parents[2]
TOPOLOGIES = [
    *sorted((ROOT / "topologies").glob("*.yaml")),
    *sorted((ROOT / "tests" / "topology" / "golden").glob("*.yaml")),
]


def digests(folder: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "pure.py"), *map(str, TOPOLOGIES)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_plan_is_the_same_whatever_the_environment_and_nothing_else_is_asked_for(
    tmp_path: Path,
) -> None:
    here = [digest(resolve(load(path))) for path in TOPOLOGIES]
    one = digests(tmp_path, PYTHONHASHSEED="1", TZ="Asia/Kolkata", HOME="/nowhere", LC_ALL="C")
    other = digests(Path("/"), PYTHONHASHSEED="77", LANG="tr_TR.UTF-8", USER="x", PATH="")
    assert here == one == other
