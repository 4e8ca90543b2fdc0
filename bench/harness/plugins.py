"""Plugins: filter, mask, add and route on updates of 6 columns, in every language and natively, and what loading and starting take."""

import json
import os
import shutil
import statistics
import subprocess

from . import measure, tidegate
from .servers import PROJECT

# Name, component under target/plugins, view, and the goal: at most so many times what native code takes.
VIEWS = (
    ("Rust", "bench", "columns", 1.5),
    ("Rust", "bench", "rows", 2.5),
    ("C", "bench-c", "columns", 1.5),
    ("C", "bench-c", "rows", None),
    ("Go", "bench-go", "columns", 4),
    ("Go", "bench-go", "rows", None),
    ("JavaScript", "bench-javascript", "columns", 5),
    ("JavaScript", "bench-javascript", "rows", 45),
    ("Python", "bench-python", "columns", 8),
    ("Python", "bench-python", "rows", 45),
)
# Of the batches that the goals are about.
ROWS = 256
PIPELINES = 100
COLUMN_ROUNDS = 5
SECONDS_MAX = 120


def build():
    subprocess.run(["make", "--silent", "golden"], cwd=PROJECT, check=True)
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "tidegate", "--example", "plugin_native"], cwd=PROJECT, check=True)


def compare(rounds, work):
    build()
    native = f"{tidegate.TARGET}/release/examples/plugin_native"
    environment = os.environ | {"XDG_CACHE_HOME": str(work / "cache")}
    taken = {(name, view): [] for name, _, view, _ in VIEWS}
    # Of each round: to what the same view takes natively, and to what the row view does.
    natives, ratios = [], {key: [] for key in taken}
    for _ in range(rounds):
        natives.append(json.loads(measure.run([native], SECONDS_MAX, work / "log").output))
        for name, component, view, _ in VIEWS:
            config = json.dumps({"filter": "total", "mask": "email", "route": "id", "view": view})
            told = bench(work, environment, component, "--config", config)
            taken[name, view].append(told)
            ratios[name, view].append([batch(told)["ns"] / natives[-1][of][str(ROWS)] for of in (view, "rows")])
    results = {
        "rounds": rounds,
        "native": {view: {size: statistics.median(of[view][size] for of in natives) for size in sizes} for view, sizes in natives[0].items()},
        "views": [view_of(name, view, goal, taken[name, view], ratios[name, view]) for name, _, view, goal in VIEWS],
        # The first load of a component compiles it.
        "cold_ms": taken["Rust", "columns"][0]["first_load_ms"],
        "cached_ms": statistics.median(of["load_ms"] for of in taken["Rust", "columns"]),
        "columns": columns(work, environment),
        "start": start(work),
    }
    print(json.dumps(results), flush=True)
    return results


def bench(work, environment, component, *arguments):
    command = [tidegate.BINARY, "--format", "json", "plugin", "bench", f"{PROJECT}/target/plugins/{component}.wasm", *arguments]
    return json.loads(measure.run(command, SECONDS_MAX, work / "log", environment=environment).output)["inputs"][0]


def batch(told, rows=ROWS):
    return next(of for of in told["batches"] if of["rows"] == rows)


def view_of(name, view, goal, taken, ratios):
    def median(rows, figure):
        return statistics.median(batch(told, rows)[figure] for told in taken)

    curve = {str(of["rows"]): median(of["rows"], "ns") for of in taken[0]["batches"]}
    memory = statistics.median(told["memory_bytes"] for told in taken)
    return {"name": name, "view": view, "goal": goal, "ratios": [statistics.median(of) for of in zip(*ratios)], "ns": curve, "boundary": median(ROWS, "boundary"), "memory": memory}


def columns(work, environment):
    """A plugin that masks one text of a table, by the number of columns that the table has besides: in turn, and the median."""
    paths = {}
    for count in (1, 60):
        names = ["email", *(f"c{i}" for i in range(1, count))]
        table = f"CREATE TABLE shop.wide (id BIGINT PRIMARY KEY, {', '.join(f'{name} VARCHAR(55)' for name in names)})"
        changes = [
            {"op": "insert", "schema": "shop", "table": "wide", "after": {"id": i} | {name: f"customer{i}@example.com" for name in names}}
            for i in range(64)
        ]
        cases = {"config": {"columns": ["email"]}, "tables": [table], "cases": [{"name": "wide", "in": changes}]}
        path = work / f"columns-{count}.json"
        path.write_text(json.dumps(cases))
        paths[str(count)] = path
    taken = [{count: batch(bench(work, environment, "mask", path))["ns"] for count, path in paths.items()} for _ in range(COLUMN_ROUNDS)]
    return {count: statistics.median(of[count] for of in taken) for count in paths}


def start(work):
    """Pipelines with a plugin each, from start to end: they read a small binlog file. The plugins are compiled already."""
    folder = work / "start"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = [f'[source.shop]\ntype = "binlog-files"\npaths = ["{PROJECT}/examples/demo/binlog/shop.*"]\ntables = ["shop.*"]\n', tidegate.SINK_NULL]
    for at in range(PIPELINES):
        parts.append(
            f'[plugin.p{at}]\npath = "{PROJECT}/target/plugins/mask.wasm"\nconfig = {{ columns = ["email", "phone"] }}\n'
            f'[pipeline.p{at}]\nsource = "shop"\nplugins = ["p{at}"]\nsink = "target"\n'
        )
    runs = []
    for _ in range(2):
        (folder / "tidegate.toml").write_text('data_dir = "data"\n' + "\n".join(parts))
        runs.append(measure.run([tidegate.BINARY, "run", folder / "tidegate.toml", "--until", "caught-up"], SECONDS_MAX, folder / "log"))
        for path in (folder / "data").iterdir():
            if path.is_dir() and path.name != "plugins":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
    return {"pipelines": PIPELINES, "seconds": runs[-1].wall, "peak": runs[-1].peak}
