//! Why a name or a setting is refused, with the nearest one there is.

use crate::setting::SettingError;

/// Why a topology could not be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CatalogError {
    /// No topology has this name.
    #[error("there is no topology {name:?}{}", hint(nearest.as_ref()))]
    UnknownTopology {
        /// What was asked for.
        name: String,
        /// The name it is most like, if there are any.
        nearest: Option<String>,
    },
    /// The topology has no such setting.
    #[error("{topology} has no setting {key:?}{}", hint(nearest.as_ref()))]
    UnknownSetting {
        /// Which topology.
        topology: String,
        /// What was set.
        key: String,
        /// The setting it is most like, if there are any.
        nearest: Option<String>,
    },
    /// A setting has a value it cannot have.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A topology cannot stand on that one.
    #[error("{topology} cannot stand on {base}, which is not key-routed by itself; try base=chord")]
    NoBase {
        /// Which topology.
        topology: String,
        /// On what it was to stand.
        base: String,
    },
    /// Two topologies cannot have one name.
    #[error("there already is a topology {0:?}")]
    Twice(String),
}

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

/// The word that is most like another one, the first of several.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known.min_by_key(|known| distance(word, known)).map(str::to_owned)
}

/// How many letters must be inserted, left out, replaced or swapped with their neighbor to turn one word into the
/// other (optimal string alignment). Nobody types more than [`MAX_TYPED`] letters by mistake.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(MAX_TYPED).collect(), b.chars().take(MAX_TYPED).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

const MAX_TYPED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_as_far_from_another_as_one_mistyped_it() {
        let pairs = [("", "", 0), ("chord", "chord", 0), ("cord", "chord", 1), ("chrod", "chord", 1), ("", "abc", 3)];
        for (a, b, expected) in pairs.into_iter().chain([("kitten", "sitting", 3), ("kademila", "kademlia", 1)]) {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
