"""Hosts on one machine, as network namespaces that a bridge connects: for what crosses a network. Needs root and iproute2."""

import os
import subprocess

SECONDS = 20  # that a link is cut for: more than Dask's heartbeats, less than the 30 s after which it gives a connection up


class Hosts:
    """Namespaces with the addresses 10.231.7.1, 10.231.7.2 and so on, removed at the end."""

    def __init__(self, count: int, latency: str, seconds: int = SECONDS):
        self.count, self.latency, self.seconds = count, latency, seconds
        self.bridge = f"psal{os.getpid() % 100000}"

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
            self.delay(host)
        return self

    def delay(self, host: int) -> None:
        """Adds the latency to all that a host sends, where the kernel can."""
        netem = ["tc", "-n", self.name(host), "qdisc", "add", "dev", "eth0", "root", "netem", "delay", self.latency]
        self.delayed = subprocess.run(netem, capture_output=True).returncode == 0

    def cut(self, host: int) -> None:
        _ip("link", "set", f"{self.bridge}v{host}", "down")

    def mend(self, host: int) -> None:
        _ip("link", "set", f"{self.bridge}v{host}", "up")

    def __exit__(self, *_: object) -> None:
        for host in range(self.count):
            subprocess.run(["ip", "netns", "del", self.name(host)], capture_output=True)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
