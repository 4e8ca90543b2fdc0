"""Runs programs and says what they took, by the kernel's own accounts (wait4 and /proc)."""

import os
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Run:
    """One run of a program. Seconds; `cpu` is user and system time of all its threads; `peak` is the largest resident set, in bytes."""

    cpu: float
    wall: float
    peak: int
    output: str
    # Resident set in bytes, 20 times a second; only if asked for.
    samples: list = field(default_factory=list)


def run(command, seconds_max, log, sample=False, cwd=None, environment=None):
    """Runs `command` to its end. Its standard error goes to the file `log`; a failure or a run over `seconds_max` ends the bench."""
    with open(log, "wb") as errors:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, cwd=cwd, env=environment)
        timer = threading.Timer(seconds_max, process.kill)
        timer.start()
        samples, sampler = [], None
        if sample:
            sampler = threading.Thread(target=watch, args=(process.pid, samples))
            sampler.start()
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if sampler:
            sampler.join()
    if process.returncode != 0:
        tail = Path(log).read_text(errors="replace")[-2000:]
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {process.returncode} after {wall:.0f} s:\n{tail}")
    # Linux keeps the parent's resident set from before exec in ru_maxrss; Python's is below that of everything measured here but idling.
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, output, samples)


def watch(pid, samples):
    while (resident := memory(pid, "VmRSS")) is not None:
        samples.append(resident)
        time.sleep(0.05)


def memory(pid, name):
    """VmRSS or VmHWM of a process in bytes; None once it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def cpu_of(pid):
    """User and system seconds of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(values):
    return statistics.median(values)
