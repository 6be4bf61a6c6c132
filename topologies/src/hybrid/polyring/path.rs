//! Where a peer stands in a polyring: one coordinate for each ring from the center outwards.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many rings deep a polyring can be. Depth 16 with rings of two has 131,070 places; nobody needs more.
pub const MAX_DEPTH: usize = 16;

/// A path of coordinates, `[4.10.34]`: never empty, at most [`MAX_DEPTH`] long.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct Path(Vec<u32>);

/// Why something is no path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPath {
    /// There is no such place: everybody stands in some ring.
    #[error("a path has at least one coordinate")]
    Empty,
    /// Longer than [`MAX_DEPTH`].
    #[error("a path has at most {MAX_DEPTH} coordinates")]
    TooDeep,
    /// Not written as numbers with dots between, in brackets or not.
    #[error("a path is written like [4.10.34]; {0:?} is not")]
    NotAPath(String),
}

impl TryFrom<Vec<u32>> for Path {
    type Error = BadPath;

    fn try_from(coordinates: Vec<u32>) -> Result<Self, BadPath> {
        match coordinates.len() {
            0 => Err(BadPath::Empty),
            1..=MAX_DEPTH => Ok(Self(coordinates)),
            _ => Err(BadPath::TooDeep),
        }
    }
}

impl From<Path> for Vec<u32> {
    fn from(path: Path) -> Self {
        path.0
    }
}

impl Path {
    /// A place in the center ring.
    #[must_use]
    pub fn center(coordinate: u32) -> Self {
        Self(vec![coordinate])
    }

    /// The place at `coordinate` of the ring around this one; `None` where that would be too deep.
    #[must_use]
    pub fn child(&self, coordinate: u32) -> Option<Self> {
        let mut coordinates = Vec::with_capacity(self.0.len() + 1);
        coordinates.extend_from_slice(&self.0);
        coordinates.push(coordinate);
        Self::try_from(coordinates).ok()
    }

    /// The place at `coordinate` of the same ring.
    #[must_use]
    pub fn beside(&self, coordinate: u32) -> Self {
        let mut coordinates = self.0.clone();
        if let Some(last) = coordinates.last_mut() {
            *last = coordinate;
        }
        Self(coordinates)
    }

    /// The place this one's ring lies around; `None` in the center.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Self::try_from(rest.to_vec()).ok()
    }

    /// The coordinates, the center's first.
    #[must_use]
    pub fn coordinates(&self) -> &[u32] {
        &self.0
    }

    /// On which level: 1 is the center.
    #[must_use]
    pub fn level(&self) -> usize {
        self.0.len()
    }

    /// The coordinate within the own ring.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.0.last().copied().unwrap_or_default()
    }

    /// How many leading coordinates two paths share.
    #[must_use]
    pub fn common(&self, other: &Self) -> usize {
        self.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count()
    }

    /// How many links the way between two places has. It is the only shortest one, since rings and their parents
    /// are cliques and share one peer at most: up on one side, across one ring, down on the other.
    #[must_use]
    pub fn hops(&self, other: &Self) -> usize {
        let (a, b, common) = (self.level(), other.level(), self.common(other));
        if common == a || common == b { a.abs_diff(b) } else { a + b - 2 * common - 1 }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, coordinate) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "[" } else { "." })?;
            write!(f, "{coordinate}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Path {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let coordinates: Result<Vec<u32>, _> = inner.split('.').map(str::parse).collect();
        Self::try_from(coordinates.map_err(|_| BadPath::NotAPath(text.into()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_read_as_they_are_written() {
        for text in ["[0]", "[4.10.34.9875.2344]", "[4294967295]"] {
            assert_eq!(path(text).to_string(), text);
        }
        assert_eq!(path("4.10"), path("[4.10]"));
        for text in ["", "[]", "[1", "[1..2]", "[-1]", "[4294967296]", "[1.2]]"] {
            assert!(matches!(text.parse::<Path>(), Err(BadPath::NotAPath(_))), "{text}");
        }
        assert_eq!(["1"; MAX_DEPTH + 1].join(".").parse::<Path>(), Err(BadPath::TooDeep));
    }

    #[test]
    fn an_empty_path_or_a_deep_one_does_not_deserialize() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, SeqDeserializer};
        let read = |coordinates: Vec<u32>| {
            let sequence: SeqDeserializer<_, Error> = coordinates.into_deserializer();
            Path::deserialize(sequence)
        };
        assert!(read(vec![]).is_err());
        assert!(read(vec![1; MAX_DEPTH + 1]).is_err());
        assert_eq!(read(vec![1; MAX_DEPTH]).unwrap().level(), MAX_DEPTH);
    }

    #[test]
    fn hops_go_up_across_and_down() {
        assert_eq!(path("[3.0.1]").hops(&path("[3.0.1]")), 0);
        assert_eq!(path("[3.0.1]").hops(&path("[3]")), 2);
        assert_eq!(path("[3.0.1]").hops(&path("[3.0.7]")), 1);
        assert_eq!(path("[3.0.1]").hops(&path("[3.5]")), 2);
        assert_eq!(path("[3.0.1]").hops(&path("[8.0.1]")), 5);
        assert_eq!(path("[0]").hops(&path("[1]")), 1);
    }
}
