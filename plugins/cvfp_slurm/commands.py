"""What Slurm's commands say, and their errors as one line."""

from __future__ import annotations

import re
import shutil
import subprocess

from cvfp_core.errors import CvfpError, UsageError

_GONE = "Invalid job id"
"""What squeue says of a job that has ended and is forgotten."""


def ask(*command: str) -> str:
    """What one of Slurm's commands prints. Raises CvfpError with what it says where it fails."""
    done = run(*command)
    if done.returncode:
        raise CvfpError(f"{command[0]}: {said(done)}")
    return done.stdout


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """One of Slurm's commands. Raises UsageError where it is not installed."""
    if shutil.which(command[0]) is None:
        raise UsageError(f"no Slurm here: '{command[0]}' is not on PATH; run this on a login node of the cluster, "
                         "or take another executor")
    return subprocess.run(command, text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed says, on one line, without its own name."""
    lines = [re.sub(r"^(?:\w+: )?(?:error|fatal): ", "", line).strip() for line in done.stderr.splitlines()]
    said = [line for line in lines if line and "queued and waiting" not in line]
    return "; ".join(said) or f"exit code {done.returncode}"


def tasks(job_id: str) -> list[tuple[str, str]]:
    """State and reason of every task of an array that is in the queue or runs."""
    done = run("squeue", "--noheader", "--array", f"--jobs={job_id}", "--format=%T|%r")
    if done.returncode and _GONE in done.stderr:
        return []
    if done.returncode:
        raise CvfpError(f"squeue: {said(done)}")
    found = [line.partition("|") for line in done.stdout.splitlines()]
    return [(state, reason) for state, _, reason in found]


def out_of_memory(job_id: str) -> bool:
    """Whether a task was ended for want of memory, as far as Slurm remembers: by default for five minutes."""
    done = run("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T")
    return done.stdout.split() == ["OUT_OF_MEMORY"]


def limits() -> dict[str, float | None]:
    """Minutes that a job may take, by partition, the default one also as ''; None: as long as it likes."""
    found: dict[str, float | None] = {}
    for line in ask("sinfo", "--noheader", "--format=%P|%l").splitlines():
        name, _, limit = line.partition("|")
        for each in (name.removesuffix("*"), *([""] if name.endswith("*") else [])):
            found[each] = _minutes(limit)
    return found


def _minutes(limit: str) -> float | None:
    """Of `1-02:30:00`, `2:30:00`, `30:00`; None of anything else."""
    parts = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit.strip())
    if parts is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return 1440 * days + 60 * hours + minutes + seconds / 60
