//! Printable words: a prefix, base32, and a checksum that notices typos before anything is dialed.

use data_encoding::BASE32_NOPAD;

/// How many bytes a word may carry.
pub const MAX_WORD_BYTES: usize = 16 * 1024;

fn checksum(prefix: &str, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new_derive_key("polymorph 2026-11 checksum of a printable word");
    hasher.update(prefix.as_bytes()).update(bytes);
    let mut out = [0; 4];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
    out
}

/// One word: `prefix`, then base32 in lower case of the bytes and their checksum.
#[must_use]
pub fn encode(prefix: &str, bytes: &[u8]) -> String {
    let sealed = [bytes, &checksum(prefix, bytes)].concat();
    format!("{prefix}{}", BASE32_NOPAD.encode(&sealed).to_ascii_lowercase())
}

/// The bytes of a word made by [`encode`]; `None` for another prefix, a typo or a cut.
#[must_use]
pub fn decode(prefix: &str, word: &str) -> Option<Vec<u8>> {
    let digits = word.trim().strip_prefix(prefix)?;
    if digits.len() > MAX_WORD_BYTES * 8 / 5 {
        return None;
    }
    let mut bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).ok()?;
    let sum = bytes.split_off(bytes.len().checked_sub(4)?);
    (sum == checksum(prefix, &bytes)).then_some(bytes)
}
