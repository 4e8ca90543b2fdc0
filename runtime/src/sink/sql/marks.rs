//! How far each lane has got, kept in the target: table `tidegate_marks`, a row a pipeline and lane, the mark as JSON.

use super::Failure;
use crate::sink::Mark;

/// The statements of a dialect. `upsert` takes pipeline, lane and mark; `of_lane` pipeline and lane; the others the pipeline.
/// Selecting locks: a transaction that is writing a mark, and may still be committed, is waited for.
pub(super) struct Statements {
    pub create: &'static str,
    pub select: &'static str,
    pub of_lane: &'static str,
    pub upsert: &'static str,
    pub delete: &'static str,
}

/// A transaction goes to MySQL in one packet, its COMMIT with it: a server works through what a program has sent that was killed since,
/// maybe after the next one has read the marks. So whoever reads marks takes hold of them first, and a mark that is written under another
/// hold becomes NULL, which a strict session refuses. `upsert` takes the hold, twice, at its end.
pub(super) const MYSQL: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_marks (pipeline VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
             lane BIGINT NOT NULL, mark LONGTEXT CHARACTER SET utf8mb4 NOT NULL, hold BIGINT UNSIGNED NOT NULL, \
             PRIMARY KEY (pipeline, lane)) ENGINE = InnoDB",
    select: "SELECT mark FROM tidegate_marks WHERE pipeline = ? ORDER BY lane FOR UPDATE",
    of_lane: "SELECT mark FROM tidegate_marks WHERE pipeline = ? AND lane = ? FOR UPDATE",
    upsert: "INSERT INTO tidegate_marks (pipeline, lane, mark, hold) VALUES (?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE mark = IF(hold = ?, VALUES(mark), NULL)",
    delete: "DELETE FROM tidegate_marks WHERE pipeline = ?",
};
pub(super) const MYSQL_HOLD: &str = "UPDATE tidegate_marks SET hold = ? WHERE pipeline = ?";
pub(super) const MYSQL_HOLD_LANE: &str = "UPDATE tidegate_marks SET hold = ? WHERE pipeline = ? AND lane = ?";

pub(super) const POSTGRES: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_marks (pipeline text NOT NULL, lane bigint NOT NULL, mark text NOT NULL, \
             PRIMARY KEY (pipeline, lane))",
    select: "SELECT mark FROM tidegate_marks WHERE pipeline = $1 ORDER BY lane FOR UPDATE",
    of_lane: "SELECT mark FROM tidegate_marks WHERE pipeline = $1 AND lane = $2 FOR UPDATE",
    upsert: "INSERT INTO tidegate_marks (pipeline, lane, mark) VALUES ($1, $2, $3) \
             ON CONFLICT (pipeline, lane) DO UPDATE SET mark = excluded.mark",
    delete: "DELETE FROM tidegate_marks WHERE pipeline = $1",
};

pub(super) const SQLITE: Statements = Statements {
    create: "CREATE TABLE IF NOT EXISTS tidegate_marks (pipeline TEXT NOT NULL, lane INTEGER NOT NULL, mark TEXT NOT NULL, \
             PRIMARY KEY (pipeline, lane)) WITHOUT ROWID",
    select: "SELECT mark FROM tidegate_marks WHERE pipeline = ? ORDER BY lane",
    of_lane: "SELECT mark FROM tidegate_marks WHERE pipeline = ? AND lane = ?",
    upsert: "INSERT INTO tidegate_marks (pipeline, lane, mark) VALUES (?, ?, ?) \
             ON CONFLICT (pipeline, lane) DO UPDATE SET mark = excluded.mark",
    delete: "DELETE FROM tidegate_marks WHERE pipeline = ?",
};

pub(super) fn text(mark: &Mark) -> String {
    serde_json::to_string(mark).expect("a mark has only text keys")
}

pub(super) fn parse(text: &str) -> Result<Mark, Failure> {
    serde_json::from_str(text).map_err(|e| {
        Failure::configuration(
            format!("table `tidegate_marks` holds a mark that cannot be read: {e}"),
            "it may be of a newer release; run that one, or delete the pipeline's rows and set its cursor with `tidegate cursor set`",
        )
    })
}
