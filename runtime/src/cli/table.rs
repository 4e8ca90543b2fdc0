//! Tables of text.

use std::fmt::Write as _;

/// Columns as wide as their widest cell; those of `right` stand at the right.
pub(super) fn table(rows: &[Vec<String>], right: std::ops::Range<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            let w = widths[c];
            let _ = if right.contains(&c) { write!(line, "{cell:>w$}  ") } else { write!(line, "{cell:w$}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["name", "rows", ""], ["a", "10", "x"], ["longer", "9", ""]].map(|r| r.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1..2), "name    rows\na         10  x\nlonger     9\n");
    }
}
