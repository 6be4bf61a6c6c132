//! What happens in a run of each law: scripts drawn from a seed.

use polymorph_core::topology::model::Claims;

use super::law::Law;
use super::script::{Deed, Room, Script};
use crate::mix::{below, mix};

/// How many keys are asked for, and how many peers ask for each.
const KEYS: usize = 6;
/// How often one peer publishes before redundancy is looked at: trees of broadcasts form meanwhile (Plumtree, §4.2).
pub(super) const WARM_UP: usize = 10;
/// How often it publishes after that, and how often others do.
const COUNTED: usize = 5;
/// Among how many peers state is watched: more would take longer and show no more.
const CROWD: u32 = 12;
/// How many of them stay from the beginning to the end: what grows shows at them.
const STAY: usize = 2;
/// How many rounds of coming and going state is watched for.
const ROUNDS: usize = 40;
/// How many events that never happened befall peers.
const STRIKES: usize = 150;
/// Two partitions, in seconds: one that most wires survive and dials do not, and one that nothing survives, since 30 s
/// without a sign of life are the end of a wire.
const SHORT_PARTITION: u64 = 8;
pub(super) const LONG_PARTITION: u64 = 90;

/// Numbers drawn from a seed.
struct Draw(u64, u64);

impl Draw {
    fn pick(&mut self, bound: usize) -> usize {
        below(self.number(), bound as u64) as usize
    }

    fn number(&mut self) -> u64 {
        self.1 += 1;
        mix(self.0, self.1)
    }

    /// Some of these, each once.
    fn some(&mut self, mut from: Vec<u32>, count: usize) -> Vec<u32> {
        while from.len() > count {
            let at = self.pick(from.len());
            from.remove(at);
        }
        from
    }
}

/// A script, and who is in it so far.
struct Plot {
    draw: Draw,
    script: Script,
    present: Vec<u32>,
    next: u32,
}

/// The script of a law.
pub(super) fn of(law: Law, seed: u64, claims: &Claims, peers: u32) -> Script {
    let draw = Draw(mix(seed, law as u64), 0);
    let mut plot = Plot { draw, script: Script::default(), present: Vec::new(), next: 0 };
    let routes = claims.agreement || claims.hops.is_some();
    match law {
        Law::Isolation => plot.two_overlays(peers, routes, claims.coverage),
        Law::BoundedState => plot.come_and_go(peers.min(CROWD), routes, claims.coverage),
        Law::Hostility => plot.strike(peers.min(CROWD), routes, claims.coverage),
        _ => {
            plot.enter(peers, 1_000);
            match law {
                Law::Determinism => {
                    plot.disturb(claims.merges);
                    plot.probe(routes, claims.coverage);
                }
                Law::Agreement | Law::Progress => plot.find(KEYS),
                Law::Coverage => plot.publish(),
                Law::Healing => {
                    plot.disturb(claims.merges);
                    plot.probe(routes, claims.coverage);
                }
                Law::CleanLeave => {
                    plot.leave(routes, claims.coverage);
                    plot.probe(routes, claims.coverage);
                }
                _ => {}
            }
        }
    }
    plot.script
}

impl Plot {
    fn then(&mut self, after: u64, deed: Deed) {
        self.script.then(after, deed);
    }

    fn anybody(&mut self) -> u32 {
        let at = self.draw.pick(self.present.len());
        self.present.get(at).copied().unwrap_or_default()
    }

    /// One more, through anybody who is there.
    fn come(&mut self, after: u64, room: Room) {
        let through = (!self.present.is_empty()).then(|| self.anybody());
        let peer = self.next;
        self.next += 1;
        self.then(after, Deed::Join { peer, through, room });
        self.present.push(peer);
    }

    fn enter(&mut self, peers: u32, every: u64) {
        (0..peers).for_each(|_| self.come(every, Room::A));
    }

    /// Somebody is gone.
    fn go(&mut self) -> u32 {
        let at = self.draw.pick(self.present.len());
        self.present.remove(at)
    }

    /// Two or three peers ask for each of some keys.
    fn find(&mut self, keys: usize) {
        for _ in 0..keys {
            let key = self.draw.number() % 10_000;
            for peer in self.draw.some(self.present.clone(), KEYS) {
                self.then(50, Deed::Find { peer, key, room: Room::A });
            }
        }
    }

    fn publish_from(&mut self, peer: u32, count: usize) {
        (0..count).for_each(|_| self.then(1_000, Deed::Publish { peer, room: Room::A }));
    }

    /// From one, until its tree stands and is counted; then from others.
    fn publish(&mut self) {
        let source = self.anybody();
        self.publish_from(source, WARM_UP + COUNTED);
        for _ in 0..COUNTED {
            let other = self.anybody();
            self.publish_from(other, 1);
        }
    }

    fn probe(&mut self, routes: bool, spreads: bool) {
        if routes {
            self.find(KEYS);
        }
        if spreads {
            for _ in 0..COUNTED {
                let other = self.anybody();
                self.publish_from(other, 1);
            }
        }
    }

    /// A fifth crashes at once, wires break, a part is cut off for a while, and a crowd comes.
    fn disturb(&mut self, longest: Option<u64>) {
        let count = self.present.len();
        // Let what was there stand first.
        self.then(60_000, Deed::Heal);
        for _ in 0..count / 5 {
            let gone = self.go();
            self.then(0, Deed::Crash(gone));
        }
        for _ in 0..3 {
            let (a, b) = (self.anybody(), self.anybody());
            self.then(10_000, Deed::Sever(a, b));
        }
        for length in [SHORT_PARTITION, LONG_PARTITION].into_iter().filter(|length| Some(*length) <= longest) {
            let side = self.draw.some(self.present.clone(), self.present.len() / 3);
            self.then(20_000, Deed::Part(side));
            self.then(length * 1_000, Deed::Heal);
        }
        self.then(20_000, Deed::Heal);
        (0..count / 4).for_each(|_| self.come(0, Room::A));
    }

    /// A quarter leaves, one after the other, while the others go on.
    fn leave(&mut self, routes: bool, spreads: bool) {
        // All is in order before the first one leaves.
        let witness = self.anybody();
        if routes {
            self.then(0, Deed::Find { peer: witness, key: 0, room: Room::A });
        }
        if spreads {
            self.then(0, Deed::Publish { peer: witness, room: Room::A });
        }
        for _ in 0..self.present.len() / 4 {
            let gone = self.go();
            self.then(2_000, Deed::Leave(gone));
        }
    }

    /// Some are in one overlay, some in the other, some in both.
    fn two_overlays(&mut self, peers: u32, routes: bool, spreads: bool) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for peer in 0..peers {
            for (room, present, out) in [(Room::A, &mut a, 2), (Room::B, &mut b, 1)] {
                if peer % 3 != out {
                    let through = present.get(self.draw.pick(present.len())).copied();
                    self.script.then(500, Deed::Join { peer, through, room });
                    present.push(peer);
                }
            }
        }
        for (room, present) in [(Room::A, a), (Room::B, b)] {
            for _ in 0..KEYS {
                let (key, peer) = (self.draw.number() % 10_000, present[self.draw.pick(present.len())]);
                if routes {
                    self.then(50, Deed::Find { peer, key, room });
                }
                if spreads {
                    self.then(500, Deed::Publish { peer, room });
                }
            }
        }
    }

    fn come_and_go(&mut self, peers: u32, routes: bool, spreads: bool) {
        self.enter(peers, 1_000);
        for round in 0..ROUNDS {
            self.come(4_000, Room::A);
            let gone = self.present.remove(STAY + self.draw.pick(self.present.len() - STAY));
            self.then(4_000, if round % 2 == 0 { Deed::Crash(gone) } else { Deed::Leave(gone) });
            let (peer, key) = (self.anybody(), self.draw.number() % 10_000);
            if routes {
                self.then(0, Deed::Find { peer, key, room: Room::A });
            }
            if spreads {
                self.then(0, Deed::Publish { peer, room: Room::A });
            }
        }
    }

    fn strike(&mut self, peers: u32, routes: bool, spreads: bool) {
        self.enter(peers, 1_000);
        for peer in self.draw.some(self.present.clone(), 2) {
            self.then(5_000, Deed::Garble(peer));
        }
        for at in 0..STRIKES {
            let (peer, number) = (self.anybody(), self.draw.number() % 1_000_000);
            self.then(100, Deed::Strike { peer, number });
            let room = Room::A;
            if at % 10 == 0 && routes {
                self.then(0, Deed::Find { peer, key: number, room });
            }
            if at % 10 == 5 && spreads {
                self.then(0, Deed::Publish { peer, room });
            }
        }
    }
}
