//! How a node comes in (Hildrum et al. 2002, §4): it finds its root, copies the root's rows, lets the root tell all who
//! need to know, and then looks for near peers, row by row from the last (§3).

use polymorph_core::Guid;
use polymorph_core::topology::Topology as _;
use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::{Change, Ticket};
use polymorph_core::topology::question::Target;

use super::super::links::Holds;
use super::mesh::Micros;
use super::{Message, Proximity, Purpose, Set, Stage, Tapestry, Timer};

/// A newcomer that not all who need to know of know yet.
#[derive(Debug)]
pub(super) struct Coming {
    /// Where its position was owned before it came.
    pub(super) root: Guid,
    /// Who said that it knows.
    reached: Vec<Guid>,
}

/// A newcomer's search for near peers: of those who share `row` digits the nearest few are kept, and asked whom they
/// know who shares a digit less.
#[derive(Debug)]
pub(super) struct Search {
    row: u8,
    list: Vec<Guid>,
    measured: Vec<(Micros, Guid)>,
}

impl Tapestry {
    /// The first node is in at once. A node that is already in only takes up the work.
    pub(super) fn join(&mut self, seeds: Vec<Guid>, cx: &mut Context<'_, Self>) {
        self.seeds = seeds.into_iter().filter(|seed| *seed != cx.me()).take(MAX_SEEDS).collect();
        if self.stage == Stage::Out && !self.seeds.is_empty() {
            self.stage = Stage::Joining;
            return self.try_seed(cx);
        }
        Holds::of(&self.neighbors()).want(cx);
        self.enter(cx);
    }

    /// Looks for a way in, or back in, ever more slowly: through the seeds, then through whoever was lost last. A
    /// newcomer whom not everybody knows after a while begins anew.
    pub(super) fn try_seed(&mut self, cx: &mut Context<'_, Self>) {
        let needed = self.stage == Stage::Joining || self.coming.is_some() || self.mesh.len() == 0;
        let ways = self.seeds.len() + self.lost.len();
        if self.stage == Stage::Out || !needed || ways == 0 {
            return;
        }
        let way = self.tries as usize % ways;
        self.tries += 1;
        self.calls.forget(|purpose| matches!(purpose, Purpose::Root | Purpose::First(_)));
        if let Some(&seed) = self.seeds.iter().chain(self.lost.iter().rev()).nth(way) {
            let ticket = cx.lookup_via(seed, Target::Key(self.place.mine()), 2);
            self.calls.expect(ticket, Purpose::Root);
        }
        let wait = cx.jitter(RETRY * 2u32.pow(self.tries.min(MAX_DOUBLINGS)), 0.3);
        cx.set(Timer::Join, wait);
    }

    /// The root of this node's position is known, or nobody answered. A newcomer that some know already may be named
    /// itself: then its root is whoever comes next.
    pub(super) fn found(&mut self, ticket: Ticket, peers: &[Guid], cx: &mut Context<'_, Self>) {
        if self.calls.take(ticket, cx).is_none() {
            return;
        }
        let me = cx.me();
        match peers.iter().copied().find(|peer| *peer != me) {
            Some(root) => {
                self.coming = Some(Coming { root, reached: Vec::new() });
                self.call(root, Message::Ask(Set::Row(0)), Purpose::First(0), cx);
            }
            _ if !(self.tries as usize).is_multiple_of(self.seeds.len() + self.lost.len()) => self.try_seed(cx),
            _ => {}
        }
    }

    /// A row of the root's: as far as the two share digits it is this node's row too.
    pub(super) fn first_row(&mut self, root: Guid, row: u8, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let (me, shared) = (cx.me(), self.digits().shared(self.mine, self.peer(root).at));
        let named = peers.iter().take(super::MAX_NAMED).chain([&root]).filter(|peer| **peer != me);
        let named: Vec<_> = named.map(|peer| self.peer(*peer)).collect();
        self.edit(cx, |node| {
            for peer in &named {
                node.mesh.offer(*peer, None);
            }
        });
        if row < shared && row + 1 < self.digits().count() {
            self.call(root, Message::Ask(Set::Row(row + 1)), Purpose::First(row + 1), cx);
            return;
        }
        if self.stage == Stage::Joining {
            self.enter(cx);
        }
        let _ = cx.send(root, Message::Insert(self.mesh.holes()));
        // The first of each slot learn that they are in it; whoever is not there is put out again.
        let firsts: Vec<Guid> = self.mesh.slots_from(0).map(|(_, slot)| slot[0].peer.guid).collect();
        for peer in firsts {
            self.call(peer, Message::Met, Purpose::Measure { peer, again: false }, cx);
        }
    }

    /// Who was this newcomer's root is so no longer: somebody nearer came in between.
    pub(super) fn not_root(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        if self.coming.as_ref().is_some_and(|coming| coming.root == from) {
            let wait = cx.jitter(AGAIN, 0.5);
            cx.set(Timer::Join, wait);
        }
    }

    /// This node is in: it can route. It is nobody's root before others know of it.
    fn enter(&mut self, cx: &mut Context<'_, Self>) {
        self.stage = Stage::In;
        cx.change(Change::Range);
        // Nodes that came at the same moment do not work at the same moment.
        let (beacon, republish) = (cx.jitter(self.config.beacon / 2, 1.0), cx.jitter(self.config.republish, 0.5));
        cx.set(Timer::Beacon, beacon);
        cx.set(Timer::Republish, republish);
    }

    /// Somebody has this newcomer in its table.
    pub(super) fn reached(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        self.back(from);
        if let Some(coming) = &mut self.coming
            && coming.reached.len() < super::MAX_NAMED
        {
            coming.reached.push(from);
        }
        self.met(from, cx);
    }

    /// All who need to know of this newcomer do.
    pub(super) fn inserted(&mut self, from: Guid, cx: &mut Context<'_, Self>) {
        let Some(coming) = self.coming.take_if(|coming| coming.root == from) else { return };
        self.tries = 0;
        cx.cancel(Timer::Join);
        cx.change(Change::Range);
        if self.config.proximity == Proximity::Measured {
            let row = self.digits().shared(self.mine, self.peer(from).at);
            self.search = Some(Search { row, list: Vec::new(), measured: Vec::new() });
            let mut list = coming.reached;
            list.push(from);
            self.search_named(&list, cx);
        }
    }

    /// Peers who share so many digits were named: all of them are measured.
    pub(super) fn search_named(&mut self, peers: &[Guid], cx: &mut Context<'_, Self>) {
        let me = cx.me();
        let Some(search) = &mut self.search else { return };
        for &peer in peers.iter().take(NAMED) {
            let known = search.list.contains(&peer) || search.measured.iter().any(|(_, other)| *other == peer);
            if peer != me && !known && search.list.len() + search.measured.len() < MAX_LIST {
                search.list.push(peer);
            }
        }
        let list = search.list.clone();
        for peer in list {
            let rtt = self.rtt(&peer, cx);
            if rtt.is_some() || !self.is_asked(&peer) && !self.measure(peer, false, cx) {
                self.search_measured(peer, rtt, cx);
            }
        }
        self.search_on(cx);
    }

    fn is_asked(&self, peer: &Guid) -> bool {
        self.calls.any(|purpose| matches!(purpose, Purpose::Measure { peer: other, .. } if other == peer))
    }

    /// Somebody on the list was measured, or does not answer.
    pub(super) fn search_measured(&mut self, peer: Guid, rtt: Option<Micros>, cx: &mut Context<'_, Self>) {
        let Some(search) = &mut self.search else { return };
        let Some(index) = search.list.iter().position(|other| *other == peer) else { return };
        search.list.swap_remove(index);
        if let Some(rtt) = rtt {
            search.measured.push((rtt, peer));
        }
        self.search_on(cx);
    }

    /// The next row, once everybody is measured and all who were asked have named whom they know.
    pub(super) fn search_on(&mut self, cx: &mut Context<'_, Self>) {
        let waits = self.calls.any(|purpose| matches!(purpose, Purpose::Nearer(..)));
        let Some(search) = self.search.as_mut().filter(|search| search.list.is_empty() && !waits) else { return };
        search.measured.sort_unstable();
        search.measured.truncate(KEPT);
        let Some(row) = search.row.checked_sub(1) else {
            self.search = None;
            return;
        };
        search.row = row;
        let nearest: Vec<Guid> = search.measured.iter().map(|(_, peer)| *peer).collect();
        for peer in nearest {
            for set in [Set::Row(row), Set::Backs(row)] {
                self.call(peer, Message::Ask(set), Purpose::Nearer(peer, set), cx);
            }
        }
        if !self.calls.any(|purpose| matches!(purpose, Purpose::Nearer(..))) {
            self.search = None;
        }
    }
}

/// How many of a row are kept: k. It must be O(log N) (§3); the paper's experiments take 4 to 20.
const KEPT: usize = 8;
/// How many of a row are measured at most; each costs a dial.
const MAX_LIST: usize = 128;
/// How many of those one peer names are measured: the nearest of each slot of a row.
pub(super) const NAMED: usize = 16;
/// How many seeds are remembered: more would not make a failed join likelier to succeed.
pub(super) const MAX_SEEDS: usize = 16;
/// How long the first wait for a way in is: a multicast takes so long when somebody does not answer.
pub(super) const RETRY: core::time::Duration = core::time::Duration::from_secs(10);
/// How long a newcomer waits when somebody nearer comes at the same moment: that one's multicast goes first.
pub(super) const AGAIN: core::time::Duration = core::time::Duration::from_secs(1);
/// How often the wait doubles: up to about five minutes.
const MAX_DOUBLINGS: u32 = 5;
