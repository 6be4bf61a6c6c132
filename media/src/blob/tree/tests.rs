use bao_tree::BlockSize;
use bao_tree::io::outboard::PreOrderMemOutboard;
use proptest::prelude::*;

use super::*;

const SIZES: [u64; 20] = [
    0,
    1,
    1023,
    1024,
    1025,
    GROUP_BYTES - 1,
    GROUP_BYTES,
    GROUP_BYTES + 1,
    2 * GROUP_BYTES - 1,
    2 * GROUP_BYTES,
    2 * GROUP_BYTES + 1,
    3 * GROUP_BYTES,
    5 * GROUP_BYTES + 7,
    63 * GROUP_BYTES + 1,
    64 * GROUP_BYTES,
    64 * GROUP_BYTES + 1,
    65 * GROUP_BYTES,
    127 * GROUP_BYTES + 1000,
    128 * GROUP_BYTES + 1025,
    193 * GROUP_BYTES + 5,
];

fn sample(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn tree(data: &[u8]) -> (Hash, Vec<u8>) {
    let mut outboard = vec![0; outboard_bytes(data.len() as u64) as usize];
    let mut rest = data;
    let mut read = |buffer: &mut [u8]| {
        let (head, tail) = rest.split_at(buffer.len());
        buffer.copy_from_slice(head);
        rest = tail;
        Ok(())
    };
    let mut write = |at: u64, bytes: &[u8]| {
        outboard[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        Ok(())
    };
    let hash = build(data.len() as u64, &mut read, &mut write).unwrap();
    (hash, outboard)
}

fn proof(outboard: &[u8], length: u64, run: &Range<u64>) -> Vec<u8> {
    let runs = proof_runs(length, run);
    runs.iter()
        .flat_map(|r| &outboard[(r.start * PAIR_BYTES) as usize..(r.end * PAIR_BYTES) as usize])
        .copied()
        .collect()
}

#[test]
fn the_root_is_the_plain_blake3_hash_at_every_size() {
    for size in SIZES {
        let data = sample(size);
        assert_eq!(tree(&data).0, Hash::of(&data), "{size} bytes");
    }
}

#[test]
fn the_outboard_is_the_one_the_bao_crate_computes() {
    for size in SIZES {
        let data = sample(size);
        let other = PreOrderMemOutboard::create(&data, BlockSize::from_chunk_log(4));
        let (hash, outboard) = tree(&data);
        assert_eq!(hash.0, *other.root.as_bytes(), "{size} bytes");
        assert_eq!(outboard, other.data, "{size} bytes");
    }
}

#[test]
fn every_run_of_a_small_blob_is_proven_and_no_other_run_passes_for_it() {
    let data = sample(11 * GROUP_BYTES + 9);
    let length = data.len() as u64;
    let (hash, outboard) = tree(&data);
    for start in 0..12 {
        for end in start + 1..=12 {
            let run = start..end;
            let proof = proof(&outboard, length, &run);
            assert_eq!(proof.len() as u64, proof_bytes(length, &run));
            let leaves = Leaves::prove(&hash, length, run.clone(), &proof).unwrap();
            let bytes = bytes_of(length, &run);
            let part = &data[bytes.start as usize..bytes.end as usize];
            assert_eq!(leaves.count_good(part), end - start);
            if start > 0 {
                assert_eq!(leaves.count_good(&data[(bytes.start - GROUP_BYTES) as usize..]), 0);
            }
        }
    }
}

#[test]
fn a_wrong_length_is_noticed_at_the_last_group() {
    let data = sample(5 * GROUP_BYTES + 100);
    let (hash, outboard) = tree(&data);
    let last = 5..6;
    let proof_of_last = proof(&outboard, data.len() as u64, &last);
    for claimed in [5 * GROUP_BYTES + 99, 5 * GROUP_BYTES + 101] {
        let leaves = Leaves::prove(&hash, claimed, last.clone(), &proof_of_last).unwrap();
        let mut part = data[(5 * GROUP_BYTES) as usize..].to_vec();
        part.resize((claimed - 5 * GROUP_BYTES) as usize, 0);
        assert_eq!(leaves.count_good(&part), 0, "{claimed}");
    }
    for claimed in [5 * GROUP_BYTES, 6 * GROUP_BYTES + 1, 9 * GROUP_BYTES, 0, u64::MAX] {
        let last = groups(claimed) - 1..groups(claimed);
        let honest = Leaves::prove(&hash, claimed, last, &proof_of_last);
        let good =
            honest.map_or(0, |leaves| leaves.count_good(&data[(4 * GROUP_BYTES) as usize..(5 * GROUP_BYTES) as usize]));
        assert_eq!(good, 0, "{claimed}");
    }
}

#[test]
fn the_outboard_of_a_known_blob_stays_as_it_is() {
    let (hash, outboard) = tree(&sample(65 * GROUP_BYTES));
    assert_eq!(hash.to_string(), "e6b9ad92d88ad7274c0bb671003656153d785602a8ff5f5361b6f0b0dd1e0b42");
    assert_eq!(Hash::of(&outboard).to_string(), "b8dcee1556034d3d1132ba71b2e2cd1e90573876fc5f7d2eaea026b34cfc3790");
    let proof = proof(&outboard, 65 * GROUP_BYTES, &(63..65));
    assert_eq!(proof.len(), 7 * 64);
    assert_eq!(Hash::of(&proof).to_string(), "d11e0e24bc1389f41db75b31e08fb11035820eb9b22db82d5aee18af421d0a03");
}

proptest! {
    #[test]
    fn a_flipped_bit_anywhere_is_noticed(size in 1u64..40 * GROUP_BYTES, at in any::<u32>(), bit in 0u8..8, a in any::<u32>(), b in any::<u32>()) {
        let data = sample(size);
        let (hash, outboard) = tree(&data);
        let count = groups(size);
        let (a, b) = (u64::from(a) % count, u64::from(b) % count);
        let run = a.min(b)..a.max(b) + 1;
        let bytes = bytes_of(size, &run);
        let mut answer = proof(&outboard, size, &run);
        let split = answer.len();
        answer.extend_from_slice(&data[bytes.start as usize..bytes.end as usize]);
        let at = at as usize % answer.len();
        answer[at] ^= 1 << bit;
        let good = Leaves::prove(&hash, size, run, &answer[..split]).map(|leaves| leaves.count_good(&answer[split..]));
        if at < split {
            prop_assert!(good.is_err());
        } else {
            prop_assert_eq!(good, Ok((at - split) as u64 / GROUP_BYTES));
        }
    }

    #[test]
    fn a_random_proof_is_an_error_and_no_panic(length in any::<u64>(), start in any::<u64>(), len in 0u64..100, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let run = start..start.saturating_add(len);
        prop_assume!(groups(length) > 1);
        prop_assert!(Leaves::prove(&Hash([7; 32]), length, run, &bytes).is_err());
    }
}
