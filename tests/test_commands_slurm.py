"""`psal batch slurm` on a real SLURM of one node, where it is installed (on Debian: slurmctld slurmd slurm-client munge)."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from .photos import psal, tree

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
MISSING = [name for name in NEEDED if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]
LONGEST = 240  # seconds that a step may take
pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="slurmd has to be started by root"),
]
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(happened, what):
    end = time.monotonic() + LONGEST
    while not happened():
        assert time.monotonic() < end, f"{what} took more than {LONGEST} seconds"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    """munged, slurmctld and slurmd with a configuration of their own; yields the environment that finds them."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    file = folder / "slurm.conf"
    file.write_text(CONFIGURATION.format(folder=folder, host=host, controller=free_port(), daemon=free_port()))
    env = os.environ | {"SLURM_CONF": str(file), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    started = []
    try:
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
            ["slurmctld", "-D", "-i", "-f", str(file)],
            ["slurmd", "-D", "-N", host, "-f", str(file)],
        ):
            started.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(lambda: "idle" in ask(env, "sinfo", "--noheader", "--format=%T"), "the start of SLURM")
        yield env
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(LONGEST)


def ask(env, *command):
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout


def run_array(env, *options):
    """Submits job.sh and waits until all its tasks have ended; returns the states that SLURM gave them."""
    done = subprocess.run(["sbatch", "--parsable", *options, "job.sh"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    wait_for(lambda: not ask(env, "squeue", "--noheader", "--jobs", job), "the array")
    return [word.partition("=")[2] for word in ask(env, "scontrol", "show", "job", job).split() if word.startswith("JobState=")]


def test_an_array_of_three_does_what_one_run_does_and_a_failed_task_is_repeated_alone(photos, daemons, shell_psal):
    photos(6)
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "--iterations", "1")
    assert psal(*run, "-o", "whole").exit_code == 0
    bad = Path("photos/000.png")
    whole = bad.read_bytes()
    bad.write_text("no picture")
    Path("job.sh").write_text(psal("batch", "slurm", "--shards", "3", "--cpus", "1", "--", *run, "-o", "out").stdout)
    env = daemons | shell_psal | {"SLURM_CONF": daemons["SLURM_CONF"]}
    states = sorted(run_array(env))
    assert states == ["COMPLETED", "COMPLETED", "FAILED"], [path.read_text() for path in Path().glob("psal-*.log")]
    assert len(list(Path().glob("report_*of3.jsonl"))) == len(list(Path().glob("psal-*.log"))) == 3
    assert tree("out") == {name: data for name, data in tree("whole").items() if name != bad.name}
    merged = psal("batch", "merge", *Path().glob("report_*.jsonl"))
    assert merged.exit_code == 1 and "photos/000.png is not a picture" in merged.stdout
    bad.write_bytes(whole)
    failed = next(path.stem[7] for path in Path().glob("report_*.jsonl") if '"failed"' in path.read_text())
    assert run_array(env, f"--array={failed}") == ["COMPLETED"]
    assert psal("batch", "merge", *Path().glob("report_*.jsonl")).exit_code == 0 and tree("out") == tree("whole")
