#!/usr/bin/env python3
"""Writes the SQL of a benchmark load to standard output and, at the end, its true counts as JSON to FILE.

usage: generate.py LOAD FILE        LOAD: bulk · oltp · giant · switching · single, the modules beside this one

The same seed gives the same statements on every machine. Every statement touches exactly the rows that are counted here: keys that an
UPDATE or DELETE names exist, and every UPDATE changes its rows. Statements end with `//`, so that a transaction is one round trip.
"""

import importlib
import json
import sys


def main():
    name, result = sys.argv[1:]
    sys.stdout.reconfigure(encoding="utf-8")
    truth = importlib.import_module(name).write(sys.stdout)
    with open(result, "w", encoding="utf-8") as file:
        json.dump(truth, file, indent=2)


if __name__ == "__main__":
    main()
