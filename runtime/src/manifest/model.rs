//! What a manifest holds once it is read and checked: defaults filled in, `${…}` replaced, names resolved.

use serde::{Deserialize, Serialize};

/// Which changes keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// Changes of one key; lanes by the hash of the key.
    #[default]
    Key,
    /// Changes of one table.
    Table,
    /// All changes: one lane.
    Global,
    /// All changes, and a source transaction is one target transaction: one lane.
    Transaction,
}
