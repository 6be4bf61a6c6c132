//! What is still to happen, in the order in which it will.
//!
//! A timing wheel (Varghese & Lauck 1987, scheme 7) of two levels: 4096 slots of a tick (2^20 ns, 1.05 ms), then
//! 4096 slots of a whole turn of the first (4.3 s), then a heap for what is hours away. Within a tick the order is
//! exact, by nanosecond and then by the order of pushing. Slots are lists of chunks from one pool: what a busy slot
//! needed a moment ago serves the next one, and a pool that grows copies nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use polymorph_core::Time;

/// A tick is 2^20 ns: near enough to the millisecond that links and timers are measured in, and a shift to get.
const TICK_BITS: u32 = 20;
/// 4096 slots a level: links and most timers of calls stay within the first turn, maintenance within the second.
const SLOT_BITS: u32 = 12;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;
/// Entries in a chunk: about 1 KiB, so that thousands of sparsely filled slots cost little.
const CHUNK: usize = 31;
/// Chunks in one allocation.
const SEGMENT: usize = 64;
/// The end of a list of chunks.
const END: u32 = u32::MAX;

/// One thing that will happen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Entry<T> {
    at: u64,
    /// How many were pushed before: breaks ties.
    order: u64,
    item: T,
}

impl<T> Entry<T> {
    fn rank(&self) -> (u64, u64) {
        (self.at, self.order)
    }

    fn tick(&self) -> u64 {
        self.at >> TICK_BITS
    }
}

/// An entry in a heap, the earliest on top.
#[derive(Clone, Copy, Debug)]
struct Earliest<T>(Entry<T>);

impl<T> PartialEq for Earliest<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.rank() == other.0.rank()
    }
}

impl<T> Eq for Earliest<T> {}

impl<T> PartialOrd for Earliest<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Earliest<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        other.0.rank().cmp(&self.0.rank())
    }
}

/// A queue of small things in order of time, then of pushing.
#[derive(Debug)]
pub struct Wheel<T> {
    /// The tick up to and with which everything is in `ready` or `soon`.
    cursor: u64,
    /// The tick at the cursor, sorted, the earliest last.
    ready: Vec<Entry<T>>,
    /// What was pushed at or before the cursor.
    soon: BinaryHeap<Earliest<T>>,
    /// Later ticks of this turn.
    near: Level,
    /// Later turns.
    late: Level,
    /// Later than the second level reaches.
    far: BinaryHeap<Earliest<T>>,
    pool: Pool<T>,
    pushed: u64,
    len: usize,
}

impl<T: Copy + Default> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Default> Wheel<T> {
    /// An empty wheel at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cursor: 0,
            ready: Vec::new(),
            soon: BinaryHeap::new(),
            near: Level::new(),
            late: Level::new(),
            far: BinaryHeap::new(),
            pool: Pool { segments: Vec::new(), free: END },
            pushed: 0,
            len: 0,
        }
    }

    /// How many things are still to happen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes the wheel holds, those of freed chunks included. It does not shrink.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entries = self.ready.capacity() + self.soon.capacity() + self.far.capacity();
        self.pool.segments.len() * SEGMENT * size_of::<Chunk<T>>()
            + entries * size_of::<Entry<T>>()
            + 2 * SLOTS * size_of::<u32>()
    }

    /// Lets `item` happen at `at`, after everything pushed before for the same moment. What is due already happens
    /// next, by its time.
    pub fn push(&mut self, at: Time, item: T) {
        self.len += 1;
        self.pushed += 1;
        self.place(Entry { at: at.0, order: self.pushed, item });
    }

    /// The next thing, if it happens at `limit` or before.
    pub fn pop_until(&mut self, limit: Time) -> Option<(Time, T)> {
        if self.ready.is_empty() && self.soon.is_empty() {
            self.turn(limit.0 >> TICK_BITS);
        }
        let due = self.ready.last().map(Entry::rank);
        let entry = match self.soon.peek_mut() {
            Some(soon) if due.is_none_or(|due| soon.0.rank() < due) => {
                (soon.0.at <= limit.0).then(|| PeekMut::pop(soon).0)
            }
            _ => self.ready.pop_if(|ready| ready.at <= limit.0),
        }?;
        self.len -= 1;
        Some((Time(entry.at), entry.item))
    }

    /// The next thing.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.pop_until(Time::MAX)
    }

    fn place(&mut self, entry: Entry<T>) {
        let tick = entry.tick();
        if tick <= self.cursor {
            self.soon.push(Earliest(entry));
        } else if tick >> SLOT_BITS == self.cursor >> SLOT_BITS {
            self.near.push(tick & SLOT_MASK, entry, &mut self.pool);
        } else if tick >> (2 * SLOT_BITS) == self.cursor >> (2 * SLOT_BITS) {
            self.late.push(tick >> SLOT_BITS & SLOT_MASK, entry, &mut self.pool);
        } else {
            self.far.push(Earliest(entry));
        }
    }

    /// Turns to the next tick with something in it, but not past `limit`: what is pushed until then must still find
    /// its slot.
    fn turn(&mut self, limit: u64) {
        while self.ready.is_empty() && self.soon.is_empty() {
            let (turn, age) = (self.cursor >> SLOT_BITS, self.cursor >> (2 * SLOT_BITS));
            if let Some(slot) = self.near.next((self.cursor & SLOT_MASK) + 1) {
                let tick = turn << SLOT_BITS | slot;
                if tick > limit {
                    return;
                }
                self.cursor = tick;
                let Self { near, pool, ready, .. } = self;
                near.drain(slot, pool, |entry| ready.push(entry));
                ready.sort_unstable_by_key(|entry| Reverse(entry.rank()));
            } else if let Some(slot) = self.late.next((turn & SLOT_MASK) + 1) {
                let tick = (age << SLOT_BITS | slot) << SLOT_BITS;
                if tick > limit {
                    return;
                }
                self.cursor = tick;
                let mut chunk = self.late.take(slot);
                while let Some((entries, len, next)) = self.pool.read(chunk) {
                    self.pool.release(chunk);
                    entries[..len].iter().for_each(|&entry| self.place(entry));
                    chunk = next;
                }
            } else if let Some(first) = self.far.peek() {
                let age = first.0.tick() >> (2 * SLOT_BITS);
                if age << (2 * SLOT_BITS) > limit {
                    return;
                }
                self.cursor = age << (2 * SLOT_BITS);
                while self.far.peek().is_some_and(|next| next.0.tick() >> (2 * SLOT_BITS) == age) {
                    if let Some(Earliest(entry)) = self.far.pop() {
                        self.place(entry);
                    }
                }
            } else {
                return;
            }
        }
    }
}

/// One level: a list of chunks for each slot, and a bit for each that is not empty.
#[derive(Debug)]
struct Level {
    heads: Vec<u32>,
    taken: [u64; SLOTS / 64],
}

impl Level {
    fn new() -> Self {
        Self { heads: vec![END; SLOTS], taken: [0; SLOTS / 64] }
    }

    fn push<T: Copy + Default>(&mut self, slot: u64, entry: Entry<T>, pool: &mut Pool<T>) {
        let head = &mut self.heads[slot as usize];
        if *head == END || pool.chunk(*head).len == CHUNK {
            *head = pool.claim(*head);
            self.taken[slot as usize / 64] |= 1 << (slot % 64);
        }
        let chunk = pool.chunk(*head);
        chunk.entries[chunk.len] = entry;
        chunk.len += 1;
    }

    /// The first slot at or after `from` with something in it.
    fn next(&self, from: u64) -> Option<u64> {
        let mut word = from as usize / 64;
        let mut bits = self.taken.get(word)? & u64::MAX << (from % 64);
        while bits == 0 {
            word += 1;
            bits = *self.taken.get(word)?;
        }
        Some(word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }

    fn take(&mut self, slot: u64) -> u32 {
        self.taken[slot as usize / 64] &= !(1 << (slot % 64));
        core::mem::replace(&mut self.heads[slot as usize], END)
    }

    fn drain<T: Copy + Default>(&mut self, slot: u64, pool: &mut Pool<T>, mut to: impl FnMut(Entry<T>)) {
        let mut at = self.take(slot);
        while at != END {
            let chunk = pool.chunk(at);
            chunk.entries[..chunk.len].iter().for_each(|&entry| to(entry));
            let next = chunk.next;
            pool.release(at);
            at = next;
        }
    }
}

#[derive(Clone, Debug)]
struct Chunk<T> {
    entries: [Entry<T>; CHUNK],
    len: usize,
    next: u32,
}

/// All chunks, and the list of the free ones.
#[derive(Debug)]
struct Pool<T> {
    segments: Vec<Box<[Chunk<T>]>>,
    free: u32,
}

impl<T: Copy + Default> Pool<T> {
    fn chunk(&mut self, at: u32) -> &mut Chunk<T> {
        &mut self.segments[at as usize / SEGMENT][at as usize % SEGMENT]
    }

    /// What a chunk holds; `None` at the end of a list.
    fn read(&mut self, at: u32) -> Option<([Entry<T>; CHUNK], usize, u32)> {
        (at != END).then(|| {
            let chunk = self.chunk(at);
            (chunk.entries, chunk.len, chunk.next)
        })
    }

    /// An empty chunk in front of `next`.
    fn claim(&mut self, next: u32) -> u32 {
        if self.free == END {
            self.grow();
        }
        let at = self.free;
        let chunk = self.chunk(at);
        let free = chunk.next;
        (chunk.len, chunk.next) = (0, next);
        self.free = free;
        at
    }

    fn release(&mut self, at: u32) {
        let free = self.free;
        self.chunk(at).next = free;
        self.free = at;
    }

    fn grow(&mut self) {
        let base = u32::try_from(self.segments.len() * SEGMENT).expect("fewer than 2^32 chunks");
        let empty = Chunk { entries: [Entry::default(); CHUNK], len: 0, next: END };
        let mut segment = vec![empty; SEGMENT].into_boxed_slice();
        for (at, chunk) in segment.iter_mut().enumerate().take(SEGMENT - 1) {
            chunk.next = base + at as u32 + 1;
        }
        self.free = base;
        self.segments.push(segment);
    }
}

#[cfg(test)]
mod tests;
