"""The Python code on systems that lack what Linux has: every module is imported and a picture inpainted without it.

In a process that has lost the names which Windows or macOS do not have, and where files behave as they do there. What is not
Python is not tried: psal's library for these systems is only linked (.ci/dist).
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from .photos import ENV

pytestmark = [pytest.mark.subprocess, pytest.mark.slow]

# Other packages come first: they have code of their own for each system. Then the names go, and only then psal is imported.
LOST = """
import concurrent.futures, importlib, importlib.metadata, json, os, pathlib, signal, socket, subprocess, sys, tempfile, tomllib
import click, cv2, matplotlib.pyplot, numpy, PIL.Image, rich.console, safetensors.torch, torch, tqdm
import torch.utils.checkpoint, torch.utils.data
from click.testing import CliRunner

PIL.Image.init()
system = sys.argv[1]
set_blocking, set_wakeup_fd = os.set_blocking, signal.set_wakeup_fd
BOTH = "O_TMPFILE sched_getaffinity posix_fadvise memfd_create getrandom copy_file_range setxattr getxattr listxattr splice"
WINDOWS = '''chown lchown fchown fchmod fork forkpty getuid geteuid getgid getegid getgroups getloadavg getpgid getpgrp getsid
killpg lockf mkfifo mknod nice openpty pathconf fpathconf pipe2 pread preadv pwrite pwritev readv writev sendfile set_blocking
setsid statvfs fstatvfs sync sysconf sysconf_names confstr tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4 waitid fdatasync
O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_CLOEXEC O_SYNC ST_RDONLY'''
SIGNALS = '''SIGHUP SIGKILL SIGALRM SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 SIGTSTP SIGCONT SIGCHLD SIGWINCH SIGSTOP pthread_sigmask
setitimer alarm pause sigwait'''
for name in (BOTH + (" " + WINDOWS if system == "windows" else "")).split():
    if hasattr(os, name):
        delattr(os, name)
if system == "windows":
    for name in "fcntl grp pwd posix pty resource termios tty".split():
        sys.modules[name] = None
    for name in SIGNALS.split():
        delattr(signal, name)

hidden = [True]

def hook(event, arguments):  # neither system has these folders
    if hidden[0] and event == "open" and str(arguments[0]).startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])

sys.addaudithook(hook)
real = {name: getattr(os, name) for name in ("open", "replace", "chmod", "link", "kill")}

def is_open(path):
    hidden[0] = False
    try:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return os.path.realpath(path) in [os.path.realpath(link) for link in links]
    finally:
        hidden[0] = True

def refusing(name, refuses):
    def call(path, *more, **options):
        if refuses(path, options):
            raise PermissionError(13, "Permission denied", path)
        return real[name](path, *more, **options)
    return call

if system == "windows":
    os.open = refusing("open", lambda path, _: os.path.isdir(path))
    os.replace = refusing("replace", lambda path, _: is_open(path))
    os.chmod = refusing("chmod", lambda path, _: isinstance(path, int))
    os.supports_fd = {call for call in os.supports_fd if call is not real["chmod"]}
    os.kill = refusing("kill", lambda path, _: True)

    def any_pipe(pipe, **options):  # Windows asks for no pipe that does not block
        if pipe >= 0:
            set_blocking(pipe, False)
        return set_wakeup_fd(pipe, **options)

    signal.set_wakeup_fd = any_pipe
os.link = refusing("link", lambda _, options: "src_dir_fd" in options)

import psal_cli

home = pathlib.Path(psal_cli.__file__).parent
modules = [".".join(path.relative_to(home.parent).with_suffix("").parts) for path in sorted(home.rglob("*.py"))]
# Not there either: Dask, which workers of a cluster need, and GIMP, which starts its plug-in.
modules = [name for name in modules if name.split(".")[-1] != "cluster_worker" and ".gimp." not in name]
for name in modules:
    importlib.import_module(name)
from psal_cli.commands import main

def psal(*arguments):
    done = CliRunner().invoke(main, arguments)
    return [done.exit_code, done.stderr.splitlines()[-1:]]

done = [
    psal("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--jobs", "2"),
    psal("inpaint", "photos/a.png", "--mask", "mask.png", "-o", "out/a.png", "--force"),
    psal("inpaint", "photos/a.png", "--mask", "mask.png", "-o", "out/a.png"),
    psal("doctor"),
]
print(json.dumps([len(modules), done]))
"""


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_every_module_loads_and_inpaint_runs_without_what_other_systems_lack(tmp_path, system):
    (tmp_path / "photos").mkdir()
    mask = np.zeros((40, 48), np.uint8)
    mask[15:22, 20:30] = 255
    pictures = {name: np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8) for seed, name in enumerate("ab")}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / f"photos/{name}.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")

    done = subprocess.run([sys.executable, "-P", "-c", LOST, system], cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    modules, ((folder, _), (again, _), (unasked, words), (doctor, _)) = json.loads(done.stdout)
    assert modules > 100 and (folder, again, unasked, doctor) == (0, 0, 2, 0), done.stdout
    assert "exists" in words[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]  # no .part is left
    for name, pixels in pictures.items():
        filled = np.asarray(Image.open(tmp_path / f"out/{name}.png"))
        assert (filled == pixels)[mask == 0].all() and not (filled == pixels)[mask > 0].all()
