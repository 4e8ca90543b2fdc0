"""Starts and stops the servers of a run, by the scripts in scripts/servers."""

import os
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = PROJECT / "scripts" / "servers"
# A run uses these ports, one server each; BENCH_PORT moves them.
PORT = int(os.environ.get("BENCH_PORT", "24000"))


def cache():
    """The folder that outlives a checkout, where the servers' packages are kept as well."""
    base = os.environ.get("TIDEGATE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tidegate"
    path = Path(base) / "bench"
    path.mkdir(parents=True, exist_ok=True)
    return path


class Server:
    """One instance. `options` are more options of the server, blank-separated in the end."""

    def __init__(self, script, data, port, options=(), small=True):
        self.script = SCRIPTS / script
        self.data = Path(data)
        self.port = port
        self.environment = dict(os.environ, DATA=str(data), PORT=str(port), EXTRA=" ".join(options), SMALL="1" if small else "0", START_SECONDS_MAX="180")

    def call(self, *arguments, **kwargs):
        kwargs.setdefault("check", True)
        return subprocess.run([self.script, *arguments], env=self.environment, text=True, **kwargs)

    def __enter__(self):
        self.call("start")
        return self

    def __exit__(self, *_):
        self.call("stop")

    def rows(self, query, *arguments):
        """The answer to a query: a list of lists of text."""
        raise NotImplementedError

    def path(self, program):
        return self.call("path", program, stdout=subprocess.PIPE).stdout.strip()


class MySql(Server):
    BINLOG_READER = "mysqlbinlog"
    END_OF_LOG = "SHOW BINARY LOG STATUS"

    def __init__(self, data, port, options=(), small=True):
        super().__init__("mysql.sh", data, port, options, small)

    def rows(self, query, *arguments):
        out = self.call("client", "-N", "-B", *arguments, "-e", query, stdout=subprocess.PIPE).stdout
        return [line.split("\t") for line in out.splitlines()]

    def say(self, sql):
        """Runs statements that answer nothing."""
        self.call("client", input=sql)

    def end_of_log(self):
        """(file, offset) behind the last event."""
        file, offset = self.rows(self.END_OF_LOG)[0][:2]
        return file, int(offset)


class MariaDb(MySql):
    BINLOG_READER = "mariadb-binlog"
    END_OF_LOG = "SHOW BINLOG STATUS"

    def __init__(self, data, port, options=(), small=True):
        super().__init__(data, port, options, small)
        self.script = SCRIPTS / "mariadb.sh"


class Postgres(Server):
    def __init__(self, data, port, options=()):
        super().__init__("postgres.sh", data, port, options)

    def rows(self, query, *arguments):
        out = self.call("client", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", *arguments, "-c", query, stdout=subprocess.PIPE).stdout
        return [line.split("\t") for line in out.splitlines()]

    def say(self, sql):
        self.call("client", "-q", "-v", "ON_ERROR_STOP=1", input=sql)
