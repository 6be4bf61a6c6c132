//! What goes over a bulk stream between one who fetches and one who provides.
//!
//! The fetching side writes *requests*, as many ahead as it likes; the provider answers them in order. All numbers
//! are little-endian.
//!
//! ```text
//! request  = length:u16 · postcard(Request)           length ≤ MAX_REQUEST_BYTES
//! answer   = status:u8                                0 here it is, 1 not here, 2 refused
//!            status 0: · length:u64 · for each run: proof · data
//! proof    = the pairs (64 bytes) of all tree nodes above the run, pre-order, see `blob::tree`
//! data     = the bytes of the run's groups
//! ```
//!
//! Both sides compute the sizes of `proof` and `data` from the blob's length and the run, so nothing in an answer
//! can make a reader allocate more than it asked for. A request without runs asks for the last group, whose proof
//! is also the proof of the length. The proof comes first, so that every group is checked as it arrives and a
//! stream that breaks leaves all whole groups usable.

use core::ops::Range;
use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::blob::{Hash, tree};

/// How many bytes a request may have: a hash, 32 runs, and room for what later versions add.
pub const MAX_REQUEST_BYTES: usize = 1024;
/// How many runs a request may name.
pub const MAX_RUNS: usize = 32;
/// How many groups a run may have (16 MiB), so that the proof before its data stays small.
pub const MAX_RUN_GROUPS: u64 = 1024;

/// Asks for runs of groups of a blob; for the last group if it names none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which blob.
    pub hash: Hash,
    /// Which groups: first and one past the last.
    pub runs: Vec<(u64, u64)>,
}

/// Why a request could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// It is longer than [`MAX_REQUEST_BYTES`].
    #[error("a request of {0} bytes is longer than allowed")]
    TooLarge(usize),
    /// It is not in our form.
    #[error("the request is malformed")]
    Malformed,
    /// It names more runs or groups than allowed, or empty ones.
    #[error("the request names too many, too long or empty runs")]
    BadRuns,
}

impl Request {
    /// The request as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).unwrap_or_default();
        let mut bytes = (body.len() as u16).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads a request's body.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] or `BadRuns`.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        let (request, rest) = postcard::take_from_bytes::<Self>(body).map_err(|_| RequestError::Malformed)?;
        let good = |&(start, end): &(u64, u64)| start < end && end - start <= MAX_RUN_GROUPS;
        match (rest.is_empty(), request.runs.len() <= MAX_RUNS && request.runs.iter().all(good)) {
            (false, _) => Err(RequestError::Malformed),
            (_, false) => Err(RequestError::BadRuns),
            _ => Ok(request),
        }
    }

    /// Reads the next request of a stream; `None` if it ended cleanly before one. Not cancel-safe.
    ///
    /// # Errors
    /// Any [`RequestError`]; the stream is then of no further use.
    pub async fn read(from: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<Option<Self>, RequestError> {
        let mut head = [0; 2];
        if from.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut head[1..]).await?;
        let length = usize::from(u16::from_le_bytes(head));
        if length > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLarge(length));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body).await?;
        Self::decode(&body).map(Some)
    }

    /// The runs asked for of a blob of `length` bytes; `None` if one lies outside it.
    #[must_use]
    pub fn runs_in(&self, length: u64) -> Option<Vec<Range<u64>>> {
        let groups = tree::groups(length);
        if self.runs.is_empty() {
            return Some(std::iter::once(groups - 1..groups).collect());
        }
        let run = |&(start, end): &(u64, u64)| (end <= groups).then_some(start..end);
        self.runs.iter().map(run).collect()
    }
}

/// The first byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The length and what was asked for follow.
    Here,
    /// The provider does not have it, or no longer.
    NotHere,
    /// The provider does not serve this now, or the runs lie outside the blob.
    Refused,
}

impl Status {
    /// As it goes on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Here => 0,
            Self::NotHere => 1,
            Self::Refused => 2,
        }
    }

    /// Reads it; a later version's refusals are refusals.
    #[must_use]
    pub const fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Here,
            1 => Self::NotHere,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_stays_as_it_is_on_the_wire() {
        let request = Request { hash: Hash([0xab; 32]), runs: vec![(0, 64), (300, 301)] };
        let expected = format!("{:04x}{}{}", 0x2700, "ab".repeat(32), "020040ac02ad02");
        assert_eq!(data_encoding::HEXLOWER.encode(&request.encode()), expected);
    }

    #[tokio::test]
    async fn a_stream_of_requests_is_read_to_its_end() {
        let request = Request { hash: Hash([1; 32]), runs: vec![(5, 6)] };
        let bytes = [request.encode(), request.encode()].concat();
        let mut rest = bytes.as_slice();
        assert_eq!(Request::read(&mut rest).await.unwrap(), Some(request.clone()));
        assert_eq!(Request::read(&mut rest).await.unwrap(), Some(request));
        assert_eq!(Request::read(&mut rest).await.unwrap(), None);
        assert!(matches!(Request::read(&mut &bytes[..20]).await, Err(RequestError::Io(_))));
        assert!(matches!(Request::read(&mut &[0xff; 9][..]).await, Err(RequestError::TooLarge(0xffff))));
    }

    #[test]
    fn greedy_and_empty_runs_are_refused() {
        for runs in [vec![(0, 0)], vec![(2, 1)], vec![(0, MAX_RUN_GROUPS + 1)], vec![(0, 1); MAX_RUNS + 1]] {
            let body = &Request { hash: Hash([1; 32]), runs }.encode()[2..];
            assert!(matches!(Request::decode(body), Err(RequestError::BadRuns)));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_or_a_request(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(request) = Request::decode(&bytes) {
                prop_assert!(request.runs.len() <= MAX_RUNS);
            }
        }
    }
}
