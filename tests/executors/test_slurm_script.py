"""What is given to sbatch, whatever the directory is called; a stand-in for it keeps its words."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from holotype.executors.job_sheet import Job, JobSheet
from holotype.executors.slurm import SlurmExecutor

SBATCH = """#!/bin/sh
printf '%s\\n' "$@" > "$SAID"
for script; do :; done
cd "${SAID%/*}" && SLURM_ARRAY_TASK_ID=0 bash "$script" > /dev/null 2>&1
echo 1
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in writes its words."""
    programs, words = tmp_path / "bin", tmp_path / "words"
    programs.mkdir()
    for name, script in (("sbatch", SBATCH), ("squeue", "#!/bin/sh\n")):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(words))
    return words


@pytest.mark.parametrize("name", ["plain", "a b'\"$(touch ran)", "100% new", "a\ntouch ran\n#"])
def test_the_name_of_a_directory_is_never_a_command(said: Path, tmp_path: Path, name: str) -> None:
    sheet = JobSheet(tmp_path / name, [Job("one", (("this",),), tmp_path / "log")])
    sheet.write()
    SlurmExecutor(1).run(sheet, lambda results: None)
    assert [one.state for one in sheet.results()] == ["done"]
    assert not (tmp_path / "ran").exists()
    log = f"{tmp_path}/{name}/slurm-%a.log".replace("100%", "100%%")
    assert f"--output={log}\n" in said.read_text()
    script = sheet.directory / "array.sbatch"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_a_sheet_is_for_its_user_and_holds_no_password_of_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOTYPE_SMTP_PASSWORD", "secret")
    monkeypatch.setenv("HOLOTYPE_REGISTRY", "postgresql://me:other@host/db")
    sheet = JobSheet(tmp_path, [Job("one", (("this",),), tmp_path / "log")])
    sheet.write()
    (row,) = json.loads(sheet.file.read_text())["jobs"]
    assert row["environment"]["HOLOTYPE_REGISTRY"].endswith("@host/db")  # jobs need it
    assert "secret" not in sheet.file.read_text()
    assert sheet.file.stat().st_mode & 0o077 == 0
