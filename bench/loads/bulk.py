"""One table of 6 columns; statements of 1 to 50 rows, each a transaction; 50/40/10 % insert/update/delete."""

from common import ITEMS, OPS, Load, date

ROWS_MIN = 2_050_000


def write(out):
    load = Load(out)
    rng, cut, counts = load.rng, load.text.cut, load.counts
    load.prepare("bulk", [ITEMS.format(schema="bulk")])
    low, high = 1, 1  # the live keys are low..high-1
    while sum(counts.values()) < ROWS_MIN:
        rows = rng.randint(1, 50)
        kind = rng.choices(OPS, (50, 40, 10))[0]
        if kind == "insert" or high - low < 100:
            kind = "insert"
            values = ",".join(
                f"({i},{rng.randint(0, 100_000)},'{cut(110)}','{cut(55)}',{rng.randint(1, 10**12)}e-6,'{date(rng)}.{rng.randint(0, 999):03}')"
                for i in range(high, high + rows)
            )
            load.say("INSERT INTO bulk.items VALUES " + values)
            high += rows
        elif kind == "update":
            first = rng.randint(low, high - rows)
            load.say(
                f"UPDATE bulk.items SET stock=stock+1,note='{cut(55)}',price={rng.randint(1, 10**12)}e-6,changed='{date(rng)}.{rng.randint(0, 999):03}'"
                f" WHERE id BETWEEN {first} AND {first + rows - 1}"
            )
        else:
            load.say(f"DELETE FROM bulk.items WHERE id BETWEEN {low} AND {low + rows - 1}")
            low += rows
        counts[kind] += rows
        load.transactions += 1
    return load.result({"bulk.items": high - low})
