"""Reading a full table: mysqldump, mydumper with two threads, and Tidegate with two readers, one after the other, round by round.

None of them writes anything that counts: mysqldump and mydumper to /dev/null (mydumper into a folder in memory that is emptied), Tidegate into
sink `null`, where every column of every row is decoded into Arrow.
"""

import shutil
import subprocess
from pathlib import Path

from . import measure, tidegate
from .servers import PORT, SCRIPTS, MySql, cache

ROWS = 2_000_000
SECONDS_MAX = 600
TABLE = """CREATE DATABASE full; USE full;
CREATE TABLE orders (
  id BIGINT NOT NULL PRIMARY KEY, customer INT NOT NULL, quantity INT NOT NULL, status TINYINT NOT NULL, code VARCHAR(20) NOT NULL,
  name VARCHAR(60) NOT NULL, email VARCHAR(80), amount DECIMAL(12,2) NOT NULL, created DATETIME(6) NOT NULL, changed DATETIME(6) NOT NULL,
  note TEXT) CHARSET utf8mb4;
SET sql_log_bin = 0;
SET cte_max_recursion_depth = 10000000;
INSERT INTO orders WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i, 1 + i * 7919 % 500000, 1 + i % 99, i % 10, SUBSTR(SHA2(i, 256), 1, 12), SUBSTR(SHA2(i, 256), 1, 8 + i % 23),
  IF(i % 13 = 0, NULL, CONCAT(SUBSTR(SHA2(i, 256), 3, 8 + i % 13), '@example.com')), i * 7919 % 100000000 / 100,
  '2026-01-01 00:00:00.123456' + INTERVAL i SECOND, '2026-02-01 00:00:00.654321' + INTERVAL i SECOND, REPEAT('note ', i % 13) FROM n;
ANALYZE TABLE orders;
"""


def readers(server, work):
    dumps = Path("/dev/shm/tidegate-bench-dump")
    mydumper = subprocess.run([SCRIPTS / "mydumper.sh", "path"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    login = ["--host=127.0.0.1", f"--port={server.port}", "--user=root"]

    def mysqldump():
        command = [server.path("mysqldump"), "--no-defaults", *login, "--single-transaction", "--quick", "--result-file=/dev/null", "full"]
        return measure.run(command, SECONDS_MAX, work / "mysqldump.log")

    def two_threads():
        shutil.rmtree(dumps, ignore_errors=True)
        command = [mydumper, *login, "--database=full", "--threads=2", "--rows=100000", "--no-locks", "--trx-consistency-only", f"--outputdir={dumps}"]
        try:
            return measure.run(command, SECONDS_MAX, work / "mydumper.log")
        finally:
            shutil.rmtree(dumps, ignore_errors=True)

    def ours():
        source = tidegate.source_of(server, '"snapshot"').replace('["*.*", "!mysql.*"]', '["full.*"]')
        manifest = tidegate.manifest(work, source, tidegate.SINK_NULL, pipeline="lanes = 1\n")
        run, rows = tidegate.until_caught_up(manifest, SECONDS_MAX)
        if rows != ROWS:
            raise SystemExit(f"Tidegate read {rows} rows, but the table has {ROWS}")
        return run

    return {"mysqldump --single-transaction": mysqldump, "mydumper, 2 threads": two_threads, "Tidegate": ours}


def measure_rows(rounds, work):
    """Reader → median rows a second, the ratio to mysqldump's in the same round, and peak memory."""
    data = cache() / "snapshot-mysql"
    with MySql(data, PORT + 12, options=["--innodb-buffer-pool-size=1G"]) as server:
        if not server.rows("SHOW DATABASES LIKE 'full'"):
            server.say(TABLE.format(rows=ROWS))
        every = readers(server, work)
        runs = {name: [] for name in every}
        for number in range(rounds + 1):
            for name, run in every.items():
                of = run()
                print(f"snapshot {number}: {name}: {ROWS / of.wall / 1e3:.0f} k rows/s, {of.cpu:.2f} s CPU, {of.peak / 1e6:.0f} MB", flush=True)
                # Once unmeasured, so that the table is in the buffer pool for every reader.
                if number > 0:
                    runs[name].append(of)
    base = [run.wall for run in runs["mysqldump --single-transaction"]]
    dumper = [run.wall for run in runs["mydumper, 2 threads"]]

    def summary(of):
        ratio = lambda walls: measure.median(other / run.wall for other, run in zip(walls, of))  # noqa: E731
        return {
            "rows_per_second": ROWS / measure.median(run.wall for run in of),
            "cpu": measure.median(run.cpu for run in of),
            "peak": max(run.peak for run in of),
            "to_mysqldump": ratio(base),
            "to_mydumper": ratio(dumper),
        }

    return {"rows": ROWS, "rounds": rounds, "readers": {name: summary(of) for name, of in runs.items()}}
