"""SLURM on this machine alone, below one directory: munged, slurmctld and slurmd."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")

CONF = """
ClusterName=holotype
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=sched_interval=1,requeue_delay=1
MinJobAge=60
KillWait=5
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why SLURM cannot be started here; "" if it can."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "munged and slurmd are started as root here"


@contextmanager
def slurm_node(directory: Path, cores: int = 2) -> Iterator[dict[str, str]]:
    """Start the three daemons; yields the variables that its commands need."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (directory / name).mkdir()
    (directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    conf = directory / "slurm.conf"
    conf.write_text(CONF.format(host=host, directory=directory, cores=cores, **ports))
    key = directory / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    environment = {"SLURM_CONF": str(conf)}
    munged = [
        "munged", "--foreground", "--force", f"--socket={directory}/munge.socket",
        f"--key-file={key}", f"--pid-file={directory}/munged.pid",
        f"--log-file={directory}/munged.log", f"--seed-file={directory}/munged.seed",
    ]  # fmt: skip
    daemons = [munged, ["slurmctld", "-D", "-i", "-f", str(conf)],
               ["slurmd", "-D", "-f", str(conf), "-N", host]]  # fmt: skip
    running = []
    try:
        for words in daemons:
            log = (directory / f"{words[0]}.out").open("wb")
            running.append(
                subprocess.Popen(
                    words, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
                )
            )
            time.sleep(1)
        _wait_until_idle({**os.environ, **environment}, directory)
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_idle(environment: dict[str, str], directory: Path) -> None:
    for _ in range(60):
        words = ["sinfo", "--noheader", "--format=%t"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(file.read_text()[-2000:] for file in directory.glob("*.out"))
    raise RuntimeError(f"SLURM did not start: {done.stdout} {done.stderr}\n{logs}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
