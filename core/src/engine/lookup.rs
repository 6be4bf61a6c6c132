//! Who owns a target? Iterative with α in parallel and d disjoint paths (Kademlia §2.3; S/Kademlia §4.4),
//! recursive, and semi-recursive. The overlay's settings choose.

mod known;

use core::time::Duration;

use bytes::Bytes;

use super::book::Book;
use super::calls::Waits;
use super::desk::Desk;
use super::io::{Failure, Outcome, To};
use super::settings::Lookup as Mode;
use super::state::OverlayTimer;
use super::timers::Handle;
use crate::topology::Topology;
use crate::topology::event::{Event, Ticket};
use crate::topology::question::{Lane, Query, Target, Verdict};
use crate::wire::frame::{Answer, Body, Return, What};
use crate::{Distance, Guid, Key};

/// How long one try of a recursive lookup may take before another first hop is tried: ten wide-area hops there and
/// back, and one hop that had to be dialed in vain.
const TRY: Duration = Duration::from_secs(5);
/// How long a lookup may take in all. Peers that a liar made up cost a dial each, one after the other.
const WITHIN: Duration = Duration::from_secs(60);
/// How many candidates an iterative lookup remembers: eight paths hear of sixty-four each, which is all that one answer
/// names.
const MAX_CANDIDATES: usize = 512;
/// How many disjoint paths there can be; S/Kademlia finds no use in more than eight.
const MAX_PATHS: usize = 8;
/// How many questions an iterative lookup may ask in all: each of eight paths settles twenty, and on the way may be lied
/// to by half as many again.
const MAX_QUESTIONS: u32 = 256;

/// Who wants to know.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// A part of the topology.
    Topology { ticket: Ticket, lane: Lane },
    /// The application.
    Application { ticket: Ticket },
    /// The application, which then sends a request there.
    Request { ticket: Ticket, service: u32, payload: Bytes, timeout: Duration },
    /// A record to be stored or fetched.
    Record { operation: u32 },
    /// Records whose owner is somebody else now.
    Stray { key: Key },
}

/// What a lookup found.
struct Found {
    owner: Guid,
    peers: Vec<Guid>,
    hops: u32,
    timeouts: u32,
}

/// Where an iterative lookup stands with a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Fresh,
    Asked,
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    peer: Guid,
    distance: Distance,
    progress: Progress,
    /// After how many rounds of questions its name came up.
    depth: u32,
    path: usize,
    state: Bytes,
    /// It closed an idle session while the question was on its way.
    hung_up: bool,
}

/// One lookup under way.
#[derive(Debug)]
pub(super) struct Lookup<T: Topology> {
    asker: Asker,
    lane: Lane,
    to: Target<T>,
    n: usize,
    /// Iterative: everybody who came up. In the replier's order where breadth is 1.
    candidates: Vec<Candidate>,
    /// Iterative with breadth 1: who said "it is mine", with the rest of the replica set.
    claims: Vec<(Vec<Guid>, u32)>,
    /// Paths that have ended.
    ended: Vec<bool>,
    breadth: usize,
    /// Iterative: how many of the nearest each path settles.
    settle: usize,
    questions: u32,
    timeouts: u32,
    /// Recursive: first hops tried, tries left and answers awaited.
    tried: Vec<Guid>,
    retries: u32,
    awaited: u32,
    via: Option<Guid>,
    /// Ends it at last.
    timer: Handle,
}

impl<T: Topology> Lookup<T> {
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Whether a peer that hung up on a question is to be asked again: once, since hanging up is no sign of death.
    pub(super) fn asks_again(&mut self, peer: &Guid) -> bool {
        let asked = |c: &&mut Candidate| c.peer == *peer && c.progress == Progress::Asked && !c.hung_up;
        let Some(candidate) = self.candidates.iter_mut().find(asked) else { return false };
        (candidate.progress, candidate.hung_up) = (Progress::Fresh, true);
        true
    }

    /// Those nearest to the target who need not be named again: twice as many as are to be settled, since an answer
    /// knows others who are gone by now. Where the order is the replier's, what it says is wanted as it is.
    fn nearest_heard_of(&self, book: &dyn Book) -> Vec<Guid> {
        let most = if self.breadth > 1 { 2 * self.breadth.max(self.n) } else { 0 };
        // Whoever was named without a contact may be named with one.
        let reachable = self.candidates.iter().filter(|c| c.progress != Progress::Fresh || book.has(&c.peer));
        reachable.take(most).map(|c| c.peer).collect()
    }

    /// How many questions are on the way.
    pub(super) fn asked(&self) -> usize {
        self.awaited as usize + self.candidates.iter().filter(|c| c.progress == Progress::Asked).count()
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.candidates.capacity() * size_of::<Candidate>() + self.tried.capacity() * 32
    }
}

impl<T: Topology> Desk<'_, T> {
    /// Begins a lookup. `via` is asked first, by a node that has not joined or wants that peer's word; whom this node
    /// knows itself comes after, except where the nearest are asked first anyway.
    pub(super) fn begin_lookup(
        &mut self,
        topology: &mut T,
        asker: Asker,
        lane: Lane,
        to: Target<T>,
        n: usize,
        via: Option<Guid>,
    ) {
        let paths = self.state.settings.disjoint.clamp(1, MAX_PATHS);
        let refused = if !self.state.powers.routes {
            Some(Failure::NotSupported)
        } else if self.state.lookups.len() >= self.state.settings.pending {
            Some(Failure::TooMany)
        } else {
            None
        };
        if let Some(why) = refused {
            return self.tell_found(asker, Err(why));
        }
        if self.state.powers.hears && !self.state.is_client() {
            self.tell(lane, Event::Sought { to: to.clone() });
        }
        let id = self.unguessable_id();
        let timer = self.state.timers.push(self.now + WITHIN, OverlayTimer::Lookup(id));
        let lookup = Lookup {
            asker,
            lane,
            to,
            n: n.clamp(1, 255),
            candidates: Vec::new(),
            claims: Vec::new(),
            ended: vec![false; paths],
            breadth: topology.breadth(),
            settle: match self.state.settings.settle {
                0 => topology.breadth(),
                settle => settle,
            },
            questions: 0,
            timeouts: 0,
            tried: Vec::new(),
            retries: self.state.settings.retries,
            awaited: 0,
            via,
            timer,
        };
        self.state.lookups.insert(id, Box::new(lookup));
        match self.state.settings.lookup {
            Mode::Iterative => self.begin_iterative(topology, id),
            Mode::Recursive | Mode::Semi => {
                for _ in 0..paths {
                    self.try_recursive(topology, id);
                }
            }
        }
    }

    /// Goes on: an answer came, or `None` when none will, or when somebody is to be asked again.
    pub(super) fn step_lookup(&mut self, topology: &mut T, id: u32, answer: Option<Body<T>>, from: Option<Guid>) {
        if !self.state.lookups.contains_key(&id) {
            return;
        }
        match answer {
            Some(Body::Next { verdict, peers, state, .. }) => self.next(topology, id, from, (verdict, peers, state)),
            Some(Body::Answer { hops, answer: Answer::Found { peers }, .. }) => self.found(id, peers, hops),
            Some(_) => self.try_again(topology, id),
            None if from.is_none() && self.state.settings.lookup == Mode::Iterative => self.go_on(id),
            None if self.state.settings.lookup == Mode::Iterative => self.silent(id, from),
            None => {
                if let Some(lookup) = self.state.lookups.get_mut(&id) {
                    lookup.timeouts += 1;
                }
                self.try_again(topology, id);
            }
        }
    }

    fn take_lookup(&mut self, id: u32) -> Option<Lookup<T>> {
        self.state.lookups.remove(&id).map(|lookup| *lookup)
    }

    // Recursive and semi-recursive.

    fn try_recursive(&mut self, topology: &mut T, id: u32) {
        let Some(lookup) = self.state.lookups.get(&id) else { return };
        let (to, lane, n, via) = (lookup.to.clone(), lookup.lane, lookup.n, lookup.via);
        let tried = lookup.tried.clone();
        let mut first = via.filter(|via| !tried.contains(via)).map(|via| (via, Bytes::new()));
        if first.is_none() && self.state.is_client() {
            first = self.gateways().into_iter().find(|g| !tried.contains(g)).map(|g| (g, Bytes::new()));
        } else if first.is_none() {
            let draw = self.state.draw();
            let query = Query { to: &to, n: n.max(8), without: &tried, state: &[], from: None, draw, lane };
            let route = self.ask_route(topology, &query);
            if matches!(route.verdict, Verdict::Deliver { .. }) && tried.is_empty() {
                let mut peers = vec![self.node.me];
                peers.extend(route.peers.iter().take(n - 1));
                self.keep_route(route);
                return self.found(id, peers, 0);
            }
            first = route.peers.first().map(|&peer| (peer, route.state.clone()));
            self.keep_route(route);
        }
        let Some((peer, state)) = first else { return self.no_more_tries(id) };
        let back = if self.state.settings.lookup == Mode::Semi { Return::Direct } else { Return::Path };
        let question = self.unguessable_id();
        let expected = (back == Return::Path).then_some(peer);
        if let Some(lookup) = self.state.lookups.get_mut(&id) {
            lookup.tried.push(peer);
            lookup.awaited += 1;
        }
        if !self.wait(question, Waits::Way { lookup: id }, expected, TRY) {
            return;
        }
        let mut routed = self.new_routed(question, back, lane, to, What::Lookup { n: n as u8 });
        routed.hops = 1;
        routed.state = state;
        if self.send(peer, Body::Routed(routed), Bytes::new()).is_err() {
            self.unanswered(question, Failure::TooMany);
        }
    }

    fn try_again(&mut self, topology: &mut T, id: u32) {
        let Some(lookup) = self.state.lookups.get_mut(&id) else { return };
        lookup.awaited = lookup.awaited.saturating_sub(1);
        if lookup.retries == 0 {
            return self.no_more_tries(id);
        }
        lookup.retries -= 1;
        self.try_recursive(topology, id);
    }

    fn no_more_tries(&mut self, id: u32) {
        if self.state.lookups.get(&id).is_some_and(|l| l.awaited == 0)
            && let Some(lookup) = self.take_lookup(id)
        {
            let why = if lookup.timeouts > 0 { Failure::Timeout } else { Failure::Unreachable };
            self.end_lookup(lookup, None, Vec::new(), 0, why);
        }
    }

    fn found(&mut self, id: u32, peers: Vec<Guid>, hops: u8) {
        if let Some(lookup) = self.take_lookup(id) {
            let owner = peers.first().copied();
            self.end_lookup(lookup, owner, peers, hops.into(), Failure::Unreachable);
        }
    }

    // Iterative.

    fn begin_iterative(&mut self, topology: &mut T, id: u32) {
        let Some(lookup) = self.state.lookups.get(&id) else { return };
        let (to, lane, via) = (lookup.to.clone(), lookup.lane, lookup.via);
        let n = lookup.breadth.max(lookup.n).max(self.state.settings.alpha).max(lookup.ended.len());
        let me = self.node.me;
        let wide = topology.breadth() > 1;
        if let Some(via) = via.filter(|_| wide) {
            // The nearest are asked first, so nobody could stand behind it: the way begins there alone.
            self.add_candidates(topology, id, None, vec![via], &Bytes::new());
        } else if self.state.is_client() {
            let mut gateways = self.gateways();
            gateways.retain(|gateway| Some(*gateway) != via);
            self.add_candidates(topology, id, None, gateways, &Bytes::new());
        } else {
            let draw = self.state.draw();
            let query = Query { to: &to, n, without: &[], state: &[], from: None, draw, lane };
            let route = self.ask_route(topology, &query);
            let (mut peers, state, verdict) = (route.peers.clone(), route.state.clone(), route.verdict);
            self.keep_route(route);
            peers.retain(|peer| Some(*peer) != via);
            if matches!(verdict, Verdict::Deliver { .. }) && !wide && via.is_none() {
                let mut all = vec![me];
                all.extend(peers);
                return self.found(id, all, 0);
            }
            self.add_candidates(topology, id, None, peers, &state);
            if verdict != Verdict::Unreachable && wide {
                self.add_candidates(topology, id, None, vec![me], &Bytes::new());
                let mine = |c: &&mut Candidate| c.peer == me;
                if let Some(c) = self.state.lookups.get_mut(&id).and_then(|l| l.candidates.iter_mut().find(mine)) {
                    c.progress = Progress::Answered;
                }
            }
        }
        if let Some(via) = via.filter(|_| !wide) {
            // Before those this node would ask by itself, as on a recursive way.
            self.add_candidates(topology, id, None, vec![via], &Bytes::new());
        }
        self.go_on(id);
    }

    /// Puts newly named peers on the path of whoever named them; each peer is on one path only.
    fn add_candidates(&mut self, topology: &T, id: u32, from: Option<Guid>, peers: Vec<Guid>, state: &Bytes) {
        let me = self.node.me;
        let Some(lookup) = self.state.lookups.get_mut(&id) else { return };
        let teller = from.and_then(|from| lookup.candidates.iter().find(|c| c.peer == from));
        let (depth, path) = teller.map_or((0, None), |c| (c.depth + 1, Some(c.path)));
        let paths = lookup.ended.len();
        let mut fresh: Vec<Candidate> = Vec::new();
        for (at, peer) in peers.into_iter().enumerate() {
            // A liar may name one peer many times in one answer, too.
            let known = lookup.candidates.iter().chain(&fresh).any(|c| c.peer == peer);
            if known || lookup.candidates.len() + fresh.len() >= MAX_CANDIDATES || peer == me && from.is_some() {
                continue;
            }
            let distance = if lookup.breadth > 1 { topology.distance(&lookup.to, peer) } else { Distance::ZERO };
            let path = path.unwrap_or(at % paths);
            fresh.push(Candidate {
                peer,
                distance,
                progress: Progress::Fresh,
                depth,
                path,
                state: state.clone(),
                hung_up: false,
            });
        }
        if lookup.breadth > 1 {
            lookup.candidates.extend(fresh);
            lookup.candidates.sort_by_key(|c| c.distance);
        } else {
            // The replier knows the order best: what it names is asked before what is left from earlier.
            lookup.candidates.splice(0..0, fresh);
        }
    }

    fn next(&mut self, topology: &mut T, id: u32, from: Option<Guid>, next: (Verdict, Vec<Guid>, Bytes)) {
        let (verdict, peers, state) = next;
        let Some(from) = from else { return };
        let Some(lookup) = self.state.lookups.get_mut(&id) else { return };
        let Some(candidate) = lookup.candidates.iter_mut().find(|c| c.peer == from) else { return };
        candidate.progress = Progress::Answered;
        let (depth, path) = (candidate.depth, candidate.path);
        match verdict {
            Verdict::Deliver { .. } if lookup.breadth == 1 => {
                let mut all = vec![from];
                all.extend(peers);
                lookup.claims.push((all, depth + 1));
                lookup.ended[path] = true;
            }
            Verdict::Unreachable => candidate.progress = Progress::Failed,
            _ => self.add_candidates(topology, id, Some(from), peers, &state),
        }
        self.go_on(id);
    }

    fn silent(&mut self, id: u32, from: Option<Guid>) {
        let Some(lookup) = self.state.lookups.get_mut(&id) else { return };
        lookup.timeouts += 1;
        if let Some(candidate) = lookup.candidates.iter_mut().find(|c| Some(c.peer) == from) {
            candidate.progress = Progress::Failed;
        }
        self.go_on(id);
    }

    /// Asks whom there is to ask; ends when every path has ended.
    fn go_on(&mut self, id: u32) {
        let alpha = self.state.settings.alpha.max(1);
        let Some(lookup) = self.state.lookups.get_mut(&id) else { return };
        let breadth = lookup.breadth;
        // A single path in the replier's order has one question under way; a wide one alpha.
        let parallel = if breadth > 1 { alpha } else { 1 };
        let mut ask = Vec::new();
        for path in 0..lookup.ended.len() {
            if lookup.ended[path] {
                continue;
            }
            let mut asked = 0;
            let mut fresh = Vec::new();
            let live = lookup.candidates.iter().filter(|c| c.path == path && c.progress != Progress::Failed);
            let nearest = if breadth > 1 { lookup.settle.max(lookup.n) } else { usize::MAX };
            for candidate in live.take(nearest) {
                match candidate.progress {
                    Progress::Asked => asked += 1,
                    Progress::Fresh if fresh.len() < parallel => fresh.push(candidate.peer),
                    _ => {}
                }
            }
            let room = if lookup.questions >= MAX_QUESTIONS { 0 } else { parallel - parallel.min(asked) };
            fresh.truncate(room);
            lookup.ended[path] = fresh.is_empty() && asked == 0;
            lookup.questions += fresh.len() as u32;
            ask.extend(fresh);
        }
        let done = lookup.ended.iter().all(|&ended| ended);
        let heard = if ask.is_empty() { Vec::new() } else { lookup.nearest_heard_of(&*self.ws.book) };
        let (lane, to, n) = (lookup.lane, lookup.to.clone(), breadth.max(lookup.n).min(255) as u8);
        for peer in ask {
            let Some(lookup) = self.state.lookups.get_mut(&id) else { return };
            let Some(candidate) = lookup.candidates.iter_mut().find(|c| c.peer == peer) else { continue };
            candidate.progress = Progress::Asked;
            let (state, to) = (candidate.state.clone(), Box::new(to.clone()));
            self.ask(peer, Waits::Find { lookup: id }, None, Bytes::new(), |id| {
                let known = known::marks(id, &heard);
                Body::Find { id, lane, n, to, state, known }
            });
        }
        if done && let Some(lookup) = self.take_lookup(id) {
            self.end_iterative(lookup);
        }
    }

    fn end_iterative(&mut self, lookup: Lookup<T>) {
        if lookup.breadth > 1 {
            let answered = lookup.candidates.iter().filter(|c| c.progress == Progress::Answered);
            let nearest: Vec<&Candidate> = answered.take(lookup.n).collect();
            let depth = nearest.first().map_or(0, |c| c.depth);
            let peers: Vec<Guid> = nearest.iter().map(|c| c.peer).collect();
            let owner = peers.first().copied();
            return self.end_lookup(lookup, owner, peers, depth, Failure::Unreachable);
        }
        // Several paths may name several owners: what most of them say holds, the first where they tie.
        let votes = |owner: &Guid| lookup.claims.iter().filter(|(peers, _)| peers.first() == Some(owner)).count();
        let mut best: Option<&(Vec<Guid>, u32)> = None;
        for claim in &lookup.claims {
            if best.is_none_or(|b| votes(&claim.0[0]) > votes(&b.0[0])) {
                best = Some(claim);
            }
        }
        let (peers, depth) = best.cloned().unwrap_or_default();
        let owner = peers.first().copied();
        let why = if lookup.timeouts > 0 { Failure::Timeout } else { Failure::Unreachable };
        self.end_lookup(lookup, owner, peers, depth, why);
    }

    /// A peer asks what this node would do.
    pub(super) fn find(
        &mut self,
        topology: &mut T,
        peer: Guid,
        id: u32,
        (lane, n): (Lane, u8),
        to: &Target<T>,
        (state, known): (&Bytes, &Bytes),
    ) {
        if self.state.is_client() {
            let body = Body::Next { id, verdict: Verdict::Unreachable, peers: Vec::new(), state: Bytes::new() };
            return self.send_or_drop(peer, body, Bytes::new());
        }
        let n = usize::from(n).clamp(1, 64);
        let draw = self.state.draw();
        let query = Query { to, n, without: &[], state, from: Some(peer), draw, lane };
        let mut route = self.ask_route(topology, &query);
        known::leave_out(id, known, &mut route.peers);
        let body = Body::Next { id, verdict: route.verdict, peers: route.peers.clone(), state: route.state.clone() };
        self.keep_route(route);
        self.send_or_drop(peer, body, Bytes::new());
    }

    /// Ends a lookup whatever it waits for.
    pub(super) fn abandon_lookup(&mut self, id: u32, why: Failure) {
        if let Some(lookup) = self.take_lookup(id) {
            self.end_lookup(lookup, None, Vec::new(), 0, why);
        }
    }

    /// A lookup took too long: what is known so far is its end.
    pub(super) fn lookup_overdue(&mut self, id: u32) {
        let Some(lookup) = self.take_lookup(id) else { return };
        if self.state.settings.lookup == Mode::Iterative {
            self.end_iterative(lookup);
        } else {
            self.end_lookup(lookup, None, Vec::new(), 0, Failure::Timeout);
        }
    }

    fn end_lookup(&mut self, lookup: Lookup<T>, owner: Option<Guid>, peers: Vec<Guid>, hops: u32, why: Failure) {
        let Lookup { asker, n, timeouts, timer, .. } = lookup;
        self.state.timers.remove(timer);
        let mut known = Vec::with_capacity(n.min(peers.len()));
        for peer in peers {
            if known.len() < n && !known.contains(&peer) {
                known.push(peer);
            }
        }
        let found = owner.map(|owner| Found { owner, peers: known, hops, timeouts }).ok_or(why);
        self.tell_found(asker, found);
    }

    fn tell_found(&mut self, asker: Asker, found: Result<Found, Failure>) {
        match (asker, found) {
            (Asker::Topology { ticket, lane }, found) => {
                let (owner, peers) = found.map_or((None, Vec::new()), |f| (Some(f.owner), f.peers));
                self.tell(lane, Event::Found { ticket, owner, peers });
            }
            (Asker::Record { operation }, found) => {
                self.record_found(operation, &found.map(|f| f.peers).unwrap_or_default());
            }
            (Asker::Stray { key }, found) => self.stray_found(key, found.ok().map(|f| f.owner)),
            (Asker::Application { ticket } | Asker::Request { ticket, .. }, Err(why)) => {
                self.done(ticket, Outcome::Failed(why));
            }
            (Asker::Application { ticket }, Ok(Found { owner, peers, hops, timeouts })) => {
                self.done(ticket, Outcome::Found { owner: Some(owner), peers, hops, timeouts });
            }
            (Asker::Request { ticket, service, payload, timeout }, Ok(Found { owner, .. })) => {
                let slot = self.slot();
                let command = super::io::Command::Request { ticket, to: To::Peer(owner), service, payload, timeout };
                self.ws.todo.push_back(super::turn::Todo::Command { slot, command });
            }
        }
    }
}
