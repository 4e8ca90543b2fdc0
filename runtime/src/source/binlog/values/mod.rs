//! The values inside a row image that are more than a number: packed decimals, binary JSON, text in the source's character sets, and
//! which texts are equal. Pure functions over checked slices; the row decoder calls them once a value.

pub mod address;
pub mod charset;
pub mod collation;
pub mod decimal;
pub mod json;
pub mod json_diff;
pub mod packed;

mod collation_folds;
mod collation_ids;
mod multi_byte;
mod single_byte;
