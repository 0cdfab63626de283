"""The emulation of CUDA itself: what its checks must report of a kernel, and what they must not (cuda_emulation/faulty.cu)."""

import re

import pytest
import torch

from .cuda_emulation.build import for_the_host

pytestmark = pytest.mark.emulation
RIGHT = {  # kernel: what it makes of 0, 1, ..., 63
    "reverse": torch.arange(63.0, -1, -1),
    "reverse_warp": torch.cat((torch.arange(31.0, -1, -1), torch.arange(63.0, 31, -1))),
    "sum_atomically": torch.cat((torch.tensor([128.0]), torch.arange(1.0, 64))),
    "exchanges": torch.ones(64),
}
WRONG = {
    "reverse_without_barrier": r"uninitialised: thread 0 of block \(0, 0, 0\) reads 4 bytes at byte 252 of shared memory",
    "swap_without_barrier": "race: thread 1 .* reads 4 bytes at byte 0 of shared memory.*thread 0 of the same block wrote",
    "reverse_warp_without_barrier": "race: thread 31 .* dynamic shared memory, which has 256; thread 0 of the same block wrote",
    "sum": "race: thread 1 .* of data, which has 256; thread 0 of the same block wrote it, and no barrier is between",
    "sum_half_atomically": r"race: thread 0 of block \(1, 0, 0\) writes 4 bytes .*of another block wrote",
    "blocks_share_a_number": r"race: thread 9 of block \(1, 0, 0\) reads .* at byte 20 of data.* of another block wrote",
    "shift_in_place": "race: thread 2 .* writes 4 bytes at byte 4 of data.*thread 1 of the same block read it",
    "read_beyond": "out of bounds: thread 0 .* reads 4 bytes at byte 256 of data, which has 256",
    "write_before": r"out of bounds: thread 3 of block \(1, 0, 0\) writes 4 bytes of memory that is not the device's",
    "read_beyond_shared": "out of bounds: thread 7 .* reads 4 bytes at byte 256 of shared memory, which has 256",
    "read_uninitialised_shared": r"uninitialised: thread 0 of block \(1, 0, 0\) reads 4 bytes at byte 20 of shared memory",
    "load_misaligned": "misaligned: thread 0 .* reads 16 bytes at byte 4 of data",
    "barrier_in_a_branch": r"divergent __syncthreads: thread 32 .* ends while others wait in faulty\.cu:\d+",
    "barrier_in_both_branches": r"divergent __syncthreads: thread 32 .* is in faulty\.cu:\d+, others in faulty\.cu:\d+",
    "barrier_after_an_end": "divergent __syncthreads: thread 1 .* others have ended",
    "barrier_against_shuffle": r"deadlock: .*\(divergent __syncthreads\)",
    "shuffle_from_an_ended_lane": "undefined shuffle: thread 0 .* reads lane 16, which takes no part",
    "shuffle_outside_the_mask": "divergent warp: thread 16 .* is not in the mask that it names",
    "shuffles_that_differ": r"divergent warp: thread 1 .* is in faulty\.cu:\d+, others of its mask in faulty\.cu:\d+",
}


@pytest.mark.parametrize("kernel", RIGHT)
def test_a_correct_kernel_runs_and_nothing_is_reported(emulated, kernel):
    numbers = torch.arange(64.0)
    assert emulated.run(kernel, numbers) is None
    assert torch.equal(numbers, RIGHT[kernel])


@pytest.mark.parametrize("kernel", WRONG)
def test_a_faulty_kernel_is_reported(emulated, kernel):
    message = emulated.run(kernel, torch.arange(64.0))
    assert message is not None and re.search(WRONG[kernel], message), message


def test_the_device_works_on_after_a_fault(emulated):
    assert "race" in emulated.run("sum", torch.zeros(64))
    numbers = torch.arange(64.0)
    assert emulated.run("reverse", numbers) is None and torch.equal(numbers, RIGHT["reverse"])


def test_a_write_to_an_input_is_reported(emulated):
    message = emulated.run("sum_atomically", torch.zeros(64), constant=True)
    assert "write to an input: thread 0 of block (0, 0, 0) atomically changes 4 bytes at byte 0 of data" in message


def test_a_block_too_large_for_any_device_is_refused(emulated):
    assert emulated.run("sum_atomically", torch.zeros(64), threads=2048) == "invalid configuration argument"


def test_launches_and_shared_memory_are_rewritten_and_lines_keep_their_numbers(tmp_path):
    source = tmp_path / "kernel.cu"
    shared = "__shared__ float tile[4][8];\nextern __shared__ int room[];\n"
    source.write_text(shared + "f<float, 2><<<grid, 64,\n 0, stream>>>(a, b);\n")
    assert for_the_host(source).splitlines() == [
        '#line 1 "kernel.cu"',
        "auto& tile = ::emulation::shared<float[4][8], __COUNTER__>();",
        "int* room = (int*)::emulation::dynamic_shared_memory();",
        "::emulation::Launch(f<float, 2>, grid, 64,",
        " 0, stream)(a, b);",
    ]
