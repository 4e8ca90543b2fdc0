"""Reading a load to its end: mysqlbinlog, Tidegate and other readers, one after the other, round by round.

Every reader but mysqlbinlog says how many rows it had; a number that is not the load's ends the bench.
"""

import os
import shutil
import subprocess

from . import measure, tidegate
from .loads import FIRST_FILE
from .servers import PROJECT

PEERS = PROJECT / "bench" / "peers"
BUILD = PROJECT / "target" / "bench"
READER_SECONDS_MAX = 600


class Raw:
    name = "mysqlbinlog --raw"

    def __init__(self, work):
        self.work = work

    def run(self, load):
        return measure.run(load.raw_command(self.work / f"raw-{load.name}"), READER_SECONDS_MAX, self.work / "raw.log"), load.rows

    def version(self, load):
        return subprocess.run([load.server.path("mysqlbinlog"), "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split("Ver ")[1].split(" ")[0]


class Tidegate:
    """`tidegate run --until caught-up` into sink null, which asks for every column of both images. One lane: nothing waits for null."""

    def __init__(self, work, with_plugin):
        self.work, self.with_plugin = work, with_plugin
        self.name = "Tidegate with a plugin" if with_plugin else "Tidegate"

    def run(self, load, sample=False):
        plugin = tidegate.plugin(load.name) if self.with_plugin else ""
        manifest = tidegate.manifest(self.work, tidegate.source(load), tidegate.SINK_NULL, plugin=plugin, pipeline="lanes = 1\n")
        return tidegate.until_caught_up(manifest, READER_SECONDS_MAX, sample)

    def version(self, _):
        return tidegate.version()


class ApeDts:
    name = "ape-dts (mysql-binlog-connector-rust)"

    def __init__(self, work):
        self.work = work
        self.environment = dict(os.environ, CARGO_TARGET_DIR=str(BUILD / "ape-dts"))

    def build(self):
        subprocess.run(["cargo", "build", "--quiet", "--locked", "--release"], cwd=PEERS / "ape-dts", env=self.environment, check=True)

    def run(self, load):
        return counted([BUILD / "ape-dts" / "release" / "peer-ape-dts", load.server.port, FIRST_FILE, *load.end], self.work / "ape-dts.log")

    def version(self, _):
        text = (PEERS / "ape-dts" / "Cargo.toml").read_text()
        return text.split('mysql-binlog-connector-rust = "=')[1].split('"')[0]


class GoMysql:
    name = "go-mysql"

    def __init__(self, work):
        self.work = work

    def build(self):
        subprocess.run(["go", "build", "-o", BUILD / "peer-go-mysql", "."], cwd=PEERS / "go-mysql", check=True)

    def run(self, load):
        return counted([BUILD / "peer-go-mysql", load.server.port, FIRST_FILE, *load.end], self.work / "go-mysql.log")

    def version(self, _):
        text = (PEERS / "go-mysql" / "go.mod").read_text()
        return text.split("github.com/go-mysql-org/go-mysql v")[1].split()[0]


class Debezium:
    name = "Debezium embedded engine"

    def __init__(self, work):
        self.work = work

    def build(self):
        maven = ["mvn", "-q", "-B", "-f", PEERS / "debezium" / "pom.xml", f"-Dpeer.build={BUILD / 'debezium'}"]
        subprocess.run([*maven, "compile", "dependency:copy-dependencies", f"-DoutputDirectory={BUILD / 'debezium' / 'lib'}"], check=True)

    def run(self, load):
        classes = f"{BUILD / 'debezium' / 'classes'}:{BUILD / 'debezium' / 'lib'}/*"
        settings = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        folder = self.work / "debezium"
        shutil.rmtree(folder, ignore_errors=True)
        return counted(["java", *settings, "-cp", classes, "bench.Peer", load.server.port, load.rows, folder], self.work / "debezium.log")

    def version(self, _):
        text = (PEERS / "debezium" / "pom.xml").read_text()
        return text.split("<debezium.version>")[1].split("<")[0]


def counted(command, log):
    run = measure.run([str(word) for word in command], READER_SECONDS_MAX, log)
    return run, int(run.output.split()[-1])


def drain(loads, name, rounds, work, with_peers):
    """Reader → medians of CPU and wall seconds, peak memory, and the ratio of its CPU to mysqlbinlog's in the same round."""
    ours = [Raw(work), Tidegate(work, False), Tidegate(work, True)]
    peers = [ApeDts(work), GoMysql(work), Debezium(work)] if with_peers else []
    for peer in peers:
        peer.build()
    readers = ours + peers
    load = loads.serve(name)
    # Once unmeasured, so that the binlog is in the page cache for every reader.
    for reader in ours:
        reader.run(load)
    runs = {reader.name: [] for reader in readers}
    for number in range(rounds):
        for reader in readers:
            run, rows = reader.run(load)
            if rows != load.rows:
                raise SystemExit(f"{reader.name} on {name}: {rows} rows, but the load has {load.rows}")
            runs[reader.name].append(run)
            print(f"{name} {number + 1}: {reader.name}: {run.cpu:.2f} s CPU, {run.wall:.2f} s, {run.peak / 1e6:.0f} MB", flush=True)
    raw = runs[Raw.name]
    summaries = {reader.name: summary(runs[reader.name], raw, load.rows) | {"version": reader.version(load)} for reader in readers}
    return {"counts": load.counts, "rounds": rounds, "readers": summaries}


def compare(loads, rounds, work, base, other):
    """What a row of load `other` costs Tidegate, against one of `base`: CPU seconds a row, and the median of the ratios."""
    reader = Tidegate(work, False)
    runs = {name: [] for name in (base, other)}
    for number in range(rounds + 1):
        for name in runs:
            load = loads.serve(name)
            run, rows = reader.run(load)
            if rows != load.rows:
                raise SystemExit(f"Tidegate on {name}: {rows} rows, but the load has {load.rows}")
            # The first time, the binlog may not be in the page cache.
            if number > 0:
                runs[name].append(run.cpu / rows)
                print(f"{name} {number}: {run.cpu / rows * 1e9:.0f} ns of CPU a row", flush=True)
    ratio = measure.median(one / of_base for one, of_base in zip(runs[other], runs[base]))
    return {"rounds": rounds, "rows": {name: measure.median(of) for name, of in runs.items()}, "ratio": ratio}


def summary(runs, raw, rows):
    cpu = measure.median(run.cpu for run in runs)
    return {
        "cpu": cpu,
        "wall": measure.median(run.wall for run in runs),
        "peak": max(run.peak for run in runs),
        "ratio": measure.median(run.cpu / base.cpu for run, base in zip(runs, raw)),
        "rows_per_core_second": rows / cpu,
        "rounds": [round(run.cpu, 3) for run in runs],
    }
