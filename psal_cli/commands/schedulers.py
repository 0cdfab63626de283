"""`--shard auto`: the shard for which a scheduler has started this process, from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from psal_cli.batch.shards import Shard, parse
from psal_cli.errors import InputError

AUTO = "auto"
TOTAL = "PSAL_SHARDS"  # the number of shards, if the scheduler does not report it or counts only restarted tasks
KUBERNETES_TOTAL = "JOB_COMPLETIONS"  # Kubernetes tells a pod only its index: the user sets this one
SLURM, AWS, KUBERNETES = "SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX"
AWS_TOTAL = "AWS_BATCH_JOB_ARRAY_SIZE"
BY_HAND = "give --shard I/N, e.g. 1/4"


def resolve(text: str, environment: Mapping[str, str]) -> Shard:
    """The shard that "I/N" names, or for "auto" the one that SLURM (job arrays), AWS Batch (array jobs) or Kubernetes (indexed
    jobs) has started this process for.

    Raises InputError if there is no scheduler, or it does not report the shard and their number.
    """
    if text != AUTO:
        return parse(text)
    total = _number(environment, TOTAL)
    if environment.get(SLURM):
        return _slurm(environment, total)
    if environment.get(AWS):
        cure = f"set {TOTAL} to the size of the array"
        return _counted(environment, AWS, total or _number(environment, AWS_TOTAL), f"not {AWS_TOTAL}: {cure}")
    if environment.get(KUBERNETES):
        cure = f"set {KUBERNETES_TOTAL} in the container's env to the completions of the job"
        return _counted(environment, KUBERNETES, total or _number(environment, KUBERNETES_TOTAL), f"not of how many: {cure}")
    raise InputError(f"--shard auto: none of {SLURM}, {AWS} and {KUBERNETES} is set, no scheduler started this: {BY_HAND}")


def _slurm(environment: Mapping[str, str], total: int | None) -> Shard:
    """With `total`, the tasks of the array are numbered from 1 to `total`, and some of them may be restarted alone."""
    number = _number(environment, SLURM) or 0
    first, step = _number(environment, "SLURM_ARRAY_TASK_MIN"), _number(environment, "SLURM_ARRAY_TASK_STEP") or 1
    count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    if total:
        first, step, count = 1, 1, total
    if first is None or not count:
        lacking = "not SLURM_ARRAY_TASK_MIN and SLURM_ARRAY_TASK_COUNT"
        raise InputError(f"--shard auto: {SLURM} is set, but {lacking}: set {TOTAL} to the number of tasks, or {BY_HAND}")
    steps, rest = divmod(number - first, step)
    if rest or not 0 <= steps < count:
        array = f"from 1 to {count}" if total else f"from {first} in steps of {step}"
        cure = f"start the array as 1-N, with {TOTAL}=N to repeat some of its tasks, or {BY_HAND}"
        raise InputError(f"--shard auto: {SLURM} is {number}, which is none of {count} tasks {array}: {cure}")
    return Shard(steps + 1, count)


def _counted(environment: Mapping[str, str], name: str, count: int | None, lacking: str) -> Shard:
    """The shard of an index from 0. lacking: the message if the count is not set."""
    index = _number(environment, name) or 0
    if not count:
        raise InputError(f"--shard auto: {name} is set, but {lacking}, or {BY_HAND}")
    if index >= count:
        raise InputError(f"--shard auto: {name} is {index}, expected 0 to {count - 1}, as there are {count} shards: {BY_HAND}")
    return Shard(index + 1, count)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """An environment variable that holds a whole number; None if it is unset or empty."""
    text = environment.get(name, "").strip()
    if text and not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise InputError(f"--shard auto: {name} is {text}, expected a whole number")
    return int(text) if text else None
