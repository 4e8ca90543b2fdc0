"""Transactions of eight rows, each changed by a statement of its own, one in each of eight tables; 50/40/10 % insert/update/delete."""

from common import ITEMS, OPS, Load, date

TRANSACTIONS = 125_000
ROWS = 8


def write(out, tables=ROWS):
    load = Load(out)
    rng, cut, counts = load.rng, load.text.cut, load.counts
    names = [f"switching.items_{n}" for n in range(tables)]
    load.prepare("switching", [ITEMS.format(schema="switching").replace("switching.items", name) for name in names])
    low, high = 1, 1  # the live groups of rows are low..high-1; row n of group g has the key 8g+n
    for _ in range(TRANSACTIONS):
        kind = rng.choices(OPS, (50, 40, 10))[0]
        if high - low < 100:
            kind = "insert"
        group = {"insert": high, "update": rng.randrange(low, max(high, low + 1)), "delete": low}[kind]
        statements = []
        for n in range(ROWS):
            name, key = names[n % tables], group * ROWS + n
            if kind == "insert":
                values = f"{rng.randint(0, 100_000)},'{cut(110)}','{cut(55)}',{rng.randint(1, 10**12)}e-6,'{date(rng)}.{rng.randint(0, 999):03}'"
                statements.append(f"INSERT INTO {name} VALUES ({key},{values})")
            elif kind == "update":
                statements.append(f"UPDATE {name} SET stock=stock+1,note='{cut(55)}',changed='{date(rng)}.{rng.randint(0, 999):03}' WHERE id={key}")
            else:
                statements.append(f"DELETE FROM {name} WHERE id={key}")
        load.say("BEGIN;" + ";".join(statements) + ";COMMIT")
        high, low = high + (kind == "insert"), low + (kind == "delete")
        counts[kind] += ROWS
        load.transactions += 1
    return load.result(dict.fromkeys(names, (high - low) * ROWS // tables))
