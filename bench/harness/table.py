"""docs/benchmarks.md, written from the results of a run and from nothing else."""

from .drains import Raw

DRAINED = {"bulk": "BULK", "oltp": "OLTP"}
# (goal, floor) of the ratio to mysqlbinlog: without and with a plugin.
RATIOS = {"bulk": ((1.3, 2.0), (2.0, 3.0)), "oltp": ((1.6, 2.5), (2.3, 3.0))}
# (goal, floor) of the ratio to the replica applier, in the order of apply.MODES.
APPLY = ((2.0, 1.0), (1.0, None))
ZSTD_ROWS_MIN = 3_000_000
# Goals of the CPU a row: of MariaDB to MySQL, and of rows that change tables to rows that do not.
COSTS = {"mariadb": 1.1, "switching": 2.0}
IDLE_BYTES_MAX, DRAIN_BYTES_MAX = 30e6, 120e6
LATENCY_MS_MAX = (5.0, 25.0)
# Goals of a snapshot: rows a second against mysqldump and mydumper, and memory.
SNAPSHOT = (1.5, 1.0)
SNAPSHOT_BYTES_MAX = 150e6
# What a column that a plugin does not read may cost it: nothing, but for the noise of a machine.
UNREAD_COLUMNS_MAX = 1.1
# Goals of plugins: loading a Rust component, compiled before and not, in ms; a hundred pipelines with one each, in seconds and bytes.
LOAD_MS_MAX = (10.0, 300.0)
# Of a pipeline beside a hostile plugin, to that beside an honest one: rows a second, and p99.
HOSTILE = (0.95, 2.0)
START_SECONDS_MAX, START_BYTES_MAX = 3.0, 300e6

INTRODUCTION = """# Benchmarks

`make bench` writes this page: it starts the servers, makes the loads (once; they are kept), builds Tidegate and its rivals, runs them in turn,
and puts the medians here. Every run must count exactly the rows that are in the load, or the bench stops. Change nothing here by hand.

Compare within a table: its rows were measured in turn, in the same minutes. Between machines only ratios carry over.
"""

HOW = """## How to read this

- **CPU** is user and system time of the whole process, all threads, as the kernel accounts for it (`wait4`). The server's is not in it.
- **Ratio** is that CPU against `mysqlbinlog --read-from-remote-server --raw` to /dev/null, which copies the binlog and decodes nothing, in
  the same round. All readers come over TCP on this machine, without TLS.
- **Tidegate** drains into sink `null`, which asks for every column of both row images: all of them are decoded into Arrow arrays, in one
  lane, since nothing has to be waited for there. *With a
  plugin* (`plugins/bench`, Rust) it also filters by one column, masks one, adds one, and routes each row to one of eight topics by
  another. It was compiled by a run before, which is not measured.
- **Load average** is what the kernel said at the end of the part, over five minutes. A reader and its server keep about two cores busy: much
  more than 2 says that other work took the machine's cores and caches, which costs a reader that decodes more than one that copies.
- **Peak** is the largest resident set of the rounds. Small programs show 20 MB: that is what the harness itself has when it starts them.
- The peers decode every row into values of their own and count them; none writes anything. Debezium makes its Connect records.
- Loads: [`bench/loads`](../bench/loads). Peers: [`bench/peers`](../bench/peers). What is timed and how: [`bench/harness`](../bench/harness).
  `bench/run --only PART` measures one part again, `--rounds N` sets the number of rounds.
"""


def document(results):
    parts = [INTRODUCTION]
    for name, title in DRAINED.items():
        if name in results:
            parts.append(drain(title, name, results[name]))
    for name, section in (("zstd", zstd), ("mariadb", mariadb), ("switching", switching), ("snapshot", snapshot), ("apply", applied), ("latency", latency), ("plugins", plugins), ("hostile", hostile), ("memory", memory), ("allocations", allocations)):
        if name in results:
            parts.append(section(results[name]))
    parts.append(HOW)
    return "\n".join(parts)


def about(part):
    said = part["about"]
    return f"Measured {said['date']} on {said['machine']}; Tidegate at commit {said['tidegate']}.\n"


def verdict(value, goal, floor=None, less_is_better=True):
    """What became of the goal, in words."""
    better = (lambda limit: value <= limit) if less_is_better else (lambda limit: value >= limit)
    sign = "≤" if less_is_better else "≥"
    if better(goal):
        return f"goal {sign} {goal:g}: met"
    if floor is None:
        return f"goal {sign} {goal:g}: missed"
    return f"goal {sign} {goal:g}: missed; floor {floor:g}: {'met' if better(floor) else 'missed'}"


def megabytes(count):
    return f"{count / 1e6:.0f} MB"


def rows(table):
    head, *body = table
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body]) + "\n"


def load(counts):
    return (
        f"{counts['rows']:,} row events ({counts['insert']:,} inserts, {counts['update']:,} updates, {counts['delete']:,} deletes) in"
        f" {counts['transactions']:,} transactions, {counts['bytes'] / 1e6:.0f} MB of binlog"
    )


def drain(title, name, part):
    table = [["reader", "version", "CPU s", "ratio", "rows a CPU second", "wall s", "peak", "goal"]]
    goals = {"Tidegate": RATIOS[name][0], "Tidegate with a plugin": RATIOS[name][1]}
    for reader, of in part["readers"].items():
        goal = verdict(of["ratio"], *goals[reader]) if reader in goals else ""
        rate = "" if reader == Raw.name else f"{of['rows_per_core_second'] / 1e6:.2f} M"
        table.append([reader, of["version"], f"{of['cpu']:.2f}", f"{of['ratio']:.2f}", rate, f"{of['wall']:.1f}", megabytes(of["peak"]), goal])
    return f"## Reading: {title}\n\n{load(part['counts'])}; medians of {part['rounds']} rounds. {about(part)}\n{rows(table)}"


def zstd(part):
    of = part["readers"]["Tidegate"]
    rate = of["rows_per_core_second"]
    return (
        f"## Reading: compressed transactions\n\nThe statements of BULK with `binlog_transaction_compression=ON`: {load(part['counts'])};"
        f" medians of {part['rounds']} rounds. {about(part)}\n"
        f"Tidegate: {rate / 1e6:.2f} M rows a CPU second ({of['cpu']:.2f} s of CPU, {of['wall']:.1f} s); goal ≥ {ZSTD_ROWS_MIN / 1e6:.0f} M:"
        f" {'met' if rate >= ZSTD_ROWS_MIN else 'missed'}.\n"
    )


def mariadb(part):
    what = "The statements of BULK on MariaDB against the same on MySQL, drained into `null` in turn"
    return cost("MariaDB", "mariadb", "bulk", what, part)


def switching(part):
    what = "Transactions of eight rows, one in each of eight tables, against the same transactions with all their rows in one table"
    return cost("changing tables every row", "switching", "single", what, part)


def cost(title, name, base, what, part):
    ns = {load: f"{seconds * 1e9:.0f} ns" for load, seconds in part["rows"].items()}
    return (
        f"## Reading: {title}\n\n{what}; medians of {part['rounds']} rounds. {about(part)}\n"
        f"{ns[name]} of CPU a row against {ns[base]}: {part['ratio']:.2f}; {verdict(part['ratio'], COSTS[name])}.\n"
    )


def snapshot(part):
    table = [["reader", "rows/s", "to mysqldump", "to mydumper", "own CPU s", "peak", "goal"]]
    for reader, of in part["readers"].items():
        goal = ""
        if reader == "Tidegate":
            said = [verdict(of["to_mysqldump"], SNAPSHOT[0], less_is_better=False), verdict(of["to_mydumper"], SNAPSHOT[1], less_is_better=False)]
            goal = f"mysqldump: {said[0]}; mydumper: {said[1]}; memory: {verdict(of['peak'] / 1e6, SNAPSHOT_BYTES_MAX / 1e6)}"
        ratios = [f"{of['to_mysqldump']:.2f}", f"{of['to_mydumper']:.2f}"]
        table.append([reader, f"{of['rows_per_second'] / 1e3:,.0f} k", *ratios, f"{of['cpu']:.2f}", megabytes(of["peak"]), goal])
    return (
        f"## Reading full tables\n\nOne table of {part['rows']:,} rows and 11 columns in MySQL, in its buffer pool; wall time, with that of starting and"
        f" connecting, medians of {part['rounds']} rounds. Server and reader share the machine's cores. {about(part)}\n{rows(table)}"
    )


def applied(part):
    table = [["applier", "rows/s", "ratio", "CPU s of the target", "own CPU s", "goal"]]
    goals = [None, *APPLY]
    for (name, of), goal in zip(part["runs"].items(), goals):
        said = verdict(of["ratio"], *goal, less_is_better=False) if goal else ""
        own = f"{of['own_cpu']:.1f}" if of["own_cpu"] else "(in the target's)"
        table.append([name, f"{of['rows_per_second']:,.0f}", f"{of['ratio']:.2f}", f"{of['target_cpu']:.1f}", own, said])
    return (
        f"## Applying: MySQL to MySQL\n\nThe OLTP load into an empty MySQL ({part['rows']:,} row events), medians of {part['rounds']} rounds. The"
        " target has a binlog of its own, sync_binlog = 0 and innodb_flush_log_at_trx_commit = 2 in all of them. The replica applier (4 workers,"
        " commit order kept) has fetched the binlog before its time begins; Tidegate's time has the reading in it. At the end the checksums of"
        f" all tables were those of the source. {about(part)}\n{rows(table)}"
    )


def latency(part):
    p50, p99 = LATENCY_MS_MAX
    return (
        f"## Latency: MySQL to PostgreSQL\n\n{part['rows_a_second']} one-row transactions a second, medians of {part['rounds']} rounds of 15 s. One"
        " process outside of all notes when it sends each INSERT to MySQL and when PostgreSQL notifies it of the row, which is after the commit"
        " there; so the source's commit and the target's (durable) are in it. The pipeline has no settings but its source and sink."
        f" {about(part)}\n"
        + rows(
            [
                ["", "ms", "goal"],
                ["p50", f"{part['p50']:.1f}", verdict(part["p50"], p50)],
                ["p99", f"{part['p99']:.1f}", verdict(part["p99"], p99)],
                ["longest", f"{part['max']:.1f}", ""],
                ["a commit in PostgreSQL alone, p50", f"{part['commit_p50']:.1f}", ""],
                ["a commit in PostgreSQL alone, p99", f"{part['commit_p99']:.1f}", ""],
            ]
        )
        + f"\nTidegate took {100 * part['cpu_share']:.0f} % of one core meanwhile.\n"
    )


def plugins(part):
    sizes = list(part["native"]["columns"])
    table = [["", *(f"{size} rows" for size in sizes), "to the same view", "to the row view", "boundary", "memory", "goal"]]
    for view, taken in part["native"].items():
        to_rows = taken["256"] / part["native"]["rows"]["256"]
        table.append([f"native, {view}", *(f"{taken[size]:.0f}" for size in sizes), "1.00", f"{to_rows:.2f}", "", "", ""])
    for of in part["views"]:
        to_view, to_rows = of["ratios"]
        goal = f"to the same view: {verdict(to_view, of['goal'])}; to the row view: {verdict(to_rows, of['goal'])}" if of["goal"] else ""
        figures = [f"{of['ns'][size]:.0f}" for size in sizes]
        share = f"{100 * of['boundary']:.0f} %"
        table.append([f"{of['name']}, {of['view']}", *figures, f"{to_view:.2f}", f"{to_rows:.2f}", share, f"{of['memory'] / (1 << 20):.1f} MiB", goal])
    cached, cold = LOAD_MS_MAX
    narrow, wide, start = part["columns"]["1"], part["columns"]["60"], part["start"]
    few = [
        ["", "", "goal"],
        ["loading a Rust plugin that was compiled before", f"{part['cached_ms']:.1f} ms", verdict(part["cached_ms"], cached)],
        ["loading it for the first time", f"{part['cold_ms']:.0f} ms", verdict(part["cold_ms"], cold)],
        ["masking one text, of a table with 1 and with 60 of them", f"{narrow:.0f} and {wide:.0f} ns a row", verdict(wide / narrow, UNREAD_COLUMNS_MAX)],
        [f"{start['pipelines']} pipelines with a plugin each, from start to the end of a small file", f"{start['seconds']:.1f} s", verdict(start["seconds"], START_SECONDS_MAX)],
        ["the same, peak of memory", megabytes(start["peak"]), verdict(start["peak"] / 1e6, START_BYTES_MAX / 1e6)],
    ]
    return (
        "## Plugins\n\nFilter by one column, mask one, add one, route by one (`plugins/bench`), on updates of 6 columns: nanoseconds a row by the size of"
        " batches (`tidegate plugin bench`). Native is the Rust plugin, the same source, linked into a program instead of being a component"
        " (`runtime/examples/plugin_native.rs`): the same batches, the same SDK, the same checking and taking over of its answer, and no boundary to hand the rows"
        " over, which is not counted. Row by row is how native code would mostly be written, column by column about the least that it can take: hence both ratios, at 256"
        " rows. Medians of"
        f" {part['rounds']} rounds. Boundary: the share, at 256 rows, of handing the columns over and of checking and taking over the answer. {about(part)}\n"
        f"{rows(table)}\n{rows(few)}"
    )


def hostile(part):
    rate, p99 = HOSTILE
    table = [["the plugin beside it", "rows/s of the backlog", "ratio", "p50", "p99", "ratio of p99", "peak", "cores", "goal"]]
    for mode, of in part["modes"].items():
        goal = "" if mode == "nothing" else f"rows/s {verdict(of['drained_ratio'], rate, less_is_better=False)}; p99 {verdict(of['p99_ratio'], p99)}"
        figures = [f"{of['drained'] / 1e3:,.0f} k", f"{of['drained_ratio']:.2f}", f"{of['p50']:.1f} ms", f"{of['p99']:.1f} ms", f"{of['p99_ratio']:.2f}"]
        table.append([mode, *figures, megabytes(of["peak"]), f"{of['cores']:.2f}", goal])
    return (
        "## Beside a hostile plugin\n\nTwo pipelines of one process on one table: one writes lines of JSON, which another process reads and counts; the other has"
        " `plugins/hostile`, which does what the first column says whenever a row with a mark is among those of a call, and sets aside what it fails at. First"
        f" a backlog of {part['backlog']:,} rows, in which one of 64 has a mark, then {part['rows_a_second']} one-row transactions a second, one of four, for 6 s:"
        " from the INSERT that is sent to the line that is read. Every row must arrive, or the bench stops. Ratios are to the plugin that does nothing, in the same"
        f" round; medians of {part['rounds']} rounds; cores and peak are those of the whole process. Load average over five minutes: {part['load']:.1f}. {about(part)}\n{rows(table)}"
    )


def memory(part):
    idle = part["idle"]
    table = [
        ["", "resident", "goal"],
        ["idle, one pipeline with a plugin", megabytes(idle["resident"]), verdict(idle["resident"] / 1e6, IDLE_BYTES_MAX / 1e6)],
    ]
    for name, title in (("oltp", "draining OLTP"), ("giant", "draining one transaction")):
        of = part[name]
        title = f"{title} ({of['rows']:,} row events)"
        table.append([f"{title}, at most", megabytes(of["peak"]), verdict(of["peak"] / 1e6, DRAIN_BYTES_MAX / 1e6)])
        table.append([f"{title}, most in the first and in the second half", f"{megabytes(of['first_half'])}, {megabytes(of['second_half'])}", ""])
    return (
        f"## Memory\n\nMegabytes are 10⁶ bytes. Draining is into `null`, with lanes for all cores. {about(part)}\n{rows(table)}\n"
        f"Idle, it takes {100 * idle['cpu_share']:.1f} % of one core.\n"
    )


def allocations(part):
    table = [["load", "allocations a row", "allocations a batch", "ns a row"]]
    for name, of in part["loads"].items():
        table.append([DRAINED[name], f"{of['a_row']:.4f}", f"{of['a_batch']:.1f}", f"{of['ns_a_row']:.0f}"])
    return (
        "## Allocations\n\nThe decoder alone, on one thread, from framed events to batches of 1000 rows, under an allocator that counts"
        f" (`runtime/examples/decode_bench.rs`): a batch allocates its columns, a row allocates nothing. {about(part)}\n{rows(table)}"
    )
