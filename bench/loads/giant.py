"""The table of bulk; one transaction that inserts 2 000 000 rows."""

from common import ITEMS, Load

ROWS = 2_000_000


def write(out):
    load = Load(out)
    load.prepare("giant", [ITEMS.format(schema="giant")])
    load.say("USE giant")
    load.say(f"SET SESSION cte_max_recursion_depth={ROWS}")
    load.say(
        f"INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{ROWS})"
        " SELECT i,i%100000,RPAD(CONCAT('item ',i,' '),110,SHA2(i,512)),LEFT(SHA2(i,256),55),i*1.5,'2026-01-01 00:00:00.123' + INTERVAL i SECOND FROM n"
    )
    load.counts["insert"] = ROWS
    load.transactions = 1
    return load.result({"giant.items": ROWS})
