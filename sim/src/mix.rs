//! Small fixed mixing functions: whatever in a world is random but never stored is mixed from the seed when it is
//! asked for. Integers only, so that every machine gets the same.

/// The golden ratio in 64 bits, the step of splitmix64 (Steele, Lea & Flood 2014, fig. 11).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes two words into one that looks random (splitmix64's finalizer, after each word).
#[must_use]
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    finish(finish(a.wrapping_add(GOLDEN)) ^ b.wrapping_mul(GOLDEN))
}

/// One word more of many, cheaper than [`mix`]: another word makes another state, and different states stay different, so
/// that one changed word never goes unnoticed. Mix what comes out.
#[must_use]
pub(crate) fn chain(state: u64, word: u64) -> u64 {
    (state.rotate_left(29) ^ word).wrapping_mul(GOLDEN)
}

fn finish(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// 32 bytes that look random. For seeds, not for secrets.
#[must_use]
pub(crate) fn bytes32(a: u64, b: u64) -> [u8; 32] {
    let mut out = [0; 32];
    let base = mix(a, b);
    for (at, word) in out.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mix(base, at as u64).to_le_bytes());
    }
    out
}

/// A number below `bound` (0 if `bound` is 0), even to within 2^-32 for the bounds in use here.
#[must_use]
pub(crate) fn below(word: u64, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 64) as u64
}

/// Whether something that happens with this probability happens.
#[must_use]
pub(crate) fn happens(word: u64, probability: f64) -> bool {
    // 53 bits are exact in an f64.
    ((word >> 11) as f64) < probability * (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_happens_as_often_as_it_says() {
        let hits = (0..100_000).filter(|&i| happens(mix(1, i), 0.25)).count();
        assert!((24_500..25_500).contains(&hits), "{hits} of 100000 at 0.25");
        assert!(!(0..1000).any(|i| happens(mix(2, i), 0.0)));
        assert!((0..1000).all(|i| happens(mix(2, i), 1.0)));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut seen = [0; 7];
        (0..7000).for_each(|i| seen[below(mix(3, i), 7) as usize] += 1);
        assert!(seen.iter().all(|&n| n > 850), "{seen:?}");
        assert_eq!(below(u64::MAX, 0), 0);
    }
}
