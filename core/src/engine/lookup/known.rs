//! Whom the asker of a wide lookup has heard of already, so that nobody names them to it again.
//!
//! The nearer a lookup comes to its end, the more of what it is told it knows: of twenty peers with their contacts,
//! three kibibytes, all but two or three. So a question carries two bytes for each of the nearest that came up. They
//! depend on the number of the question: whoever is left out by accident, one in a thousand, is named by the next.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::Guid;

/// How many marks a question carries at most, and how many are looked at in one: more than any answer names twice.
const MAX_MARKS: usize = 64;

/// Two bytes that stand for a peer in one question. A Guid is a hash, so that any of its bytes will do.
fn mark(question: u32, peer: &Guid) -> u16 {
    let [a, b, c, d, e, f, g, h, ..] = peer.0;
    let mixed = u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from(question) << 16;
    // Fibonacci hashing (Knuth, TAOCP vol. 3, §6.4): the product's upper bits depend on all of the factor's.
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// Marks of the first of these peers.
pub(super) fn marks(question: u32, peers: &[Guid]) -> Bytes {
    let peers = &peers[..peers.len().min(MAX_MARKS)];
    let mut marks = BytesMut::with_capacity(2 * peers.len());
    peers.iter().for_each(|peer| marks.put_u16_le(mark(question, peer)));
    marks.freeze()
}

/// Leaves out whom the asker knows by the marks in its question.
pub(super) fn leave_out(question: u32, marks: &[u8], peers: &mut Vec<Guid>) {
    let known: Vec<u16> =
        marks.as_chunks().0.iter().take(MAX_MARKS).map(|mark: &[u8; 2]| u16::from_le_bytes(*mark)).collect();
    peers.retain(|peer| !known.contains(&mark(question, peer)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(count: u64) -> Vec<Guid> {
        (0..count).map(|number| Guid(*blake3::hash(&number.to_le_bytes()).as_bytes())).collect()
    }

    #[test]
    fn who_is_known_is_left_out_and_hardly_anybody_else() {
        let all = peers(2000);
        let (known, others) = all.split_at(40);
        let mut wronged = [0; 2];
        for (question, wronged) in [1, 0xffff_ffff].into_iter().zip(&mut wronged) {
            let marks = marks(question, known);
            assert_eq!(marks.len(), 80);
            let mut named = known.to_vec();
            leave_out(question, &marks, &mut named);
            assert!(named.is_empty());
            let mut named = others.to_vec();
            leave_out(question, &marks, &mut named);
            *wronged = others.len() - named.len();
        }
        // 40 of 65,536 marks are taken.
        assert!(wronged.iter().all(|wronged| *wronged <= 8), "{wronged:?} of 1960");
    }

    #[test]
    fn another_question_has_other_marks() {
        let all = peers(40);
        assert_ne!(marks(1, &all), marks(2, &all));
        let mut named = all.clone();
        leave_out(2, &marks(1, &all), &mut named);
        assert!(named.len() >= 38);
    }

    #[test]
    fn rubbish_and_too_many_marks_do_no_harm() {
        let all = peers(100);
        let mut named = all.clone();
        leave_out(7, &[0xff; 3], &mut named);
        assert!(named.len() >= 98);
        let many: Vec<u8> = all.iter().flat_map(|peer| mark(7, peer).to_le_bytes()).collect();
        let mut named = all.clone();
        leave_out(7, &many, &mut named);
        assert!((34..=36).contains(&named.len()), "no more than 64 are looked at, and {} are left", named.len());
        assert_eq!(marks(7, &all).len(), 128);
    }
}
