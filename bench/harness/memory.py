"""Resident memory: while one very large transaction goes through, while millions of small ones do, and idle."""

import subprocess
import time

from . import measure, tidegate
from .drains import READER_SECONDS_MAX
from .servers import PORT, MySql

IDLE_SECONDS = 10


def sample(loads, work):
    results = {"idle": idle(work)}
    print("idle", results["idle"], flush=True)
    for name in ("oltp", "giant"):
        load = loads.serve(name)
        manifest = tidegate.manifest(work, tidegate.source(load), tidegate.SINK_NULL)
        run, rows = tidegate.until_caught_up(manifest, READER_SECONDS_MAX, sample=True)
        if rows != load.rows:
            raise SystemExit(f"Tidegate on {name}: {rows} rows, but the load has {load.rows}")
        half = len(run.samples) // 2
        results[name] = {"rows": rows, "first_half": max(run.samples[:half]), "second_half": max(run.samples[half:]), "peak": run.peak}
        print(name, results[name], flush=True)
    return results


def idle(work):
    """A pipeline with a plugin that has taken changes and then waits for more."""
    data = work / "idle-source"
    with MySql(data, PORT + 8) as server:
        server.say(
            "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, stock INT, note VARCHAR(50));"
            " INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) SELECT i,i,'x' FROM n"
        )
        source = tidegate.source_of(server, '"earliest"')
        manifest = tidegate.manifest(work, source, tidegate.SINK_NULL, plugin=tidegate.plugin("bulk"))
        with open(manifest.parent / "log", "wb") as log:
            process = subprocess.Popen([tidegate.BINARY, "run", manifest], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            time.sleep(IDLE_SECONDS)
            before = measure.cpu_of(process.pid)
            time.sleep(IDLE_SECONDS)
            resident, peak = measure.memory(process.pid, "VmRSS"), measure.memory(process.pid, "VmHWM")
            cpu = (measure.cpu_of(process.pid) - before) / IDLE_SECONDS
        finally:
            process.terminate()
            if process.wait(30) != 0:
                raise SystemExit(f"tidegate ended with {process.returncode}; see {manifest.parent / 'log'}")
    return {"resident": resident, "peak": peak, "cpu_share": cpu}
