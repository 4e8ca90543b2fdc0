//! The known word that somebody may have meant.

/// The nearest of `known`, if it is near enough to be meant: a third of its letters may differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).flat_map(char::to_lowercase).collect();
    known
        .into_iter()
        .map(|k| (distance(&word, &k.to_lowercase().chars().collect::<Vec<_>>()), k))
        .filter(|(d, k)| *d <= (k.chars().count().max(word.len()) / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let same = usize::from(a[i - 1] != b[j - 1]);
                    let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        best = best.min(rows[i - 2][j - 2] + 1);
                    }
                    best
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("tabels", ["tables", "table", "start"]), Some("tables"));
        assert_eq!(nearest("Orderng", ["ordering", "lanes"]), Some("ordering"));
        assert_eq!(nearest("postgresql", ["postgres", "mysql"]), Some("postgres"));
        assert_eq!(nearest("colour", ["lanes", "batch"]), None);
        assert_eq!(nearest("", ["lanes"]), None);
    }
}
