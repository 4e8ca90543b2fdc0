"""Commit to sink: one row a transaction, 1000 a second, from MySQL into PostgreSQL, by a clock outside of all three.

This process inserts the rows and notes when it sent each statement. A trigger at the target notifies it of each row, which PostgreSQL
delivers when the transaction that wrote the row has committed. Both times are of this process's monotonic clock, so a row's latency has in it
the source's execution and commit, reading, decoding, batching, the target's commit, and the notification.
"""

import subprocess
import threading
import time

from . import measure as measuring
from . import tidegate
from .servers import PORT, MySql, Postgres
from .wire import MySqlWire, PostgresWire

ROWS_A_SECOND = 1000
SECONDS = 15
# Rows before this are not counted: connections and statements are being made.
WARM_SECONDS = 3
DATABASE = "shop"
# Durable at the target; the source must commit 1000 times a second on one connection.
SOURCE_OPTIONS = ("--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2", "--binlog-rows-query-log-events=OFF")


def measure(rounds, work):
    results = []
    with MySql(work / "latency-source", PORT + 10, SOURCE_OPTIONS) as source, Postgres(work / "latency-target", PORT + 11) as target:
        table = "orders (id INT PRIMARY KEY, customer INT NOT NULL, amount DECIMAL(12,2) NOT NULL, note VARCHAR(100) NOT NULL)"
        source.say(f"CREATE DATABASE shop; CREATE TABLE shop.{table}")
        target.say(f"CREATE DATABASE {DATABASE}")
        target.call(
            "client", "-q", "-d", DATABASE, "-v", "ON_ERROR_STOP=1",
            input=f"CREATE TABLE {table};"
            " CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('rows', NEW.id::text); RETURN NEW; END $$;"
            " CREATE TRIGGER tell AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell();",
        )  # fmt: skip
        alone = commits(target)
        sink = f'[sink.target]\ntype = "postgres"\nurl = "postgres://postgres@127.0.0.1:{target.port}/{DATABASE}"\n'
        manifest = tidegate.manifest(work, tidegate.source_of(source, '"earliest"'), sink)
        with open(manifest.parent / "log", "wb") as log:
            process = subprocess.Popen([tidegate.BINARY, "run", manifest], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            for number in range(rounds):
                before = measuring.cpu_of(process.pid)
                result = round_trip(source, target, number * ROWS_A_SECOND * SECONDS)
                result["cpu_share"] = (measuring.cpu_of(process.pid) - before) / SECONDS
                results.append(result)
                print("latency", {key: round(value, 2) for key, value in result.items()}, flush=True)
        finally:
            process.terminate()
            if process.wait(60) != 0:
                raise SystemExit(f"tidegate ended with {process.returncode}; see {manifest.parent / 'log'}")
    return {"rounds": rounds, "rows_a_second": ROWS_A_SECOND} | alone | {key: measuring.median(r[key] for r in results) for key in results[0]}


def commits(target):
    """How long the target takes for a commit when nothing else is going on."""
    client = PostgresWire(target.port, DATABASE)
    client.execute("CREATE TABLE alone (id INT)")
    took = []
    for row in range(500):
        begin = time.monotonic()
        client.execute(f"INSERT INTO alone VALUES ({row})")
        took.append(1000 * (time.monotonic() - begin))
    took.sort()
    return {"commit_p50": took[250], "commit_p99": took[495]}


def round_trip(source, target, first):
    count = ROWS_A_SECOND * SECONDS
    sent, arrived = [0.0] * count, [0.0] * count
    listener = PostgresWire(target.port, DATABASE)
    listener.execute("LISTEN rows")

    def listen():
        for _ in range(count):
            row = int(listener.notification())
            arrived[row - first] = time.monotonic()

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    writer = MySqlWire(source.port)
    begin = time.monotonic()
    for row in range(count):
        wait = begin + row / ROWS_A_SECOND - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        sent[row] = time.monotonic()
        writer.execute(f"INSERT INTO shop.orders VALUES ({first + row},{row % 1000},{row}.25,'a note of the usual length, number {row}')")
    took = time.monotonic() - begin
    listening.join(60)
    if listening.is_alive():
        raise SystemExit("not all rows have arrived after 60 s")
    latencies = sorted(1000 * (a - s) for a, s in zip(arrived[ROWS_A_SECOND * WARM_SECONDS :], sent[ROWS_A_SECOND * WARM_SECONDS :]))
    share = lambda part: latencies[int(len(latencies) * part)]  # noqa: E731
    return {"p50": share(0.5), "p99": share(0.99), "max": latencies[-1], "rows_per_second": count / took}
