"""The machine and versions of a measurement."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def facts(*packages: str, device: str | None = None) -> dict:
    """{"date", "machine", "versions"}: the head of every result file. device: the GPU, if there are several."""
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine(device), "versions": versions(*packages)}


def machine(device: str | None = None) -> dict:
    """{"processor", "cores", "memory_gb", "gpu"}: what a reader needs to judge a time, without the computer's name."""
    import torch

    meant = device if device and device.startswith("cuda") else None
    gpu = torch.cuda.get_device_name(meant) if torch.cuda.is_available() else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if known else None
    return {"processor": _processor(), "cores": usable, "memory_gb": memory and round(memory), "gpu": gpu}


def where(results: dict) -> str:
    """The machine and the day of some results, on one line."""
    machine = results["machine"]
    gpu = f", {machine['gpu']}" if machine["gpu"] and results.get("device", "cpu") != "cpu" else ""
    return f"{machine['processor']}, {machine['cores']} cores{gpu}, {results['date']}."


def _processor() -> str:
    """The model and, because virtual machines hide it, its family and the widest vectors that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = facts.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "sse2") if name in flags), platform.machine())
    return (
        f"{facts.get('model name', platform.machine())} (family {facts.get('cpu family')}, model {facts.get('model')}, {widest})"
    )


def versions(*packages: str) -> dict:
    """{"python": ..., package: version or None where it is not installed}."""
    installed: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = None
    return installed
