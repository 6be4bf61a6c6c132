//! Records follow their keys: peers come, leave and crash, and what was confirmed stays.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{Command, Outcome};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::record::{GetOptions, PutOptions, Quorum};
use polymorph_core::topology::event::Change;
use polymorph_core::topology::question::{Target, Verdict};
use polymorph_core::wire::frame::Body;
use polymorph_core::{Guid, Key};

use crate::net::Net;
use crate::records::{HOUR, three};
use crate::restart;
use crate::spec::{Spec, spec};

/// Nodes that know at once who is in and who is not.
struct Ring {
    net: Net,
    members: Arc<Mutex<BTreeSet<Guid>>>,
    dead: Arc<Mutex<BTreeSet<usize>>>,
}

impl Ring {
    /// `n` nodes, of which the first `members` are in.
    fn new(seed: u64, n: usize, members: usize, settings: &settings::Overlay) -> Self {
        let mut net = Net::new(seed, n);
        let members: BTreeSet<Guid> = net.guids().into_iter().take(members).collect();
        let members = Arc::new(Mutex::new(members));
        let dead: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
        let gone = dead.clone();
        net.passes = Box::new(move |from, to, _| {
            let gone = gone.lock().expect("nobody panicked");
            !gone.contains(&from) && !gone.contains(&to)
        });
        let mut ring = Self { net, members, dead };
        (0..n).for_each(|at| ring.attach(at, settings));
        ring
    }

    fn attach(&mut self, at: usize, settings: &settings::Overlay) {
        let strings = self.net.attach(at, Spec { settings: settings.clone(), ..spec("ring") });
        let (me, members) = (self.net.guid(at), self.members.clone());
        strings.pull().route = Box::new(move |query, route| {
            let Target::Key(key) = query.to else { return };
            let members = members.lock().expect("nobody panicked");
            let mut all: Vec<Guid> = members.iter().copied().filter(|peer| query.allows(peer)).collect();
            all.sort_by_key(|peer| Key::from(*peer).xor(key));
            let mine = all.first() == Some(&me);
            route.verdict = match members.contains(&me) {
                false => Verdict::Unreachable,
                true if mine => Verdict::Deliver { rank: 0 },
                true => Verdict::Forward,
            };
            route.peers.extend(all.into_iter().filter(|peer| *peer != me).take(query.n));
        });
    }

    /// A crashed node is started again with what it wrote.
    fn restart(&mut self, at: usize, settings: &settings::Overlay, written: &[u8]) {
        restart::kill(&mut self.net, at);
        self.attach(at, settings);
        self.dead.lock().expect("nobody panicked").remove(&at);
        restart::resume(&mut self.net, at, written);
        self.net.introduce();
        self.join(at);
    }

    fn is_in(&self, at: usize) -> bool {
        self.members.lock().expect("nobody panicked").contains(&self.net.guid(at))
    }

    fn all_in(&self) -> Vec<usize> {
        (0..self.net.nodes.len()).filter(|&at| self.is_in(at)).collect()
    }

    /// Whoever is in learns that the ring is another one.
    fn changed(&mut self, change: Change) {
        for at in self.all_in() {
            self.net.act(at, move |cx| cx.change(change));
        }
    }

    fn join(&mut self, at: usize) {
        let guid = self.net.guid(at);
        self.members.lock().expect("nobody panicked").insert(guid);
        self.changed(Change::NeighborUp(guid));
    }

    fn crash(&mut self, at: usize) {
        let guid = self.net.guid(at);
        self.members.lock().expect("nobody panicked").remove(&guid);
        self.dead.lock().expect("nobody panicked").insert(at);
        self.changed(Change::NeighborDown(guid));
    }

    fn leave(&mut self, at: usize) {
        self.net.detach(at, Slot(0));
        self.net.run_secs(1);
        self.crash(at);
    }

    /// Who is responsible for a key, the owner first.
    fn replicas(&self, key: &Key) -> Vec<usize> {
        let mut all = self.all_in();
        all.sort_by_key(|&at| Key::from(self.net.guid(at)).xor(key));
        all.truncate(3);
        all
    }

    fn put(&mut self, at: usize, key: Key, value: &[u8]) -> Outcome {
        let (ticket, value) = (self.net.ticket(), Bytes::copy_from_slice(value));
        let options = PutOptions { lifetime: Duration::from_secs(48 * HOUR), ..PutOptions::default() };
        self.net.command(at, Slot(0), Command::Put { ticket, key, value, options });
        // Nobody stores it anew: what stays is what was handed over.
        self.net.command(at, Slot(0), Command::Withdraw { key });
        self.net.run_secs(1);
        self.net.outcome(at, ticket)
    }

    fn get(&mut self, at: usize, key: Key, quorum: Quorum) -> Option<Bytes> {
        let ticket = self.net.ticket();
        self.net.command(
            at,
            Slot(0),
            Command::Get { ticket, key, options: GetOptions { quorum, ..GetOptions::default() } },
        );
        self.net.run_secs(30);
        match self.net.outcome(at, ticket) {
            Outcome::Records { records, .. } => records.first().map(|record| record.value.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn kept(&self, at: usize) -> u64 {
        self.net.nodes[at].engine.metrics(Slot(0)).map_or(0, |metrics| metrics.records)
    }

    fn frames(&self) -> u64 {
        let frames = |&at: &usize| self.net.nodes[at].engine.metrics(Slot(0)).map_or(0, |metrics| metrics.frames_out);
        self.all_in().iter().map(frames).sum()
    }
}

fn key(number: u8) -> Key {
    Key::of(&[number])
}

/// How many puts of how many keys.
fn fill(ring: &mut Ring, keys: u8) {
    for number in 0..keys {
        assert_eq!(ring.put(0, key(number), &[number]), Outcome::Stored { replicas: 3 });
    }
}

#[test]
fn whoever_comes_to_own_a_key_is_given_its_records_and_who_is_one_too_many_drops_them() {
    let mut ring = Ring::new(1, 6, 5, &three());
    fill(&mut ring, 20);
    ring.net.run_secs(60);
    ring.join(5);
    ring.net.run_secs(120);
    for number in 0..20 {
        assert_eq!(ring.get(5, key(number), Quorum::All), Some(Bytes::copy_from_slice(&[number])));
    }
    assert!(ring.kept(5) > 0, "it is a replica of some");
    // Those it pushed out look for the owner when they have not heard from it for long.
    ring.net.run_secs(2 * HOUR);
    let in_all: u64 = ring.all_in().into_iter().map(|at| ring.kept(at)).sum();
    assert_eq!(in_all, 20 * 3);
}

#[test]
fn replicas_that_crash_one_after_the_other_lose_nothing() {
    let mut ring = Ring::new(2, 12, 12, &three());
    fill(&mut ring, 20);
    for at in 1..10 {
        ring.crash(at);
        ring.net.run_secs(90);
    }
    for number in 0..20 {
        assert_eq!(ring.get(0, key(number), Quorum::All), Some(Bytes::copy_from_slice(&[number])));
    }
}

#[test]
fn who_leaves_in_good_order_gives_away_what_it_alone_has() {
    let settings = settings::Overlay { replicas: 1, ..settings::Overlay::default() };
    let mut ring = Ring::new(3, 6, 6, &settings);
    for number in 0..20 {
        assert_eq!(ring.put(0, key(number), &[number]), Outcome::Stored { replicas: 1 });
    }
    for at in 1..5 {
        // Everybody but the last knows the others well enough to hand over to them.
        ring.net.run_secs(60);
        let links: Vec<Guid> = ring.all_in().into_iter().map(|at| ring.net.guid(at)).collect();
        ring.net.act(at, move |cx| {
            links.into_iter().for_each(|peer| cx.want(peer, polymorph_core::topology::question::Hold::Required));
        });
        ring.net.run_secs(5);
        ring.leave(at);
    }
    for number in 0..20 {
        assert_eq!(ring.get(0, key(number), Quorum::All), Some(Bytes::copy_from_slice(&[number])));
    }
}

#[test]
fn a_hand_over_with_both_ends_killed_midway_loses_nothing() {
    let mut ring = Ring::new(4, 9, 8, &three());
    fill(&mut ring, 40);
    ring.net.run_secs(60);
    // The newcomer gets a few records, and then both it and whoever gave them are gone.
    let gone = ring.dead.clone();
    let handed = Arc::new(Mutex::new((0, None)));
    let seen = handed.clone();
    ring.net.passes = Box::new(move |from, to, frame| {
        let mut gone = gone.lock().expect("nobody panicked");
        if matches!(frame.body, Body::Store { .. }) && to == 8 && !gone.contains(&8) {
            let mut seen = seen.lock().expect("nobody panicked");
            seen.0 += 1;
            if seen.0 == 5 {
                seen.1 = Some(from);
                gone.extend([from, to]);
            }
        }
        !gone.contains(&from) && !gone.contains(&to)
    });
    ring.join(8);
    ring.net.run_secs(20);
    let (count, giver) = *handed.lock().expect("nobody panicked");
    let giver = giver.expect("somebody was handing over");
    assert!(count >= 5);
    ring.crash(8);
    ring.crash(giver);
    ring.net.run_secs(120);
    let asker = ring.all_in()[0];
    for number in 0..40 {
        assert_eq!(ring.get(asker, key(number), Quorum::All), Some(Bytes::copy_from_slice(&[number])));
    }
}

/// How often a node writes what it knows, in seconds, as the program does.
const WRITE_EVERY: u64 = 10;

#[test]
fn of_the_only_copies_handed_over_between_two_that_are_killed_at_any_moment_none_is_lost() {
    let one = settings::Overlay { replicas: 1, ..settings::Overlay::default() };
    for seed in 20..32 {
        let mut ring = Ring::new(seed, 6, 5, &one);
        for number in 0..40 {
            assert_eq!(ring.put(0, key(number), &[number]), Outcome::Stored { replicas: 1 });
        }
        ring.net.run_secs(60);
        let mut written: Vec<Vec<u8>> = (0..6).map(|at| restart::snapshot(&mut ring.net, at)).collect();
        // Early, in the middle of it, or when those who gave their records away have forgotten them.
        let moment = [20, 60, 4000][(seed % 3) as usize];
        let (moment, phase) = (1 + ring.net.pick(moment), ring.net.pick(WRITE_EVERY));
        ring.join(5);
        for second in 0..moment {
            ring.net.run_millis(900 + ring.net.seed * 5);
            for (at, written) in written.iter_mut().enumerate() {
                // Not all at the same moment.
                if (second + phase + at as u64 * 3).is_multiple_of(WRITE_EVERY) {
                    *written = restart::snapshot(&mut ring.net, at);
                }
            }
        }
        let giver = 1 + ring.net.pick(4) as usize;
        [5, giver].into_iter().for_each(|at| ring.crash(at));
        ring.net.run_secs(1 + moment % 90);
        [5, giver].into_iter().for_each(|at| ring.restart(at, &one, &written[at]));
        for number in 0..40 {
            // Whoever has it may still be handing it over.
            let value = (0..4).find_map(|_| ring.get(0, key(number), Quorum::All));
            assert_eq!(value, Some(Bytes::copy_from_slice(&[number])), "seed {seed}, moment {moment}, giver {giver}");
        }
    }
}

#[test]
fn what_no_owner_looks_after_finds_one() {
    let mut ring = Ring::new(5, 7, 6, &three());
    fill(&mut ring, 30);
    ring.net.run_secs(60);
    // The newcomer comes unseen, and the one it displaces is gone before it notices.
    let guid = ring.net.guid(6);
    ring.members.lock().expect("nobody panicked").insert(guid);
    let lost = (0..30).map(key).find(|key| ring.replicas(key)[0] == 6).expect("it owns something");
    let displaced = ring.replicas(&lost)[1];
    let gone = ring.net.guid(displaced);
    ring.members.lock().expect("nobody panicked").remove(&gone);
    ring.dead.lock().expect("nobody panicked").insert(displaced);
    ring.net.run_secs(HOUR);
    for number in 0..30 {
        assert!(ring.get(6, key(number), Quorum::All).is_some());
    }
    let owned = (0..30).filter(|&number| ring.replicas(&key(number)).contains(&6)).count() as u64;
    assert!(ring.kept(6) >= owned, "{} of {owned}", ring.kept(6));
}

#[test]
fn at_rest_an_owner_says_a_word_to_each_replica_now_and_then_and_that_is_all() {
    let mut ring = Ring::new(6, 5, 5, &three());
    fill(&mut ring, 100);
    ring.net.run_secs(HOUR);
    let before = ring.frames();
    ring.net.run_secs(HOUR);
    let frames = ring.frames() - before;
    // Five owners, four others each, six to eight periods, a question and an answer; and the sessions for it.
    assert!(frames <= 5 * 4 * 8 * 4, "{frames} frames in an hour for a hundred records at three replicas");
    assert!(frames >= 5 * 4 * 6);
    let handed: u64 = (0..5).map(|at| ring.net.nodes[at].engine.metrics(Slot(0)).expect("in").handed_over).sum();
    assert_eq!(handed, 0, "all had everything");
}

#[test]
fn replicas_that_differ_end_with_the_same() {
    let mut ring = Ring::new(7, 6, 6, &three());
    let gone = ring.dead.clone();
    let all = ring.replicas(&KEY);
    let behind = all[0];
    let blocked = Arc::new(Mutex::new(true));
    let blocks = blocked.clone();
    ring.net.passes = Box::new(move |from, to, frame| {
        let gone = gone.lock().expect("nobody panicked");
        let stores = matches!(frame.body, Body::Store { .. } | Body::Holds { .. });
        let blocks = *blocks.lock().expect("nobody panicked");
        !(gone.contains(&from) || blocks && stores && to == behind)
    });
    let at = (0..6).find(|at| !all.contains(at)).expect("somebody");
    let ticket = ring.net.ticket();
    let options = PutOptions { lifetime: Duration::from_secs(48 * HOUR), ..PutOptions::default() };
    ring.net.command(at, Slot(0), Command::Put { ticket, key: KEY, value: Bytes::from_static(b"x"), options });
    ring.net.command(at, Slot(0), Command::Withdraw { key: KEY });
    ring.net.run_secs(30);
    assert_eq!(ring.net.outcome(at, ticket), Outcome::Stored { replicas: 2 });
    assert_eq!(ring.kept(behind), 0);
    *blocked.lock().expect("nobody panicked") = false;
    // Nobody reads it: the owner that lacks it is found by those that have it.
    ring.net.run_secs(HOUR);
    assert_eq!(ring.kept(behind), 1);
}

const KEY: Key = Key([7; 32]);

#[test]
fn come_leave_and_crash_as_they_may_what_was_confirmed_stays() {
    for seed in 10..16 {
        let mut ring = Ring::new(seed, 24, 10, &three());
        fill(&mut ring, 15);
        for next in 10..24 {
            let inside = ring.all_in();
            let victim = inside[1 + ring.net.pick(inside.len() as u64 - 1) as usize];
            match ring.net.pick(3) {
                0 => ring.crash(victim),
                1 => ring.leave(victim),
                _ => {}
            }
            ring.join(next);
            let pause = 40 + ring.net.pick(60);
            ring.net.run_secs(pause);
        }
        ring.net.run_secs(60);
        for number in 0..15 {
            let value = ring.get(0, key(number), Quorum::All);
            assert_eq!(value, Some(Bytes::copy_from_slice(&[number])), "seed {seed}");
        }
    }
}
