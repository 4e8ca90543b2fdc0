"""MySQL to MySQL: the OLTP load into an empty server, by MySQL's own replica applier and by Tidegate, round by round.

Every run begins with a new target of the same options: a binlog of its own, and relaxed durability (sync_binlog = 0,
innodb_flush_log_at_trx_commit = 2), so that the disk is not what is measured. The replica first fetches all of the binlog; only its SQL
threads are timed, with the server's defaults (4 workers, commit order kept). Tidegate is timed from its start to its end, reading from the
source included. After each run the tables must have the source's checksums.
"""

import shutil
import subprocess
import time

from . import measure, tidegate
from .servers import PORT, MySql

OPTIONS = (
    "--server-id=103 --innodb-buffer-pool-size=1G --innodb-redo-log-capacity=1G --binlog-rows-query-log-events=OFF --max-allowed-packet=64M"
    " --sync-binlog=0 --innodb-flush-log-at-trx-commit=2 --replica-parallel-workers=4 --log-replica-updates=ON --skip-replica-start"
).split()
SECONDS_MAX = 900
REPLICA = "MySQL's replica applier"
# name: more keys of the pipeline
MODES = {
    "Tidegate, at-least-once, 2 lanes": "lanes = 2\n",
    "Tidegate, exactly-once, ordering = transaction": 'delivery = "exactly-once"\nordering = "transaction"\n',
}


def compare(loads, rounds, work):
    load = loads.serve("oltp")
    tables = ", ".join(load.counts["tables"])
    truth = load.server.rows(f"CHECKSUM TABLE {tables}")
    runs = {name: [] for name in (REPLICA, *MODES)}
    for number in range(rounds):
        for name in runs:
            data = work / "apply-target"
            shutil.rmtree(data, ignore_errors=True)
            with MySql(data, PORT + 9, OPTIONS) as target:
                run = replica(load, target) if name == REPLICA else ours(load, target, work, MODES[name])
                if target.rows(f"CHECKSUM TABLE {tables}") != truth:
                    raise SystemExit(f"{name}: the target's tables are not the source's")
            runs[name].append(run)
            print(f"apply {number + 1}: {name}: {run['rows_per_second']:.0f} rows/s", flush=True)
    base = runs[REPLICA]
    summary = {
        name: {
            "rows_per_second": measure.median(run["rows_per_second"] for run in of),
            "ratio": measure.median(run["rows_per_second"] / other["rows_per_second"] for run, other in zip(of, base)),
            "target_cpu": measure.median(run["target_cpu"] for run in of),
            "own_cpu": measure.median(run["own_cpu"] for run in of),
        }
        for name, of in runs.items()
    }
    return {"rounds": rounds, "rows": load.rows, "runs": summary}


def replica(load, target):
    target.say(
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={load.server.port}, SOURCE_USER='peer', SOURCE_PASSWORD='peer',"
        " SOURCE_SSL=0, GET_SOURCE_PUBLIC_KEY=1, SOURCE_LOG_FILE='binlog.000001', SOURCE_LOG_POS=4; START REPLICA IO_THREAD"
    )
    file, offset = load.end
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        lines = target.call("client", "--vertical", "-e", "SHOW REPLICA STATUS", stdout=subprocess.PIPE).stdout.splitlines()
        status = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status["Last_IO_Error"]:
            raise SystemExit(f"the replica cannot read: {status['Last_IO_Error']}")
        if (status["Source_Log_File"], int(status["Read_Source_Log_Pos"])) >= (file, offset):
            break
        if time.monotonic() > deadline:
            raise SystemExit("the replica has not fetched the binlog in time")
        time.sleep(0.2)
    executed = load.server.rows("SELECT REPLACE(@@GLOBAL.gtid_executed,'\\n','')")[0][0].replace("\\n", "")
    pid = server_pid(target)
    before, begin = measure.cpu_of(pid), time.monotonic()
    target.say("START REPLICA SQL_THREAD")
    timed_out = target.rows(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', {SECONDS_MAX})")[0][0]
    took = time.monotonic() - begin
    if timed_out != "0":
        raise SystemExit("the replica has not applied the binlog in time")
    target_cpu = measure.cpu_of(pid) - before
    target.say("STOP REPLICA; RESET REPLICA ALL")
    return {"rows_per_second": load.rows / took, "target_cpu": target_cpu, "own_cpu": 0.0}


def ours(load, target, work, pipeline):
    (schema,) = {table.split(".")[0] for table in load.counts["tables"]}
    creates = [load.server.rows(f"SHOW CREATE TABLE {table}")[0][1].replace("\\n", " ") for table in load.counts["tables"]]
    target.say(f"CREATE DATABASE {schema}; USE {schema}; " + "; ".join(creates))
    sink = f'[sink.target]\ntype = "mysql"\nurl = "mysql://root@127.0.0.1:{target.port}/{schema}"\n'
    manifest = tidegate.manifest(work, tidegate.source(load), sink, pipeline=pipeline)
    pid = server_pid(target)
    before = measure.cpu_of(pid)
    run, rows = tidegate.until_caught_up(manifest, SECONDS_MAX)
    if rows != load.rows:
        raise SystemExit(f"Tidegate: {rows} rows, but the load has {load.rows}")
    return {"rows_per_second": load.rows / run.wall, "target_cpu": measure.cpu_of(pid) - before, "own_cpu": run.cpu}


def server_pid(server):
    return int((server.data / "my.pid").read_text())
