"""The loads: binlogs of a real MySQL, made once and kept as data folders in the cache.

A kept load is a stopped instance with its binlog; serving it again takes seconds. Its name has a hash of the generator and of the server's
options, so that a change of either makes a new one. Its counts are the generator's, held against what mysqlbinlog finds in the binlog.
"""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter

from .servers import PORT, PROJECT, MariaDb, MySql, cache

GENERATOR = PROJECT / "bench" / "loads"
# The load begins with this file; the one before it has the CREATE statements.
FIRST_FILE = "binlog.000002"
# Nothing but the speed of loading and the size of a binlog file differs from the servers of the tests.
OPTIONS = (
    "--sync-binlog=0 --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=OFF --innodb-buffer-pool-size=1G --innodb-redo-log-capacity=1G"
    " --binlog-rows-query-log-events=OFF --max-binlog-size=1G --binlog-expire-logs-seconds=0 --max-allowed-packet=64M"
).split()
MARIADB_OPTIONS = (
    "--sync-binlog=0 --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=OFF --innodb-buffer-pool-size=1G --innodb-log-file-size=1G"
    " --binlog-annotate-row-events=OFF --max-binlog-size=1G --binlog-expire-logs-seconds=0 --max-allowed-packet=64M"
).split()
# name: (load of the generator, server, its options)
LOADS = {
    "bulk": ("bulk", MySql, OPTIONS),
    "oltp": ("oltp", MySql, OPTIONS),
    "zstd": ("bulk", MySql, [*OPTIONS, "--binlog-transaction-compression=ON"]),
    "giant": ("giant", MySql, [*OPTIONS, "--tmp-table-size=1G", "--max-heap-table-size=1G"]),
    "mariadb": ("bulk", MariaDb, MARIADB_OPTIONS),
    "switching": ("switching", MySql, OPTIONS),
    "single": ("single", MySql, OPTIONS),
}


class Load:
    """A load that is being served. `counts`: rows, transactions, insert, update, delete, bytes (of the binlog), tables (rows left)."""

    def __init__(self, name, server, counts):
        self.name, self.server, self.counts = name, server, counts
        self.rows = counts["rows"]
        self.end = server.end_of_log()

    def raw_command(self, folder):
        """mysqlbinlog reading the load as a replica does and writing it, as it is, to /dev/null. TLS is off, as for all readers here."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / FIRST_FILE
        if not target.is_symlink():
            target.symlink_to("/dev/null")
        return [
            self.server.path("mysqlbinlog"), "--no-defaults", "--read-from-remote-server", "--raw", "--host=127.0.0.1", f"--port={self.server.port}",
            "--user=root", "--ssl-mode=DISABLED", f"--result-file={folder}/", FIRST_FILE,
        ]  # fmt: skip


class Loads:
    """Makes loads that are missing and serves them, each on a port of its own, until `stop`."""

    def __init__(self):
        self.serving = {}

    def serve(self, name):
        if name not in self.serving:
            load, kind, options = LOADS[name]
            statements = (GENERATOR / "common.py").read_bytes() + (GENERATOR / f"{load}.py").read_bytes()
            key = hashlib.sha256(statements + " ".join(options).encode()).hexdigest()[:12]
            folder = cache() / f"{name}-{key}"
            port = PORT + list(LOADS).index(name)
            with open(cache() / f"{name}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (folder / "counts.json").exists():
                    make(load, kind(folder, port, options))
            server = kind(folder, port, options)
            server.call("start")
            if kind is MySql:
                # Some peers cannot log in without a password. The first login, over TLS, makes the server remember the hash.
                server.say("SET sql_log_bin=0; CREATE USER IF NOT EXISTS peer IDENTIFIED BY 'peer'; GRANT ALL ON *.* TO peer")
                server.call("client", "--user=peer", "--password=peer", "-e", "DO 0", stderr=subprocess.DEVNULL)
            counts = json.loads((folder / "counts.json").read_text())
            self.serving[name] = Load(name, server, counts)
        return self.serving[name]

    def stop(self):
        for load in self.serving.values():
            load.server.call("stop")
        self.serving.clear()


def make(load, server):
    folder = server.data
    print(f"making load {folder.name}: minutes, once", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    with server:
        result = folder / "generated.json"
        generate = subprocess.Popen([sys.executable, GENERATOR / "generate.py", load, result], stdout=subprocess.PIPE)
        server.call("client", "--delimiter=//", "--comments", stdin=generate.stdout)
        generate.stdout.close()
        if generate.wait() != 0:
            raise SystemExit(f"{GENERATOR}/generate.py failed")
        counts = json.loads(result.read_text())
        counts["bytes"] = sum(int(size) for file, size, *_ in server.rows("SHOW BINARY LOGS") if file >= FIRST_FILE)
        for table, rows in counts["tables"].items():
            left = int(server.rows(f"SELECT COUNT(*) FROM {table}")[0][0])
            if left != rows:
                raise SystemExit(f"load {folder.name}: {table} has {left} rows, the generator counted {rows}")
        verify(folder, server, counts)
    (folder / "counts.json").write_text(json.dumps(counts, indent=2))


def verify(folder, server, counts):
    """Holds the generator's counts against the rows that mysqlbinlog prints."""
    command = [server.path(server.BINLOG_READER), "--no-defaults", "-v", "--base64-output=DECODE-ROWS", folder / "data" / FIRST_FILE]
    found = Counter()
    statement = re.compile(rb"### (INSERT INTO|UPDATE|DELETE FROM) ")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if line.startswith(b"### ") and (match := statement.match(line)):
                found[match[1]] += 1
        if process.wait() != 0:
            raise SystemExit("mysqlbinlog failed")
    printed = {"insert": found[b"INSERT INTO"], "update": found[b"UPDATE"], "delete": found[b"DELETE FROM"]}
    expected = {op: counts[op] for op in printed}
    if printed != expected:
        raise SystemExit(f"load {folder.name}: mysqlbinlog finds {printed}, the generator counted {expected}")
