//! The binlog of MySQL and MariaDB: its events, and the rows in them.

pub mod values;
