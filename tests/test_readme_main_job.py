"""The main job, by the command that the README gives first."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_main_job_runs(tmp_path):
    """A process of its own, compiled as users run it (conftest.py has programs that run once). Its
    time is for two free cores: here it is reported, because other tests run beside it."""
    first = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    program, *arguments = shlex.split(first.strip().split("&&")[-1])
    assert program == ".venv/bin/lmltdm" and arguments[0] == "fit"
    lmltdm = shutil.which("lmltdm", path=Path(sys.executable).parent)
    assert lmltdm is not None
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [lmltdm, *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs" / "talk" / "summary.json").read_text())
    print(f"{shlex.join(arguments)}: {summary['wall_s']:.0f} s")
    assert summary["complete"] and summary["n_samples"] > 0
    for row in summary["parameters"].values():
        assert row["q05"] < row["q50"] < row["q95"]
