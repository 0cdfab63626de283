"""One field for all machines: the instruction sets of this processor, and other compilers and processors where they can be tried.

The baseline of x86-64 has no fused multiply-add, rounds products by themselves, and is left out.
"""

import subprocess

import pytest
import torch

from psal_cli import native, ops

from .engine.build import crossed, emulators, fields, needs_a_compiler, needs_zig

FUSED = ("x86-64-v3", "x86-64-v4")
pytestmark = pytest.mark.native


@pytest.fixture
def use():
    """A function that chooses the instruction set; the one before is chosen again after the test."""
    before = native.cpu_isa()
    yield native.use_cpu_isa
    native.use_cpu_isa(before)


def problems():
    """Twenty searches by all schedules: sizes, channels and patches that fill vectors and that do not."""
    for number in range(20):
        channels, side, patch = (16, 3, 1, 21, 37)[number % 5], 24 + 7 * (number % 4), (7, 5, 3, 1)[number // 5]
        query, key = torch.randn(1, channels, side + 5, 41), torch.randn(1, channels, side, 50)
        schedule = ("scan", "jump-flood", "exact")[number % 3]
        yield query, key, patch, 1 + number % 4, 3, ("l2", "dot")[number % 2], schedule


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_field_is_the_same_on_all_instruction_sets_with_fused_multiply_add(use, dtype):
    by_set = {}
    for name in FUSED:
        try:
            use(name)
        except ValueError:
            continue
        torch.manual_seed(0)
        by_set[name] = []
        for query, key, patch, k, iterations, similarity, schedule in problems():
            query, key = query.to(dtype), key.to(dtype)
            nnf, best = ops.search(query, key, patch, k, iterations, similarity, schedule=schedule, seed=3)
            by_set[name] += [nnf, best.view(torch.int32), ops.similarity_at(query, key, nnf, patch, similarity).view(torch.int32)]
    if len(by_set) < 2:
        pytest.skip("the processor and this build have fewer than two such sets")
    first, second = by_set.values()
    assert len(first) == 60 and all(torch.equal(left, right) for left, right in zip(first, second, strict=True))


def test_an_instruction_set_that_cannot_be_used_is_refused_by_name(use):
    with pytest.raises(ValueError, match="x86-64-v9: psal was not built for the instruction set"):
        use("x86-64-v9")


@pytest.mark.subprocess
@pytest.mark.slow
@pytest.mark.unsanitized
@needs_a_compiler
@needs_zig
@pytest.mark.skipif(native.cpu_isa() not in FUSED, reason="this processor has no fused multiply-add to compare with")
@pytest.mark.parametrize("target", ["x86_64-linux-gnu.2.17", "aarch64-linux-gnu.2.17"])
def test_the_field_is_the_same_by_clang_and_on_arm(target, tmp_path):
    emulator = emulators("aarch64") if target.startswith("aarch64") else []
    here = subprocess.run([fields(tmp_path, native.library()._name)], stdout=subprocess.PIPE, text=True, check=True)
    program = crossed(target)
    there = subprocess.run([*emulator, program], stdout=subprocess.PIPE, text=True, check=True)
    assert len(here.stdout.split()) == 20 and there.stdout == here.stdout
