//! The hash tree over the groups of a blob: its shape, its proofs, and building it.
//!
//! A node covers a run of groups. One that covers several has a left child covering the largest power of two of them
//! that is smaller than all, and is described by a *pair*: the chaining values of both children, 64 bytes. Pairs are
//! numbered in pre-order, so that the pairs of any whole subtree stand together.
//!
//! The *proof* of a run of groups is the pairs of all nodes that cover at least one of them, in pre-order. It gives
//! the chaining value of every group in the run, each checked against the root, before the first byte of data.

use core::ops::Range;
use std::io;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::blob::{CHUNK_GROUPS, GROUP_BYTES, Hash};

/// How many bytes describe one inner node.
pub const PAIR_BYTES: u64 = 64;

/// How many groups a blob of `length` bytes has; an empty blob has one, empty group.
#[must_use]
pub fn groups(length: u64) -> u64 {
    length.div_ceil(GROUP_BYTES).max(1)
}

/// How many bytes the outboard of a blob of `length` bytes has.
#[must_use]
pub fn outboard_bytes(length: u64) -> u64 {
    (groups(length) - 1) * PAIR_BYTES
}

/// The bytes that a run of groups covers in a blob of `length` bytes.
#[must_use]
pub fn bytes_of(length: u64, run: &Range<u64>) -> Range<u64> {
    let end = run.end.saturating_mul(GROUP_BYTES).min(length);
    run.start.saturating_mul(GROUP_BYTES).min(end)..end
}

/// Where the proof of `run` stands in the outboard: runs of pair numbers, in order, none touching another.
#[must_use]
pub fn proof_runs(length: u64, run: &Range<u64>) -> Vec<Range<u64>> {
    let mut runs = Vec::new();
    Node::root(length).collect(run, &mut runs);
    runs
}

/// How many bytes the proof of `run` has.
#[must_use]
pub fn proof_bytes(length: u64, run: &Range<u64>) -> u64 {
    proof_runs(length, run).iter().map(|pairs| pairs.end - pairs.start).sum::<u64>() * PAIR_BYTES
}

/// The bytes did not match the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data does not match its hash")]
pub struct Mismatch;

/// The chaining values of a run of groups, proven.
#[derive(Debug)]
pub struct Leaves {
    root: Option<Hash>,
    run: Range<u64>,
    values: Vec<ChainingValue>,
}

impl Leaves {
    /// Checks `proof`, made for `run` of the blob `hash` of `length` bytes.
    ///
    /// # Errors
    /// [`Mismatch`] if the proof is for another hash, length or run, was altered or was cut.
    pub fn prove(hash: &Hash, length: u64, run: Range<u64>, proof: &[u8]) -> Result<Self, Mismatch> {
        let node = Node::root(length);
        if run.is_empty() || run.end > node.count {
            return Err(Mismatch);
        }
        if node.count == 1 {
            let leaves = Self { root: Some(*hash), run, values: Vec::new() };
            return if proof.is_empty() { Ok(leaves) } else { Err(Mismatch) };
        }
        let values = Vec::with_capacity(proof.len() / PAIR_BYTES as usize + 1);
        let mut leaves = Self { root: None, run, values };
        let mut rest = proof;
        let pair = take_pair(&mut rest)?;
        if *merge_subtrees_root(&pair.0, &pair.1, Mode::Hash).as_bytes() != hash.0 {
            return Err(Mismatch);
        }
        let (left, right) = node.children();
        leaves.descend(left, &pair.0, &mut rest)?;
        leaves.descend(right, &pair.1, &mut rest)?;
        if rest.is_empty() { Ok(leaves) } else { Err(Mismatch) }
    }

    /// How many of the groups at the start of the run `data` holds unaltered. The last one may be short only where
    /// the blob ends; the caller cuts `data` at a group's end.
    #[must_use]
    pub fn count_good(&self, data: &[u8]) -> u64 {
        if let Some(root) = self.root {
            return u64::from(Hash::of(data) == root);
        }
        let groups = data.chunks(GROUP_BYTES as usize).zip(&self.values).zip(self.run.clone());
        groups.take_while(|((bytes, value), group)| chaining_value(*group, bytes) == **value).count() as u64
    }

    fn descend(&mut self, node: Node, expected: &ChainingValue, rest: &mut &[u8]) -> Result<(), Mismatch> {
        if !node.meets(&self.run) {
            return Ok(());
        }
        if node.count == 1 {
            self.values.push(*expected);
            return Ok(());
        }
        let pair = take_pair(rest)?;
        if merge_subtrees_non_root(&pair.0, &pair.1, Mode::Hash) != *expected {
            return Err(Mismatch);
        }
        let (left, right) = node.children();
        self.descend(left, &pair.0, rest)?;
        self.descend(right, &pair.1, rest)
    }
}

/// Hashes a blob of `length` bytes once, front to back. `read` fills its buffer with the next bytes; `write` is given
/// parts of the outboard with their byte offset. Uses 1 MiB whatever the length.
///
/// # Errors
/// Whatever `read` or `write` returns.
pub fn build(
    length: u64,
    read: &mut dyn FnMut(&mut [u8]) -> io::Result<()>,
    write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<Hash> {
    let mut builder = Builder { length, read, write, data: Vec::new(), values: Vec::new(), pairs: Vec::new() };
    let root = Node::root(length);
    if root.count == 1 {
        builder.fill(root)?;
        return Ok(Hash::of(&builder.data));
    }
    let pair = builder.split(root)?;
    Ok(Hash(*merge_subtrees_root(&pair.0, &pair.1, Mode::Hash).as_bytes()))
}

struct Builder<'a> {
    length: u64,
    read: &'a mut dyn FnMut(&mut [u8]) -> io::Result<()>,
    write: &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    data: Vec<u8>,
    values: Vec<ChainingValue>,
    pairs: Vec<u8>,
}

impl Builder<'_> {
    fn fill(&mut self, node: Node) -> io::Result<()> {
        let bytes = bytes_of(self.length, &node.run());
        self.data.resize((bytes.end - bytes.start) as usize, 0);
        (self.read)(&mut self.data)
    }

    /// The pair of a node of several groups, after its whole subtree was read and written.
    fn split(&mut self, node: Node) -> io::Result<(ChainingValue, ChainingValue)> {
        if node.count > CHUNK_GROUPS {
            let (left, right) = node.children();
            let pair = (self.value(left)?, self.value(right)?);
            (self.write)(node.pair * PAIR_BYTES, &[pair.0, pair.1].concat())?;
            return Ok(pair);
        }
        self.fill(node)?;
        let groups = self.data.chunks(GROUP_BYTES as usize).zip(node.run());
        self.values.clear();
        self.values.extend(groups.map(|(bytes, group)| chaining_value(group, bytes)));
        self.pairs.clear();
        self.pairs.resize((node.count - 1) as usize * PAIR_BYTES as usize, 0);
        let pair = fold(&self.values, &mut self.pairs);
        (self.write)(node.pair * PAIR_BYTES, &self.pairs)?;
        Ok(pair)
    }

    fn value(&mut self, node: Node) -> io::Result<ChainingValue> {
        if node.count == 1 {
            self.fill(node)?;
            return Ok(chaining_value(node.start, &self.data));
        }
        let pair = self.split(node)?;
        Ok(merge_subtrees_non_root(&pair.0, &pair.1, Mode::Hash))
    }
}

/// Folds at least two leaves into the pairs of their subtree, pre-order; gives the top pair.
fn fold(values: &[ChainingValue], pairs: &mut [u8]) -> (ChainingValue, ChainingValue) {
    let left = left_count(values.len() as u64) as usize;
    let (top, rest) = pairs.split_at_mut(PAIR_BYTES as usize);
    let (left_pairs, right_pairs) = rest.split_at_mut((left - 1) * PAIR_BYTES as usize);
    let pair = (fold_value(&values[..left], left_pairs), fold_value(&values[left..], right_pairs));
    top[..32].copy_from_slice(&pair.0);
    top[32..].copy_from_slice(&pair.1);
    pair
}

fn fold_value(values: &[ChainingValue], pairs: &mut [u8]) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let pair = fold(values, pairs);
    merge_subtrees_non_root(&pair.0, &pair.1, Mode::Hash)
}

/// The chaining value of a group that is not the whole blob.
fn chaining_value(group: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(group * GROUP_BYTES).update(bytes);
    hasher.finalize_non_root()
}

fn take_pair(rest: &mut &[u8]) -> Result<(ChainingValue, ChainingValue), Mismatch> {
    let (left, tail) = rest.split_first_chunk::<32>().ok_or(Mismatch)?;
    let (right, tail) = tail.split_first_chunk::<32>().ok_or(Mismatch)?;
    *rest = tail;
    Ok((*left, *right))
}

/// The largest power of two smaller than `count`, which is at least two.
fn left_count(count: u64) -> u64 {
    count.div_ceil(2).next_power_of_two()
}

/// A node: the groups it covers, and the number of its pair if it covers several.
#[derive(Clone, Copy)]
struct Node {
    start: u64,
    count: u64,
    pair: u64,
}

impl Node {
    fn root(length: u64) -> Self {
        Self { start: 0, count: groups(length), pair: 0 }
    }

    fn run(self) -> Range<u64> {
        self.start..self.start + self.count
    }

    fn meets(self, run: &Range<u64>) -> bool {
        self.start < run.end && run.start < self.start + self.count
    }

    fn children(self) -> (Self, Self) {
        let left = left_count(self.count);
        let right = Self { start: self.start + left, count: self.count - left, pair: self.pair + left };
        (Self { start: self.start, count: left, pair: self.pair + 1 }, right)
    }

    fn collect(self, run: &Range<u64>, runs: &mut Vec<Range<u64>>) {
        if self.count == 1 || !self.meets(run) {
            return;
        }
        let whole = run.start <= self.start && self.start + self.count <= run.end;
        let pairs = self.pair..self.pair + if whole { self.count - 1 } else { 1 };
        match runs.last_mut() {
            Some(last) if last.end == pairs.start => last.end = pairs.end,
            _ => runs.push(pairs),
        }
        if !whole {
            let (left, right) = self.children();
            left.collect(run, runs);
            right.collect(run, runs);
        }
    }
}

#[cfg(test)]
mod tests;
