//! Learning a blob's length from the proof of its last group.

use std::sync::Arc;
use std::time::Duration;

use polymorph_core::Guid;
use polymorph_core::runtime::transport::Stream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::pull::{Complaint, Ended, fill, open, read_head, send};
use super::{FetchError, Fetcher, Known, MAX_ACTIVE, Standing};
use crate::blob::Hash;
use crate::blob::tree::{self, Leaves};
use crate::provider::Provider;
use crate::wire::Request;

/// How long one provider has to prove a blob's length before another is asked too.
const STAGGER: Duration = Duration::from_millis(500);

impl Fetcher {
    /// Learns the length of a blob from the proof of its last group. Asks one provider, and the next as well when
    /// there is no answer soon; the first proof wins.
    pub(super) async fn discover(
        &mut self,
        hash: Hash,
        max: u64,
        complaints: &mut Vec<(Guid, Complaint)>,
    ) -> Result<u64, FetchError> {
        let mut attempts = JoinSet::new();
        let mut asked = vec![false; self.known.len()];
        let (mut since, mut last) = (Instant::now(), None);
        let proven = loop {
            let next = last.is_none_or(|last: Instant| attempts.is_empty() || last.elapsed() >= STAGGER);
            let ready = |(who, known): (usize, &Known)| !asked[who] && matches!(known.standing, Standing::Ready(_));
            let who = self.known.iter().enumerate().position(ready);
            if let (true, Some(who)) = (next, who) {
                asked[who] = true;
                last = Some(Instant::now());
                attempts.spawn(prove_length(hash, who, self.known[who].take(), self.options.stall));
                continue;
            }
            if !attempts.is_empty() {
                since = Instant::now();
            } else if self.coming.0.is_none() {
                break None;
            }
            tokio::select! {
                next = self.coming.next(), if self.coming.0.is_some() && attempts.len() < MAX_ACTIVE => {
                    next.into_iter().for_each(|provider| self.meet(provider, &mut asked));
                }
                Some(Ok((ended, length))) = attempts.join_next() => {
                    self.end(Ok(ended), complaints);
                    if length.is_some() {
                        break length;
                    }
                }
                () = sleep(STAGGER), if !attempts.is_empty() && who.is_some() => {}
                () = sleep_until(since + self.options.patience), if attempts.is_empty() => break None,
            }
        };
        drop(attempts);
        self.reset();
        match proven {
            Some(length) if length > max => Err(FetchError::TooLong { hash, length, max }),
            Some(length) => Ok(length),
            None => Err(FetchError::NoProvider { hash, complaints: std::mem::take(complaints) }),
        }
    }
}

async fn prove_length(
    hash: Hash,
    who: usize,
    (provider, stream): (Arc<dyn Provider>, Option<Stream>),
    stall: Duration,
) -> (Ended, Option<u64>) {
    let ask = async |stream: Option<Stream>| {
        let mut stream = match stream {
            Some(stream) => stream,
            None => open(&*provider, stall).await?,
        };
        send(&mut stream, &Request { hash, runs: Vec::new() }.encode(), stall).await?;
        let length = read_head(&mut stream.recv, stall).await?;
        let run = tree::groups(length) - 1..tree::groups(length);
        let bytes = tree::bytes_of(length, &run);
        let proof = tree::proof_bytes(length, &run) as usize;
        let mut buffer = vec![0; proof + (bytes.end - bytes.start) as usize];
        let end = buffer.len();
        fill(&mut stream.recv, &mut buffer, &mut 0, end, stall).await?;
        let (proof, data) = buffer.split_at(proof);
        let good = Leaves::prove(&hash, length, run, proof).map(|leaves| leaves.count_good(data));
        if good == Ok(1) { Ok((length, stream)) } else { Err(Complaint::Lied) }
    };
    let kept = stream.is_some();
    let mut result = ask(stream).await;
    // A stream kept from the blob before may have been closed meanwhile.
    if kept && matches!(result, Err(Complaint::Broke(_))) {
        result = ask(None).await;
    }
    match result {
        Ok((length, stream)) => (Ended { who, stream: Some(stream), complaint: None }, Some(length)),
        Err(complaint) => (Ended { who, stream: None, complaint: Some(complaint) }, None),
    }
}
