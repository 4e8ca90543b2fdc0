"""A hostile plugin in one pipeline, and what another pipeline of the same process feels of it.

Both read the same table of one MySQL: first a backlog, as fast as they can, then rows that come at a steady pace. One has `plugins/hostile`
between, whose call misbehaves whenever a marked row is in it, and sets aside what it fails at; the other writes lines of JSON that this process
reads, so that the clock and the count are outside of both. The base line is the same with a plugin that does nothing.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time

from . import measure as measuring
from . import tidegate
from .servers import PORT, PROJECT, MySql
from .wire import MySqlWire

MODES = (
    "loop", "trap", "trap-at-random", "recurse", "allocate", "offsets-beyond", "overlap", "derived-bomb", "log-flood", "state-flood",
    "state-churn", "state-rewrite",
)  # fmt: skip
HARMLESS = "nothing"
BACKLOG = 1_600_000
ROWS_A_SECOND = 500
SECONDS = 6
# Rows before this are not counted.
WARM_SECONDS = 1
# Rows between two that are marked, of the backlog and of those that follow.
MARKED_OF_BACKLOG, MARKED_OF_PACED = 64, 4
SECONDS_MAX = 60
ID = re.compile(rb'"after":\{"id":(\d+)')
SOURCE_OPTIONS = ("--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2")


def compare(rounds, work):
    with MySql(work / "hostile-source", PORT + 12, SOURCE_OPTIONS) as source:
        source.say("CREATE DATABASE shop; CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, note VARCHAR(100) NOT NULL, n INT NOT NULL)")
        file, offset = source.end_of_log()
        start = f'{{ file = "{file}", offset = {offset} }}'
        writer = MySqlWire(source.port)
        for first in range(0, BACKLOG, 1000):
            rows = ",".join(values(row, MARKED_OF_BACKLOG) for row in range(first, first + 1000))
            writer.execute(f"INSERT INTO shop.orders VALUES {rows}")
        one(source, start, HARMLESS, work)
        taken = {mode: [] for mode in (HARMLESS, *MODES)}
        for _ in range(rounds):
            for mode in taken:
                taken[mode].append(one(source, start, mode, work))
                print(mode, {key: round(value, 2) for key, value in taken[mode][-1].items()}, flush=True)
    return {"rounds": rounds, "backlog": BACKLOG, "rows_a_second": ROWS_A_SECOND, "load": os.getloadavg()[1], "modes": {mode: summary(of, taken[HARMLESS]) for mode, of in taken.items()}}


def values(row, marked_of):
    return f"({row},'{'!' if row % marked_of == 0 else '.'} a note of the usual length, number {row}',{row % 1000})"


def summary(of, base):
    def median(key):
        return measuring.median(run[key] for run in of)

    def ratio(key):
        return measuring.median(run[key] / beside[key] for run, beside in zip(of, base))

    figures = {key: median(key) for key in of[0]}
    return figures | {"peak": max(run["peak"] for run in of)} | {f"{key}_ratio": ratio(key) for key in ("drained", "p50", "p99")}


def manifest(source, start, mode, work):
    folder = work / "hostile"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for path in (folder / "data").iterdir():
        if path.name not in ("plugins", "identity"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    path = folder / "tidegate.toml"
    path.write_text(
        f'data_dir = "data"\n{tidegate.source_of(source, start)}{tidegate.SINK_NULL}'
        f'[plugin.hostile]\npath = "{PROJECT}/target/plugins/hostile.wasm"\nconfig = {{ do = "{mode}", marked = true }}\n'
        '[pipeline.hostile]\nsource = "load"\nplugins = ["hostile"]\nsink = "target"\non_row_error = "dead-letter"\ndead_letters_max = 1000000\n'
        '[sink.lines]\ntype = "jsonl"\npath = "-"\n[pipeline.good]\nsource = "load"\nsink = "lines"\n'
    )
    return path


def one(source, start, mode, work):
    """One run beside one mode: rows a second of the backlog, latencies in ms of what follows, memory, cores taken."""
    expected = {int(row) for (row,) in source.rows("SELECT id FROM shop.orders")}
    path = manifest(source, start, mode, work)
    with open(path.parent / "log", "wb") as log:
        process = subprocess.Popen([tidegate.BINARY, "run", path], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
    lines = Lines(process.stdout.fileno())
    try:
        lines.until(len(expected), SECONDS_MAX)
        drained = (len(expected) - lines.first) / (lines.times[-1] - lines.times[0])
        before, began = measuring.cpu_of(process.pid), time.monotonic()
        first, sent = max(expected) + 1, []
        writer = MySqlWire(source.port)
        for row in range(first, first + ROWS_A_SECOND * SECONDS):
            wait = began + (row - first) / ROWS_A_SECOND - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sent.append(time.monotonic())
            writer.execute(f"INSERT INTO shop.orders VALUES {values(row, MARKED_OF_PACED)}")
        expected |= set(range(first, first + len(sent)))
        lines.until(len(expected), SECONDS_MAX)
        cores = (measuring.cpu_of(process.pid) - before) / (time.monotonic() - began)
        peak = measuring.memory(process.pid, "VmHWM")
    finally:
        # The hostile one is not asked whether it would like to end.
        process.send_signal(signal.SIGKILL)
        process.wait()
    arrived = lines.arrived()
    if set(arrived) != expected:
        raise SystemExit(f"beside {mode}: {len(arrived)} rows arrived, of {len(expected)}; see {path.parent / 'log'}")
    latencies = sorted(1000 * (arrived[first + at] - sent[at]) for at in range(ROWS_A_SECOND * WARM_SECONDS, len(sent)))
    share = lambda part: latencies[int(len(latencies) * part)]  # noqa: E731
    return {"drained": drained, "p50": share(0.5), "p99": share(0.99), "max": latencies[-1], "peak": peak, "cores": cores, "log": os.path.getsize(path.parent / "log")}


class Lines:
    """Reads lines, and knows when each came."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.chunks, self.times, self.counts = [], [], []
        self.first = 0
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        count = 0
        while chunk := os.read(self.descriptor, 1 << 20):
            now = time.monotonic()
            with self.changed:
                count += chunk.count(b"\n")
                self.first = self.first or count
                self.chunks.append(chunk)
                self.times.append(now)
                self.counts.append(count)
                self.changed.notify()

    def until(self, count, seconds_max):
        with self.changed:
            if not self.changed.wait_for(lambda: self.counts and self.counts[-1] >= count, seconds_max):
                raise SystemExit(f"{self.counts[-1:]} of {count} rows have arrived after {seconds_max} s")

    def arrived(self):
        """When each row came, by id: when the chunk did that has the end of its line."""
        times, rest = {}, b""
        for chunk, now in zip(self.chunks, self.times):
            whole, _, rest = (rest + chunk).rpartition(b"\n")
            for row in ID.findall(whole):
                times.setdefault(int(row), now)
        return times
