//! A package: a deterministic manifest of titled items, each a blob. The hash of its bytes is the *content root*:
//! who knows it can fetch and check everything. No time and no author is inside; a [`Seal`](crate::seal::Seal) may
//! stand beside it.
//!
//! The bytes are `polymorph package\0`, a version byte, and the postcard form of title and items, sorted by name.
//! There is exactly one encoding of a package; any other is refused.

use serde::{Deserialize, Serialize};

use crate::blob::Hash;

mod collect;
mod extract;
mod fetch;
pub mod media_type;
pub mod name;

pub use collect::{CollectError, share};
pub use extract::{ExtractError, extract};
pub use fetch::{FetchPackageError, fetch_package};

use name::BadName;

const PREFIX: &[u8] = b"polymorph package\0\x01";
/// How many bytes before [`PREFIX`]'s version byte.
const MAGIC_BYTES: usize = PREFIX.len() - 1;
/// How many items a package may have.
pub const MAX_ITEMS: usize = 20_000;
/// How many bytes a manifest may have; it is held in memory as a whole.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
/// How many bytes a title may have.
pub const MAX_TITLE_BYTES: usize = 1024;

/// A manifest of items. Always valid: names are safe and differ, and it stays within the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    title: String,
    items: Vec<Item>,
}

/// One item of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its place in the package: a relative path with `/`, see [`name::check`].
    pub name: String,
    /// What people call it; may be empty.
    pub title: String,
    /// Its media type, such as `video/mp4`.
    pub media_type: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its content.
    pub hash: Hash,
}

/// Why something is no package.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageError {
    /// The bytes are something else.
    #[error("this content is no package; check the link")]
    NotAPackage,
    /// A later program made it.
    #[error("the package is of version {0}, this program knows 1; use a newer program")]
    Version(u8),
    /// It was cut, has bytes too many, or is not in the one form a package has.
    #[error("the package's manifest is malformed; whoever made it must make it again")]
    Malformed,
    /// It has no items, too many, or texts that are too long.
    #[error("a package has 1 to {MAX_ITEMS} items and {MAX_MANIFEST_BYTES} bytes of manifest")]
    Size,
    /// An item has a name that is not safe to write anywhere.
    #[error(transparent)]
    Name(#[from] BadName),
}

#[derive(Serialize, Deserialize)]
struct Body {
    title: String,
    items: Vec<Item>,
}

impl Package {
    /// A package of `items`, in the order of their names.
    ///
    /// # Errors
    /// [`PackageError::Size`] or [`PackageError::Name`].
    pub fn new(title: impl Into<String>, mut items: Vec<Item>) -> Result<Self, PackageError> {
        items.sort_by(|a, b| a.name.cmp(&b.name));
        let package = Self { title: title.into(), items };
        let long = |text: &str| text.len() > MAX_TITLE_BYTES;
        let texts = package.items.iter().any(|item| long(&item.title) || long(&item.media_type));
        if package.items.is_empty() || package.items.len() > MAX_ITEMS || texts || long(&package.title) {
            return Err(PackageError::Size);
        }
        name::check_all(package.items.iter().map(|item| item.name.as_str()))?;
        if package.encode().len() as u64 > MAX_MANIFEST_BYTES {
            return Err(PackageError::Size);
        }
        Ok(package)
    }

    /// What people call it; may be empty.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Its items, sorted by name.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many bytes all items have together.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.items.iter().fold(0, |sum, item| sum.saturating_add(item.length))
    }

    /// Its one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = Body { title: self.title.clone(), items: self.items.clone() };
        let mut bytes = PREFIX.to_vec();
        bytes.extend(postcard::to_stdvec(&body).unwrap_or_default());
        bytes
    }

    /// Its content root.
    #[must_use]
    pub fn root(&self) -> Hash {
        Hash::of(&self.encode())
    }

    /// Reads a package from bytes of any origin.
    ///
    /// # Errors
    /// Any [`PackageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PackageError> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(PackageError::Size);
        }
        let rest = bytes.strip_prefix(&PREFIX[..MAGIC_BYTES]).ok_or(PackageError::NotAPackage)?;
        let body = match rest.split_first() {
            Some((1, body)) => body,
            Some((version, _)) => return Err(PackageError::Version(*version)),
            None => return Err(PackageError::Malformed),
        };
        let (Body { title, items }, rest) = postcard::take_from_bytes(body).map_err(|_| PackageError::Malformed)?;
        if !rest.is_empty() {
            return Err(PackageError::Malformed);
        }
        let package = Self::new(title, items)?;
        // Unsorted items and overlong numbers come back different.
        if package.encode() == bytes { Ok(package) } else { Err(PackageError::Malformed) }
    }
}

#[cfg(test)]
mod tests;
