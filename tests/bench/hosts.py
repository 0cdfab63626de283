"""Hosts on one machine, as network namespaces that a bridge connects: for what crosses a network. Needs root and iproute2.

Where the kernel cannot delay packets (netem), proxies delay what connections carry.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 20  # that a link is cut for: more than Dask's heartbeats, less than the 30 s after which it gives a connection up
PROXY = Path(__file__).with_name("delaying_proxy.py")
PINGED = 9999  # the port of what answers each byte
NETEM, PROXIES = "packets delayed by netem", "connections delayed by proxies"


class Hosts:
    """Namespaces with the addresses 10.231.7.1, 10.231.7.2 and so on, removed at the end."""

    def __init__(self, count: int, latency: float, seconds: int = SECONDS):
        """latency: seconds that all takes which leaves a host."""
        self.count, self.latency, self.seconds = count, latency, seconds
        self.bridge = f"psal{os.getpid() % 100000}"
        self.delay = NETEM
        self.proxies: list[subprocess.Popen[bytes]] = []

    def name(self, host: int) -> str:
        return f"{self.bridge}-{host}"

    def address(self, host: int) -> str:
        return f"10.231.7.{host + 1}"

    def prefix(self, host: int) -> list[str]:
        """What a command on a host begins with."""
        return ["ip", "netns", "exec", self.name(host)]

    def __enter__(self) -> "Hosts":
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("link", "set", self.bridge, "up")
        for host in range(self.count):
            name, outer = self.name(host), f"{self.bridge}v{host}"
            _ip("netns", "add", name)
            _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", outer, "master", self.bridge, "up")
            for link in ("lo", "eth0"):
                _ip("-n", name, "link", "set", link, "up")
            _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            netem = ["tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{1000 * self.latency:.0f}ms"]
            if subprocess.run(netem, capture_output=True).returncode:
                self.delay = PROXIES
        return self

    def reached(self, host: int, other: int, port: int) -> str:
        """Where a host finds a port of another one."""
        there = f"{self.address(other)}:{port}"
        if self.delay == NETEM:
            return there
        self._proxy(host, here := f"127.0.0.1:{port}", there)
        return here

    def own(self, host: int, port: int) -> str:
        """Where a process of a host has to listen, so that others find it at this port."""
        there = f"{self.address(host)}:{port}"
        if self.delay == NETEM:
            return there
        self._proxy(host, there, here := f"127.0.0.1:{port + 1}")
        return here

    def _proxy(self, host: int, here: str, there: str) -> None:
        command = [*self.prefix(host), sys.executable, str(PROXY), here, there, str(self.latency)]
        self.proxies.append(subprocess.Popen(command))
        time.sleep(1)  # until it listens

    def round_trip(self) -> float:
        """Milliseconds of a byte from the second host to the first and back."""
        echo = "import socket; s = socket.create_server(('{}', {})); c = s.accept()[0]; c.sendall(c.recv(1)); c.recv(1)"
        answering = [*self.prefix(0), sys.executable, "-c", echo.format(self.address(0), PINGED)]
        with subprocess.Popen(answering):
            time.sleep(1)
            to = self.reached(1, 0, PINGED).split(":")
            ask = f"c = socket.create_connection(('{to[0]}', {to[1]})); t = time.perf_counter(); c.sendall(b'a'); c.recv(1)"
            timed = f"import socket, time; {ask}; print(time.perf_counter() - t)"
            asking = [*self.prefix(1), sys.executable, "-c", timed]
            return 1000 * float(subprocess.run(asking, capture_output=True, check=True).stdout)

    def cut(self, host: int) -> None:
        _ip("link", "set", f"{self.bridge}v{host}", "down")

    def mend(self, host: int) -> None:
        _ip("link", "set", f"{self.bridge}v{host}", "up")

    def __exit__(self, *_: object) -> None:
        for proxy in self.proxies:
            proxy.kill()
            proxy.wait()
        for host in range(self.count):
            subprocess.run(["ip", "netns", "del", self.name(host)], capture_output=True)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
