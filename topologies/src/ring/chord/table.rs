//! Whom a node knows on the ring, measured from where it stands itself. Everything is kept as the distance one
//! walks clockwise to it, so that "between" is "smaller".

use polymorph_core::overlay::Place;
use polymorph_core::topology::question::{Hold, Neighbor, Role};
use polymorph_core::{Distance, Guid, Key};

use super::Shortcut;
use super::name::Name;

/// A virtual node, and how far clockwise of this one it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    pub(super) at: Distance,
    pub(super) name: Name,
}

impl Peer {
    pub(super) fn guid(&self) -> Guid {
        self.name.guid
    }
}

/// Which of the peers in its power of two a finger is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// The first.
    First,
    /// The nearest of several.
    Near,
}

/// Predecessor, successor list and fingers.
#[derive(Debug)]
pub(super) struct Table {
    place: Place,
    /// Which virtual node of this peer's it is.
    index: u8,
    mine: Key,
    /// How many successors are kept: the paper's r.
    capacity: usize,
    /// The lowest exponent a finger is kept for.
    lowest: u32,
    predecessor: Option<Peer>,
    /// The peers that follow, nearest first. Empty only when nobody is known.
    successors: Vec<Peer>,
    /// The fingers beyond the successor list, nearest first. A finger of exponent `e` is the first peer at or
    /// after `2^e`. Many exponents share one, so what is kept is the distinct ones: at most one peer in each
    /// `[2^e, 2^(e+1))`. Those nearer than that are in the successor list anyway.
    fingers: Vec<Peer>,
}

impl Table {
    pub(super) fn new(place: Place, index: u8, capacity: usize, fingers: u32) -> Self {
        let lowest = 256 - fingers.min(256);
        let (successors, fingers) = (Vec::new(), Vec::new());
        let mine = place.overlay.position(place.me, index.into());
        Self { place, index, mine, capacity, lowest, predecessor: None, successors, fingers }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn mine(&self) -> Key {
        self.mine
    }

    /// This virtual node.
    pub(super) fn name(&self) -> Name {
        Name { guid: self.place.me, index: self.index }
    }

    /// How far clockwise of this node a key is.
    pub(super) fn to(&self, key: &Key) -> Distance {
        self.mine.clockwise(key)
    }

    /// A virtual node where it stands. Those in the table need not be computed again.
    pub(super) fn peer(&self, name: Name) -> Peer {
        let known = self.all().find(|peer| peer.name == name);
        let position = || self.place.overlay.position(name.guid, name.index.into());
        known.unwrap_or_else(|| Peer { at: self.to(&position()), name })
    }

    fn all(&self) -> impl Iterator<Item = Peer> + '_ {
        self.successors.iter().chain(&self.fingers).copied().chain(self.predecessor)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.predecessor.is_some()) + self.successors.len() + self.fingers.len()
    }

    /// Whether somebody of that description is in it.
    pub(super) fn knows(&self, who: impl Fn(&Peer) -> bool) -> bool {
        self.all().any(|peer| who(&peer))
    }

    pub(super) fn predecessor(&self) -> Option<Peer> {
        self.predecessor
    }

    pub(super) fn successors(&self) -> &[Peer] {
        &self.successors
    }

    pub(super) fn head(&self) -> Option<Peer> {
        self.successors.first().copied()
    }

    /// Whether a peer would be a better successor than the present one.
    pub(super) fn is_closer(&self, peer: &Peer) -> bool {
        peer.at > Distance::ZERO && self.head().is_none_or(|head| peer.at < head.at)
    }

    /// Whether a peer would be a better predecessor than the present one.
    pub(super) fn is_later(&self, peer: &Peer) -> bool {
        peer.at > Distance::ZERO && self.predecessor.is_none_or(|old| peer.at > old.at)
    }

    pub(super) fn set_predecessor(&mut self, peer: Option<Peer>) {
        self.predecessor = peer;
    }

    /// The list of a node whose first successor is `head`, and whose successor's list is `rest`: as much of it
    /// as goes clockwise without passing this node.
    pub(super) fn list(&self, head: Peer, rest: &[Name]) -> Vec<Peer> {
        let mut list = Vec::with_capacity(self.capacity.min(1 + rest.len()));
        list.push(head);
        for &name in rest.iter().take(self.capacity - 1) {
            let peer = self.peer(name);
            if name == self.name() || list.last().is_some_and(|last| peer.at <= last.at) {
                break;
            }
            list.push(peer);
        }
        list
    }

    /// Who of those in the table stands among a list and is not in it, nearest first. A list that is not full ends before
    /// this node, and so whoever follows in the present one stands among it, too.
    pub(super) fn passed_over(&self, list: &[Peer]) -> Vec<Peer> {
        let (Some(first), Some(last)) = (list.first(), list.last()) else { return Vec::new() };
        let full = list.len() >= self.capacity;
        let is_among = |peer: &Peer| peer.at < last.at || !full && self.successors.contains(peer);
        let among = self.all().filter(|peer| first.at < peer.at && is_among(peer));
        let mut passed: Vec<Peer> = among.filter(|peer| !list.contains(peer)).collect();
        passed.dedup();
        passed
    }

    /// A list with some more, as many as are kept.
    pub(super) fn merged(&self, mut list: Vec<Peer>, more: Vec<Peer>) -> Vec<Peer> {
        list.extend(more);
        list.sort_unstable_by_key(|peer| peer.at);
        list.dedup();
        list.truncate(self.capacity);
        list
    }

    /// Whether that is the list there is.
    pub(super) fn is_list(&self, head: Name, rest: &[Name]) -> bool {
        let names = core::iter::once(&head).chain(rest).take(self.capacity);
        self.successors.iter().map(|peer| &peer.name).eq(names)
    }

    /// Takes over a whole list at once (Zave 2017: never entry by entry).
    pub(super) fn adopt(&mut self, list: Vec<Peer>) {
        self.successors = list;
        if let Some(last) = self.successors.last() {
            self.fingers.retain(|finger| finger.at > last.at);
        }
    }

    /// Forgets whoever answers to a description. When the whole list is gone, the nearest of all others takes its place: stabilizing walks
    /// back from there, predecessor by predecessor.
    pub(super) fn remove(&mut self, who: impl Fn(&Peer) -> bool) {
        self.successors.retain(|peer| !who(peer));
        self.fingers.retain(|peer| !who(peer));
        self.predecessor = self.predecessor.filter(|peer| !who(peer));
        if self.successors.is_empty() {
            let next = if self.fingers.is_empty() { self.predecessor } else { Some(self.fingers.remove(0)) };
            self.successors.extend(next);
        }
    }

    pub(super) fn clear(&mut self) {
        self.predecessor = None;
        self.successors.clear();
        self.fingers.clear();
    }

    /// The next finger to look up, counted from exponent `from`. None are needed while the list spans the ring.
    pub(super) fn exponent_from(&self, from: u32) -> Option<u32> {
        let last = self.successors.last().filter(|_| self.successors.len() >= self.capacity)?;
        let exponent = from.max(last.at.bits()).max(self.lowest);
        (exponent < 256).then_some(exponent)
    }

    /// Who was last found to own `2^exponent`, or would if its finger is gone.
    pub(super) fn finger_from(&self, exponent: u32) -> Option<Peer> {
        self.fingers.iter().find(|finger| finger.at.bits() > exponent).copied()
    }

    /// Who owns `2^exponent` is known; gives the next exponent that may have another owner. A finger in the owner's power
    /// of two gives way to it, unless it was chosen for being near.
    pub(super) fn set_finger(&mut self, exponent: u32, owner: Peer, choice: Choice) -> u32 {
        let bits = owner.at.bits();
        if bits <= exponent {
            // The owner stands before the finger's start, once round the ring: nobody stands between.
            self.fingers.retain(|finger| finger.at.bits() <= exponent);
            return 256;
        }
        // Nobody stands between the start and its owner either, and one in each power of two is enough.
        let stays = |f: &Peer| f.at.bits() != bits || choice == Choice::Near;
        self.fingers.retain(|f| f.at.bits() <= exponent || f.at > owner.at && stays(f));
        if self.successors.is_empty() {
            // Everybody else fell silent while this one was looked up.
            self.successors.push(owner);
        } else if self.successors.last().is_some_and(|last| owner.at > last.at) && self.finger(bits).is_none() {
            let place = self.fingers.partition_point(|finger| finger.at < owner.at);
            self.fingers.reserve_exact(1);
            self.fingers.insert(place, owner);
        }
        bits
    }

    /// Of those who were known the first in each power of two beyond a full list is a finger, where there is none.
    pub(super) fn recall(&mut self, mut known: Vec<Peer>) {
        known.sort_unstable_by_key(|peer| peer.at);
        let full = self.successors.len() >= self.capacity;
        let Some(last) = self.successors.last().filter(|_| full).map(|last| last.at) else { return };
        for peer in known.into_iter().filter(|peer| peer.at > last && peer.at.bits() > self.lowest) {
            if self.finger(peer.at.bits()).is_none() {
                let place = self.fingers.partition_point(|finger| finger.at < peer.at);
                self.fingers.insert(place, peer);
            }
        }
    }

    /// The finger in a power of two.
    pub(super) fn finger(&self, bits: u32) -> Option<Peer> {
        self.fingers.iter().find(|finger| finger.at.bits() == bits).copied()
    }

    /// Somebody of the same power of two takes a finger's place, if it stands beyond the list as fingers do.
    pub(super) fn replace_finger(&mut self, peer: Peer) {
        if self.successors.last().is_some_and(|last| peer.at <= last.at) {
            return;
        }
        if let Some(finger) = self.fingers.iter_mut().find(|finger| finger.at.bits() == peer.at.bits()) {
            *finger = peer;
        }
    }

    /// Everybody this node keeps a link to, the predecessor first: not the other virtual nodes of the same peer.
    pub(super) fn neighbors(&self) -> Vec<Neighbor> {
        let as_role = |role, hold| move |peer: &Peer| Neighbor { peer: peer.guid(), role, hold };
        let mut all = Vec::with_capacity(1 + self.successors.len() + self.fingers.len());
        all.extend(self.predecessor.iter().map(as_role(Role::Predecessor, Hold::Required)));
        all.extend(self.successors.iter().take(1).map(as_role(Role::Successor, Hold::Required)));
        all.extend(self.successors.iter().skip(1).map(as_role(Role::Successor, Hold::Cached)));
        all.extend(self.fingers.iter().map(as_role(Role::Finger, Hold::Cached)));
        all.retain(|neighbor| neighbor.peer != self.place.me);
        all
    }

    /// The first peer clockwise of this node that may be named: to the best of its knowledge its successor.
    pub(super) fn first(&self, allowed: impl Fn(&Peer) -> bool) -> Option<Peer> {
        self.all().find(allowed)
    }

    /// The successors at or after a point, in order.
    pub(super) fn successors_from(&self, point: Distance) -> impl Iterator<Item = Peer> + '_ {
        let start = self.successors.partition_point(|peer| peer.at < point);
        self.successors[start..].iter().copied()
    }

    /// Fingers before a point, the farthest first. Successors count as fingers where they are the first peer in
    /// their power of two; all of them do once a nearer finger may not be named, or with `shortcut`.
    pub(super) fn preceding<'a>(
        &'a self,
        point: Distance,
        allowed: &'a impl Fn(&Peer) -> bool,
        shortcut: Shortcut,
    ) -> impl Iterator<Item = Peer> + 'a {
        let fingers = &self.fingers[..self.fingers.partition_point(|finger| finger.at < point)];
        let successors = &self.successors[..self.successors.partition_point(|peer| peer.at < point)];
        let mut every = shortcut == Shortcut::Successors;
        let near = (0..successors.len()).rev().map(|index| (index, &successors[index]));
        let far = fingers.iter().rev().map(|finger| (usize::MAX, finger));
        far.chain(near).filter_map(move |(index, peer)| {
            let may = allowed(peer);
            every |= !may;
            let is_finger = || {
                let mut nearer = successors[..index].iter().rev().filter(|peer| allowed(peer));
                let bits = peer.at.bits();
                nearer.next().is_none_or(|nearer| nearer.at.bits() < bits && bits > self.lowest)
            };
            (may && (every || index == usize::MAX || is_finger())).then_some(*peer)
        })
    }
}

#[cfg(test)]
mod tests {
    use polymorph_core::OverlayId;
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: usize = 4;

    fn name(number: u8) -> Name {
        Name { guid: Guid([number; 32]), index: 0 }
    }

    fn table() -> Table {
        Table::new(Place { overlay: OverlayId([7; 32]), me: Guid([0; 32]) }, 0, CAPACITY, 256)
    }

    /// Peers 1 to `count`, nearest first.
    fn around(table: &Table, count: u8) -> Vec<Peer> {
        let mut peers: Vec<Peer> = (1..=count).map(|number| table.peer(name(number))).collect();
        peers.sort_by_key(|peer| peer.at);
        peers
    }

    fn names(peers: &[Peer]) -> Vec<Name> {
        peers.iter().map(|peer| peer.name).collect()
    }

    #[test]
    fn a_list_is_taken_over_only_as_far_as_it_goes_clockwise_and_not_beyond_this_node() {
        let mut table = table();
        let peers = around(&table, 10);
        let list = |rest: &[Peer]| table.list(peers[0], &names(rest));
        assert_eq!(list(&peers[1..]), peers[..CAPACITY], "no more than there is room for");
        assert_eq!(list(&[peers[2], peers[1], peers[3]]), [peers[0], peers[2]], "a step back ends it");
        assert_eq!(list(&[peers[1], peers[1], peers[2]]), peers[..2], "so does a repetition");
        assert_eq!(list(&[peers[0], peers[1]]), peers[..1]);
        table.adopt(peers[..CAPACITY].to_vec());
        let is_list = |rest: &[Peer]| table.is_list(peers[0].name, &names(rest));
        assert!(is_list(&peers[1..]) && is_list(&peers[1..CAPACITY]), "the list there is, and what is too much for it");
        assert!(!is_list(&peers[1..3]) && !is_list(&peers[2..]) && !table.is_list(peers[1].name, &names(&peers[1..])));
        let past_me = [names(&peers[1..2]), vec![name(0)], names(&peers[2..])].concat();
        assert_eq!(table.list(peers[0], &past_me), peers[..2], "and so does this node itself");
    }

    #[test]
    fn when_the_whole_list_is_gone_the_nearest_of_all_others_takes_its_place() {
        let mut table = table();
        let peers = around(&table, 6);
        table.adopt(peers[..2].to_vec());
        table.set_finger(peers[4].at.bits() - 1, peers[4], Choice::First);
        table.set_predecessor(Some(peers[5]));
        table.remove(|other| other.name == peers[0].name);
        assert_eq!(table.successors(), &peers[1..2]);
        table.remove(|other| other.name == peers[1].name);
        assert_eq!((table.successors(), table.fingers.len()), (&peers[4..5], 0));
        table.remove(|other| other.name == peers[4].name);
        assert_eq!(table.successors(), &peers[5..]);
        table.remove(|other| other.name == peers[5].name);
        assert_eq!((table.head(), table.predecessor()), (None, None));
    }

    #[test]
    fn a_finger_that_wraps_round_clears_those_it_would_have_passed() {
        let mut table = table();
        let peers = around(&table, 3);
        table.adopt(peers[..1].to_vec());
        let exponent = peers[2].at.bits() - 1;
        assert_eq!(table.set_finger(exponent, peers[2], Choice::First), exponent + 1);
        assert_eq!(names(&table.fingers), names(&peers[2..]));
        let me = Peer { at: Distance::ZERO, name: name(0) };
        assert_eq!(table.set_finger(exponent, me, Choice::First), 256);
        assert_eq!(table.fingers, []);
    }

    proptest! {
        #[test]
        fn fingers_stay_in_order_beyond_the_list_and_one_in_each_power_of_two(
            steps in prop::collection::vec((0u8..4, any::<u8>(), 0u32..256), 0..60),
        ) {
            let mut table = table();
            for (what, number, exponent) in steps {
                let peer = table.peer(name(number.max(1)));
                let choice = if number % 2 == 0 { Choice::First } else { Choice::Near };
                match what {
                    0 if table.is_closer(&peer) => table.adopt(table.list(peer, &names(&table.successors))),
                    0 | 1 => {
                        let (stands, before) = (table.finger_from(exponent) == Some(peer), names(&table.fingers));
                        let next = table.set_finger(exponent, peer, choice);
                        prop_assert!(!stands || next == peer.at.bits() && names(&table.fingers) == before);
                    }
                    2 => table.replace_finger(peer),
                    _ => table.remove(|other| other.name == peer.name),
                }
                let bits: Vec<u32> = table.fingers.iter().map(|finger| finger.at.bits()).collect();
                prop_assert!(bits.is_sorted_by(|a, b| a < b), "{bits:?}");
                prop_assert!(table.successors.is_sorted_by(|a, b| a.at < b.at));
                let beyond = table.fingers.first().zip(table.successors.last()).is_none_or(|(f, s)| f.at > s.at);
                prop_assert!(beyond && table.successors.len() <= CAPACITY);
                prop_assert_eq!(table.head().is_none(), table.all().next().is_none());
            }
        }
    }
}
