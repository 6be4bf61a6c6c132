//! What goes over a wire.
//!
//! A frame is `varint length · varint tag · postcard (contacts, body) · raw payload`. The tag says which overlay, in
//! the sender's numbering with the epoch in it, or 0 for the session itself. The payload is whatever follows the
//! header: it is passed on as it came, never copied into a header or encoded again. Golden vectors of every body
//! stand in `core/tests/golden/core.txt`.

pub mod class;
pub mod frame;
pub mod survey;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::topology::Topology;
pub use class::{Class, Urgency};
pub use frame::{Body, Frame};

/// The largest frame a session carries, its length prefix not counted. Larger things go over bulk streams.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// How many contacts may ride on one frame.
pub const MAX_FRAME_CONTACTS: usize = 64;

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum WireError {
    /// The length prefix is over [`MAX_FRAME_BYTES`], or is itself too long.
    #[error("a frame longer than allowed")]
    TooLong,
    /// The header does not decode.
    #[error("a frame header that does not decode")]
    Malformed,
    /// More contacts than [`MAX_FRAME_CONTACTS`].
    #[error("more contacts on a frame than allowed")]
    TooManyContacts,
}

/// Takes a varint of at most 32 bits off the front; `None` if it is not whole yet.
fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, WireError> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| WireError::TooLong)?;
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 5 { Err(WireError::TooLong) } else { Ok(None) }
}

/// The longest varint: a u32 in groups of seven bits.
const MAX_VARINT: usize = 5;

fn put_varint(to: &mut impl BufMut, mut value: u32) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

/// The length of the frame at the front, and how many bytes say so; `None` until they are all there.
///
/// # Errors
/// [`WireError::TooLong`], after which the stream is of no use.
pub fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    match varint(bytes)? {
        Some((len, _)) if len as usize > MAX_FRAME_BYTES => Err(WireError::TooLong),
        found => Ok(found.map(|(len, prefix)| (len as usize, prefix))),
    }
}

/// Cuts the next whole frame (without its length) off a buffer of received bytes; `None` until one is whole.
///
/// # Errors
/// [`WireError::TooLong`], after which the stream is of no use.
pub fn cut(buffer: &mut BytesMut) -> Result<Option<Bytes>, WireError> {
    let Some((len, prefix)) = length(buffer)? else { return Ok(None) };
    if buffer.len() < prefix + len {
        return Ok(None);
    }
    buffer.advance(prefix);
    Ok(Some(split(buffer, len).freeze()))
}

/// The first `len` bytes of a buffer. All of them need not be shared with a rest, which takes an allocation.
pub(crate) fn split(buffer: &mut BytesMut, len: usize) -> BytesMut {
    if len == buffer.len() { core::mem::take(buffer) } else { buffer.split_to(len) }
}

/// Decodes one frame, as cut by [`cut`]. The payload shares the frame's memory.
///
/// # Errors
/// [`WireError::Malformed`] or [`WireError::TooManyContacts`]: the sender broke the rules.
pub fn decode<T: Topology>(mut bytes: Bytes) -> Result<Frame<T>, WireError> {
    let (tag, prefix) = varint(&bytes)?.ok_or(WireError::Malformed)?;
    let header = bytes.get(prefix..).ok_or(WireError::Malformed)?;
    // The number of contacts is looked at before any is decoded.
    let (contacts, _) = varint(header)?.ok_or(WireError::Malformed)?;
    if contacts as usize > MAX_FRAME_CONTACTS {
        return Err(WireError::TooManyContacts);
    }
    let ((contacts, body), rest) = postcard::take_from_bytes(header).map_err(|_| WireError::Malformed)?;
    let header = bytes.len() - rest.len();
    if header == bytes.len() {
        // Nothing of the frame is kept, so what it was cut from may go.
        bytes = Bytes::new();
    } else {
        bytes.advance(header);
    }
    Ok(Frame { tag, contacts, body, payload: bytes })
}

/// Appends one frame, length and header, to `out`; the caller appends [`Frame::payload`] after it.
///
/// # Panics
/// If a message's own `Serialize` fails, which is its author's mistake.
pub fn encode_header<T: Topology>(frame: &Frame<T>, scratch: &mut Vec<u8>, out: &mut BytesMut) {
    scratch.clear();
    put_varint(scratch, frame.tag);
    let taken = core::mem::take(scratch);
    *scratch = postcard::to_extend(&(&frame.contacts, &frame.body), taken).expect("a message serializes");
    out.reserve(MAX_VARINT + scratch.len());
    put_varint(out, (scratch.len() + frame.payload.len()) as u32);
    out.extend_from_slice(scratch);
}

/// One whole frame, length, header and payload.
#[must_use]
pub fn encode<T: Topology>(frame: &Frame<T>) -> Bytes {
    let (mut scratch, mut out) = (Vec::new(), BytesMut::new());
    encode_header(frame, &mut scratch, &mut out);
    out.extend_from_slice(&frame.payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_comes_back(value: u32, tail: Vec<u8>) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let len = bytes.len();
            bytes.extend(tail);
            prop_assert_eq!(varint(&bytes), Ok(Some((value, len))));
        }

        #[test]
        fn frames_are_cut_wherever_the_bytes_were_split(sizes in prop::collection::vec(0usize..400, 1..8), split in 1usize..97) {
            let mut stream = Vec::new();
            for (at, &size) in sizes.iter().enumerate() {
                put_varint(&mut stream, size as u32);
                stream.extend(std::iter::repeat_n(at as u8, size));
            }
            let (mut buffer, mut cuts) = (BytesMut::new(), Vec::new());
            for chunk in stream.chunks(split) {
                buffer.extend_from_slice(chunk);
                while let Some(frame) = cut(&mut buffer).unwrap() {
                    cuts.push(frame.len());
                }
            }
            prop_assert_eq!(cuts, sizes);
        }
    }

    #[test]
    fn an_endless_length_is_refused_before_anything_is_stored() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(cut(&mut buffer), Err(WireError::TooLong));
        let mut buffer = BytesMut::new();
        put_varint(&mut buffer, MAX_FRAME_BYTES as u32 + 1);
        assert_eq!(cut(&mut buffer), Err(WireError::TooLong));
    }
}
