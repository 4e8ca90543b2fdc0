"""Allocations between the framed stream and the batch: runtime/examples/decode_bench.rs counts them with an allocator of its own."""

import re
import subprocess

from .loads import FIRST_FILE
from .servers import PROJECT


def count(loads):
    results = {}
    for name in ("bulk", "oltp"):
        load = loads.serve(name)
        command = ["cargo", "run", "--quiet", "--locked", "--release", "-p", "tidegate", "--example", "decode_bench", "--"]
        out = subprocess.run([*command, load.server.data / "data" / FIRST_FILE], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout
        # It runs five times; the first also grows what is reused later.
        found = re.search(r"^(\d+) rows in (\d+) batches.* ([\d.]+)M rows/s, ([\d.]+) ns a row, ([\d.]+) allocations a row, ([\d.]+) a batch", out.splitlines()[-1])
        if not found or int(found[1]) != load.rows:
            raise SystemExit(f"decode_bench on {name}: {out}")
        results[name] = {"a_row": float(found[5]), "a_batch": float(found[6]), "ns_a_row": float(found[4])}
        print(name, results[name], flush=True)
    return {"loads": results}
