"""Tidegate as users run it: a manifest, the release binary, and what it prints at its end."""

import json
import os
import re
import shutil
import subprocess

from . import measure
from .loads import FIRST_FILE
from .servers import PROJECT

TARGET = os.environ.get("CARGO_TARGET_DIR", str(PROJECT / "target"))
BINARY = f"{TARGET}/release/tidegate"
SINK_NULL = '[sink.target]\ntype = "null"\n'
# For each load: the integer column by which plugin `bench` filters, the text that it masks, and the integer by which it routes.
PLUGIN_COLUMNS = {
    "bulk": ("stock", "note", "id"),
    "zstd": ("stock", "note", "id"),
    "oltp": ("quantity", "email", "status"),
}


def build():
    """The release binary, without failpoints, and the plugins."""
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "tidegate"], cwd=PROJECT, check=True)
    subprocess.run(["make", "--silent", "plugins"], cwd=PROJECT, check=True)


def version():
    """The commit that was measured; `+` says that there were changes on top."""
    return subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def source(load):
    return source_of(load.server, f'{{ file = "{FIRST_FILE}", offset = 4 }}')


def source_of(server, start):
    return f'[source.load]\ntype = "mysql"\nurl = "mysql://root@127.0.0.1:{server.port}"\ntables = ["*.*", "!mysql.*"]\nstart = {start}\n'


def plugin(load):
    filtered, masked, routed = PLUGIN_COLUMNS[load]
    config = f'{{ filter = "{filtered}", mask = "{masked}", route = "{routed}" }}'
    return f'[plugin.bench]\npath = "{PROJECT}/target/plugins/bench.wasm"\nconfig = {config}\n'


def manifest(work, source, sink, plugin="", pipeline=""):
    """Writes a manifest with an empty data_dir into the folder `work` and returns its path. `pipeline`: more keys of the pipeline.

    What is compiled of plugins stays, as it does between runs of a user: a run that is not measured comes first. The identity stays, too:
    to the server, a data_dir of another one is another reader with the same server id, which waits until the last one is gone.
    """
    folder = work / "tidegate"
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for path in [folder / "log", *data.iterdir()]:
        if path.is_dir() and path.name != "plugins":
            shutil.rmtree(path)
        elif path.is_file() and path.name != "identity":
            path.unlink()
    routes = '[[pipeline.bench.routes]]\ntopics = ["*"]\nsink = "target"\n' if plugin else ""
    flow = '[pipeline.bench]\nsource = "load"\n' + ('plugins = ["bench"]\n' if plugin else 'sink = "target"\n') + pipeline + "\n"
    path = folder / "tidegate.toml"
    path.write_text(f'data_dir = "data"\n{source}{plugin}{sink}{flow}{routes}')
    return path


def until_caught_up(manifest, seconds_max, sample=False):
    """Runs to what the source has at the start. Returns the run and the rows that it says it settled."""
    command = [BINARY, "--format", "json", "run", str(manifest), "--until", "caught-up"]
    run = measure.run(command, seconds_max, manifest.parent / "log", sample)
    return run, settled(json.loads(run.output))


def settled(summary):
    (pipeline,) = summary["pipelines"]
    return pipeline["rows_settled"]
