"""What this machine can do: float32 multiply-adds a second and bytes copied a second, measured, not looked up."""

import time

import torch


def seconds_of(run, device: str) -> float:
    """Of one run: wall time on CUDA; on the CPU processor time over torch's threads, which other programs disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - wall
    return (time.process_time() - processor) / torch.get_num_threads()


def best_seconds(run, device: str, repeats: int) -> float:
    """The shortest of `repeats` runs after one to warm up: a peak is what is left when nothing disturbs."""
    seconds_of(run, device)
    return min(seconds_of(run, device) for _ in range(repeats))


def machine_peaks(device: str = "cpu", quick: bool = False) -> dict:
    """{"flop": float32 flops a second, "copy_bytes": bytes read plus written a second}, with torch's threads.

    flop: the best of several square matrix products (one multiply-add = 2 flops; on CUDA without TF32, torch's default).
    copy_bytes: the best of several copies of 512 MiB, larger than most caches.
    """
    side = 8192 if device == "cuda" else 2048
    a, b = torch.rand(2, side, side, device=device)
    seconds = best_seconds(lambda: a @ b, device, 5 if quick else 15)
    source = torch.ones(2**27, device=device)
    target = torch.zeros_like(source)
    copy_seconds = best_seconds(lambda: target.copy_(source), device, 3 if quick else 8)
    return {"flop": 2 * side**3 / seconds, "copy_bytes": 2 * source.nbytes / copy_seconds}
