//! A seeded load for the crash tests: every kind of change that can go wrong when it is repeated, lost, or put out of order.

use crate::servers::Server;

/// xorshift64*: small, seeded, good enough to choose statements.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// Tables of the load. `version` grows with every change of every row, so that no change equals another one.
pub const TABLES: [&str; 3] = ["accounts", "holdings", "tags"];

/// DDL of the source. A target gets the same columns from its own script, with what it needs to judge.
pub const MYSQL_TABLES: &str = "
    CREATE TABLE accounts (id BIGINT PRIMARY KEY, handle VARCHAR(40), balance DECIMAL(20,4), at DATETIME(6), version BIGINT NOT NULL);
    CREATE TABLE holdings (account BIGINT, item INT, amount INT UNSIGNED, note TEXT, version BIGINT NOT NULL, PRIMARY KEY (account, item));
    CREATE TABLE tags (name VARCHAR(60) PRIMARY KEY, data VARBINARY(200), flags BIT(12), version BIGINT NOT NULL);";

/// Writes the load into `database` of a MySQL; each call goes on where the last one stopped.
pub struct Load {
    random: Random,
    version: u64,
    next_id: u64,
}

impl Load {
    pub fn new(seed: u64) -> Load {
        Load { random: Random::new(seed), version: 0, next_id: 1 }
    }

    /// `transactions` more transactions, in one go of the server's client.
    pub fn write(&mut self, server: &Server, database: &str, transactions: usize) {
        let mut sql = String::new();
        for _ in 0..transactions {
            // One in ten is prepared first, and one in twenty is taken back.
            let (is_xa, is_taken_back) = (self.random.below(10) == 0, self.random.below(20) == 0);
            let xid = format!("'{database}', '{}'", self.version);
            sql.push_str(&if is_xa { format!("XA START {xid};\n") } else { "BEGIN;\n".to_owned() });
            for _ in 0..1 + self.random.below(6) {
                self.statement(&mut sql);
            }
            let end = if is_taken_back { "ROLLBACK" } else { "COMMIT" };
            sql.push_str(&match is_xa {
                true => format!("XA END {xid}; XA PREPARE {xid}; XA {end} {xid};\n"),
                false => format!("{end};\n"),
            });
        }
        server.sql_in(database, &sql);
    }

    fn statement(&mut self, sql: &mut String) {
        use std::fmt::Write;
        self.version += 1;
        let v = self.version;
        let any_id = 1 + self.random.below(self.next_id);
        let _ = match self.random.below(10) {
            0..=2 => {
                let first = self.next_id;
                self.next_id += 1 + self.random.below(8);
                let rows: Vec<String> = (first..self.next_id)
                    .map(|id| format!("({id}, 'user-{id}', {}.{:04}, NOW(6), {v})", self.random.below(1_000_000), id % 10_000))
                    .collect();
                writeln!(sql, "INSERT INTO accounts VALUES {};", rows.join(", "))
            }
            3 | 4 => {
                let span = 1 + self.random.below(20);
                writeln!(
                    sql,
                    "UPDATE accounts SET balance = balance + 1.5, version = {v} WHERE id BETWEEN {any_id} AND {};",
                    any_id + span
                )
            }
            5 => writeln!(sql, "DELETE FROM accounts WHERE id = {any_id};"),
            6 => {
                // The key changes.
                let id = self.next_id;
                self.next_id += 1;
                writeln!(sql, "UPDATE accounts SET id = {id}, version = {v} WHERE id = {any_id};")
            }
            7 => {
                let item = self.random.below(4);
                writeln!(
                    sql,
                    "REPLACE INTO holdings VALUES ({any_id}, {item}, {}, REPEAT('ä€', {}), {v});",
                    u32::MAX as u64 - self.random.below(9),
                    self.random.below(40)
                )
            }
            8 => writeln!(sql, "DELETE FROM holdings WHERE account = {any_id} LIMIT 2;"),
            _ => {
                let name = self.random.below(200);
                writeln!(
                    sql,
                    "INSERT INTO tags VALUES ('Tag {name}', UNHEX(SHA2('{v}', 256)), {}, {v}) ON DUPLICATE KEY UPDATE \
                     data = VALUES(data), version = {v};",
                    name % 4096
                )
            }
        };
    }
}
