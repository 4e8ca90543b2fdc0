"""Four tables of 11 columns; 150 000 transactions of one-row statements: 60 % have one, 30 % 2 to 12, 10 % 50 to 200; 60/30/10 %
insert/update/delete."""

from common import OPS, Load, date

TRANSACTIONS = 150_000
TABLES = ("orders", "order_lines", "customers", "payments")
TABLE = """CREATE TABLE shop.{table} (
  id BIGINT NOT NULL PRIMARY KEY, customer INT NOT NULL, quantity INT NOT NULL, status TINYINT NOT NULL, code VARCHAR(20) NOT NULL,
  name VARCHAR(60) NOT NULL, email VARCHAR(80), amount DECIMAL(12,2) NOT NULL, created DATETIME(6) NOT NULL, changed DATETIME(6) NOT NULL,
  note TEXT) CHARSET utf8mb4"""


def write(out):
    load = Load(out)
    rng, cut, counts = load.rng, load.text.cut, load.counts
    load.prepare("shop", [TABLE.format(table=t) for t in TABLES])
    live = {table: [] for table in TABLES}
    following = dict.fromkeys(TABLES, 1)

    def statement():
        table = rng.choice(TABLES)
        keys = live[table]
        kind = rng.choices(OPS, (60, 30, 10))[0]
        if len(keys) < 20:
            kind = "insert"
        counts[kind] += 1
        if kind == "insert":
            key = following[table]
            following[table] = key + 1
            keys.append(key)
            when = f"{date(rng)}.{rng.randint(0, 999_999):06}"
            return (
                f"INSERT INTO shop.{table} VALUES({key},{rng.randint(1, 500_000)},{rng.randint(1, 99)},0,'{cut(12)}','{cut(rng.randint(8, 30))}',"
                f"'{cut(rng.randint(8, 20))}@example.com',{rng.randint(1, 10**8)}e-2,'{when}','{when}','{cut(rng.randint(0, 60))}')"
            )
        place = rng.randrange(len(keys))
        key = keys[place]
        if kind == "update":
            return (
                f"UPDATE shop.{table} SET quantity=quantity+1,status={rng.randint(0, 9)},changed='{date(rng)}.{rng.randint(0, 999_999):06}',"
                f"note='{cut(rng.randint(0, 60))}' WHERE id={key}"
            )
        keys[place] = keys[-1]
        keys.pop()
        return f"DELETE FROM shop.{table} WHERE id={key}"

    for _ in range(TRANSACTIONS):
        size = rng.random()
        if size < 0.6:
            load.say(statement())
        else:
            rows = rng.randint(2, 12) if size < 0.9 else rng.randint(50, 200)
            load.say("BEGIN;" + ";".join(statement() for _ in range(rows)) + ";COMMIT")
        load.transactions += 1
    return load.result({f"shop.{table}": len(keys) for table, keys in live.items()})
