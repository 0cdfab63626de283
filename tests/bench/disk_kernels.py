"""Runs disk_trials.py on file systems that this machine's kernel may lack: vfat and NFS of a Linux kernel in user space.

    apt-get install user-mode-linux kmod dosfstools nfs-kernel-server    # Debian; as root
    nice python tests/bench/disk_kernels.py [--disks vfat,nfs] [--kills 40] [--write-readme]

User-mode Linux is a kernel in a process. It takes this machine's root folder as its own and shares no mounts with it: what is
mounted here ends with it. The disks are images in the folder of temporary files. NFS is version 4.2, server and client at once.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from report import BENCH, README, RESULTS, ROOT

DISKS = {"vfat": "mkfs.vfat", "nfs": ""}
MEGABYTES = 200  # of an image
START = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /mnt
mount -t tmpfs tmp /lib/modules
mkdir /mnt/disk /mnt/tmp
ln -s "/usr/lib/uml/modules/$(uname -r)" /lib/modules/
{mount}
cd {root}
TMPDIR=/mnt/tmp PYTHONPATH={path} OMP_NUM_THREADS=1 nice {command} &> {log}
echo $? > {code}
umount /mnt/disk
sync
halt -f -p
"""
VFAT = "modprobe -a nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 vfat\nmount -t vfat -o utf8 /dev/ubda /mnt/disk"
NFS = """
mkdir /mnt/export
mount -t tmpfs -o size=200m tmp /mnt/export
mount -t tmpfs tmp /run
mount -t tmpfs tmp /var/lib/nfs
mkdir /var/lib/nfs/{rpc_pipefs,v4recovery,sm,sm.bak}
touch /var/lib/nfs/{etab,rmtab,state}
ip link set lo up
modprobe -a nfsd nfsv4
mount -t nfsd nfsd /proc/fs/nfsd
echo 15 > /proc/fs/nfsd/nfsv4gracetime
exportfs -o rw,no_root_squash,fsid=0,insecure,no_subtree_check 127.0.0.1:/mnt/export
rpc.mountd -N 3
rpc.nfsd -N 3 2
mount -t nfs4 -o vers=4.2 127.0.0.1:/ /mnt/disk
"""


def boot(kind: str, trials: list[str], folder: Path, megabytes: int) -> int:
    """Runs disk_trials.py on a new disk of that kind; returns its exit code."""
    image, start, log, code = folder / "disk.img", folder / "start", folder / "log", folder / "code"
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    if DISKS[kind]:
        subprocess.run([DISKS[kind], image], check=True, stdout=subprocess.DEVNULL)
    log.touch()
    program = [sys.executable, str(BENCH / "disk_trials.py"), "/mnt/disk", "--name", kind, *trials]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    start.write_text(
        START.format(
            mount=NFS if kind == "nfs" else VFAT,
            root=shlex.quote(str(ROOT)),
            path=shlex.quote(path),
            command=shlex.join(program),
            log=log,
            code=code,
        )
    )
    start.chmod(0o755)
    kernel = ["linux.uml", f"mem={megabytes}M", "rootfstype=hostfs", "rootflags=/", "rw", f"init={start}", f"ubda={image}"]
    with (folder / "console").open("wb") as console:
        subprocess.run([*kernel, "con=null", "con0=fd:0,fd:1"], stdin=subprocess.DEVNULL, stdout=console, stderr=console)
    sys.stderr.write(log.read_text())
    if not code.exists():
        sys.stderr.write((folder / "console").read_text(errors="replace")[-2000:])
        return 70
    return int(code.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disks", default=",".join(DISKS))
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--megabytes", type=int, default=2000, help="memory of the kernel")
    parser.add_argument(
        "--write-readme", action="store_true", help=f"put the table into {README.name}, figures into {RESULTS.name}/"
    )
    chosen = parser.parse_args()
    trials = ["--kills", str(chosen.kills), *["--write-readme"] * chosen.write_readme]
    failed = []
    for kind in chosen.disks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            if boot(kind, trials, Path(folder), chosen.megabytes):
                failed.append(kind)
    if failed:
        raise SystemExit(f"wrong on {', '.join(failed)}")


if __name__ == "__main__":
    main()
