//! How buckets stay full: in each that saw no lookup for a while a random key is looked up (§2.3), and where the k
//! nearest end the whole subtree is looked through (§2.4).

use polymorph_core::Key;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::question::Target;
use rand_core::Rng as _;

use super::bucket::head;
use super::{Kademlia, Purpose, Timer};

/// All keys that begin like this one: the range of a bucket, or a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Subtree {
    start: Key,
    /// How many bits they have in common.
    pub(super) bits: u32,
}

impl Subtree {
    /// Where those stand who share `depth` bits with `mine` and no more.
    pub(super) fn bucket(mine: &Key, depth: u32) -> Self {
        let mut start = *mine;
        turn(&mut start, depth);
        Self { start, bits: depth + 1 }
    }

    /// Whether a position lies in it, by the first 64 bits, which must be more than it has in common.
    pub(super) fn contains(&self, at: u64) -> bool {
        (at ^ head(&self.start)).leading_zeros() >= self.bits
    }

    /// One of its keys; what they do not have in common is taken from `random`.
    fn key(&self, random: Key) -> Key {
        let mut key = random;
        let (byte, bit) = ((self.bits / 8) as usize, self.bits % 8);
        key.0[..byte].copy_from_slice(&self.start.0[..byte]);
        if let (Some(last), Some(first)) = (key.0.get_mut(byte), self.start.0.get(byte)) {
            let free = 0xff_u8 >> bit;
            *last = first & !free | *last & free;
        }
        key
    }

    /// Its half with a zero next.
    fn lower(mut self) -> Self {
        if self.start.bit(self.bits) {
            turn(&mut self.start, self.bits);
        }
        self.bits += 1;
        self
    }

    /// What comes after it within the bucket of this depth.
    fn next(mut self, depth: u32) -> Option<Self> {
        while self.bits > depth + 1 {
            let last = self.bits - 1;
            turn(&mut self.start, last);
            if self.start.bit(last) {
                return Some(self);
            }
            self.bits = last;
        }
        None
    }
}

/// Turns a bit over.
fn turn(key: &mut Key, bit: u32) {
    key.0[(bit / 8) as usize] ^= 0x80 >> (bit % 8);
}

impl Kademlia {
    /// Looks up a key in the next bucket that is due, the nearest first; if there is none waits until one is. Who is alone
    /// looks for its way back.
    pub(super) fn refresh(&mut self, cx: &mut Context<'_, Self>) {
        match self.table.due(cx.now()) {
            Some(depth) => self.look_through(Subtree::bucket(&self.table.place().mine(), depth), cx),
            None => {
                self.rest(cx);
                self.try_seed(cx);
            }
        }
    }

    /// Waits for the next bucket that is due, and a little longer: nodes that came together do not work together.
    pub(super) fn rest(&mut self, cx: &mut Context<'_, Self>) {
        let now = cx.now();
        let left = self.table.next_due().map_or(self.config.refresh, |due| due.since(now));
        let later = cx.jitter(self.config.refresh.mul_f64(0.15), 1.0);
        cx.set(Timer::Refresh, left + later);
    }

    fn look_through(&mut self, subtree: Subtree, cx: &mut Context<'_, Self>) {
        let mut random = Key::default();
        cx.rng().fill_bytes(&mut random.0);
        let key = subtree.key(random);
        let ticket = cx.lookup(Target::Key(key), self.config.k);
        self.sought(&key, cx);
        self.open = Some((ticket, Purpose::Refresh(subtree)));
        // Should another lookup take its place meanwhile.
        cx.set(Timer::Refresh, PATIENCE);
    }

    /// This node looks a key up, or the application does.
    pub(super) fn sought(&mut self, key: &Key, cx: &Context<'_, Self>) {
        self.table.sought(key, cx.now() + self.config.refresh);
    }

    /// A refresh ended. Whoever looks up a key in a subtree of fewer than k meets all of it. Where there are k, and they
    /// are among the nearest to this node, each half of it is looked through as if it were a bucket of its own: so this
    /// node knows everybody there, and everybody there knows this node.
    pub(super) fn looked_through(&mut self, subtree: Subtree, cx: &mut Context<'_, Self>) {
        let depth = self.table.place().mine().common_bits(&subtree.start);
        let next = if self.table.splits(&subtree, depth) { Some(subtree.lower()) } else { subtree.next(depth) };
        match next {
            Some(next) => self.look_through(next, cx),
            None => self.refresh(cx),
        }
    }
}

/// How long a lookup may take: longer than the engine lets any.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refreshed_key_lies_in_its_bucket_and_nowhere_else() {
        let mine = Key(core::array::from_fn(|at| (at * 37) as u8));
        for random in [Key([0; 32]), Key([0xff; 32]), Key([0x5a; 32])] {
            for depth in 0..256 {
                let bucket = Subtree::bucket(&mine, depth);
                let key = bucket.key(random);
                assert_eq!(key.common_bits(&mine), depth);
                assert!(depth >= 63 || bucket.contains(head(&key)) && !bucket.contains(head(&mine)));
                let rest = (depth + 1..256).all(|bit| key.bit(bit) == random.bit(bit));
                assert!(rest, "depth {depth}: what follows is not random");
            }
        }
    }

    #[test]
    fn halves_follow_each_other_until_the_bucket_is_looked_through() {
        let mine = Key([0; 32]);
        let mut next = Some(Subtree::bucket(&mine, 2));
        let mut seen = Vec::new();
        while let Some(subtree) = next {
            seen.push((subtree.start.0[0], subtree.bits));
            next = if subtree.bits < 5 { Some(subtree.lower()) } else { subtree.next(2) };
        }
        assert_eq!(seen, [(0x20, 3), (0x20, 4), (0x20, 5), (0x28, 5), (0x30, 4), (0x30, 5), (0x38, 5)]);
    }
}
