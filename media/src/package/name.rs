//! Names of items: relative paths that are safe to write below any folder, on any common system.

use std::collections::HashSet;

/// How many bytes a name may have.
pub const MAX_NAME_BYTES: usize = 1024;
/// How many bytes one part of a name may have; common file systems take 255.
const MAX_PART_BYTES: usize = 255;
/// Names that Windows gives to devices, whatever their extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Why a name is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} cannot name an item: {reason}")]
pub struct BadName {
    /// The name, cut to a readable length.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Checks one name: `/` between parts, no part empty, `.`, `..`, reserved or with control characters or characters
/// that mean something else elsewhere (`\ : * ? " < > |`), no part ending in a dot or a space.
///
/// # Errors
/// [`BadName`].
pub fn check(name: &str) -> Result<(), BadName> {
    let bad = |reason| Err(BadName { name: name.chars().take(80).collect(), reason });
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return bad("it must have 1 to 1024 bytes");
    }
    for part in name.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return bad("it must be a relative path without empty, . and .. parts");
        }
        if part.len() > MAX_PART_BYTES {
            return bad("a part of it is longer than 255 bytes");
        }
        if part.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c)) {
            return bad("it has a character that some systems do not allow");
        }
        if part.ends_with(['.', ' ']) {
            return bad("a part of it ends in a dot or a space");
        }
        if is_device(part) {
            return bad("some systems reserve that name for a device");
        }
    }
    Ok(())
}

/// Checks all names of a package: each by itself, and that no two are one file, or one the folder of another, on a
/// system that ignores case.
///
/// # Errors
/// [`BadName`] for the first that is refused.
pub fn check_all<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<(), BadName> {
    let mut files = HashSet::new();
    for name in names.clone() {
        check(name)?;
        if !files.insert(name.to_lowercase()) {
            return Err(BadName { name: name.into(), reason: "another item has the same name" });
        }
    }
    for name in names {
        let folded = name.to_lowercase();
        if folded.match_indices('/').any(|(at, _)| files.contains(&folded[..at])) {
            return Err(BadName { name: name.into(), reason: "another item is a file where this needs a folder" });
        }
    }
    Ok(())
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or("").trim_end().to_ascii_lowercase();
    let numbered = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    DEVICES.contains(&stem.as_str())
        || numbered.is_some_and(|n| n.len() == 1 && n != "0" && n.as_bytes()[0].is_ascii_digit())
}

/// The nearest name that passes [`check`] for a file of a user: what is not allowed becomes `_`.
#[must_use]
pub fn sanitize(part: &str) -> String {
    let mut out = String::new();
    for c in part.chars().map(|c| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c }) {
        if out.len() + c.len_utf8() < MAX_PART_BYTES {
            out.push(c);
        }
    }
    let kept = out.trim_end_matches(['.', ' ']).len();
    let dots = out.len() - kept;
    out.truncate(kept);
    out.extend(std::iter::repeat_n('_', dots));
    if is_device(&out) || out.is_empty() { format!("_{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_leave_the_folder_or_surprise_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            ".",
            "a/",
            "a\0b",
            "a\nb",
            "C:x",
            "a\\b",
            "nul",
            "a/Com1.txt",
            "x.",
            "x ",
            &long,
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
        for name in ["a", "a/b.txt", ".hidden", "Grüße/日本.mp4", "common", "com10", "..x"] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn two_items_never_share_a_place() {
        assert!(check_all(["a", "A"].into_iter()).is_err());
        assert!(check_all(["a/b", "A"].into_iter()).is_err());
        assert!(check_all(["a/b", "a/c", "ab"].into_iter()).is_ok());
    }

    proptest! {
        #[test]
        fn a_sanitized_name_always_passes(part in any::<String>()) {
            prop_assert_eq!(check(&sanitize(&part)), Ok(()));
        }
    }
}
