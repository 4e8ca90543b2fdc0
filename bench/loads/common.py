"""What the loads share: seeded text, and the counts of what was written."""

import random

SEED = 20_260_101
OPS = ("insert", "update", "delete")
ITEMS = """CREATE TABLE {schema}.items (
  id BIGINT NOT NULL PRIMARY KEY, stock INT NOT NULL, name VARCHAR(110) NOT NULL, note VARCHAR(55), price DECIMAL(20,6) NOT NULL,
  changed DATETIME(3) NOT NULL) CHARSET utf8mb4"""
# What ends the preparation: the load is all that stands in the binlog files after it.
BEGIN_LOAD = "FLUSH BINARY LOGS"


class Text:
    """Text of words, most of them ASCII, cut out of one long string at random places."""

    def __init__(self, rng):
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(4000)]
        words += ["Grüße", "façade", "naïve", "東京", "Łódź", "smörgås"] * 20
        self.text = " ".join(rng.choices(words, k=200_000))
        self.places = len(self.text) - 200
        self.random = rng.random

    def cut(self, length):
        at = int(self.random() * self.places)
        return self.text[at : at + length]


class Load:
    def __init__(self, out):
        self.out = out
        self.rng = random.Random(SEED)
        self.text = Text(self.rng)
        self.counts = dict.fromkeys(OPS, 0)
        self.transactions = 0

    def say(self, statement):
        self.out.write(statement + "//\n")

    def prepare(self, schema, tables):
        self.say(f"CREATE DATABASE {schema} CHARSET utf8mb4")
        for table in tables:
            self.say(table)
        self.say(BEGIN_LOAD)

    def result(self, tables):
        return {"rows": sum(self.counts.values()), "transactions": self.transactions, "tables": tables, **self.counts}


def date(rng):
    return f"20{rng.randint(10, 26)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
