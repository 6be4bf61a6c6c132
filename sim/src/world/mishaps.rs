//! What goes wrong in a world, on purpose.

use core::time::Duration;

use polymorph_core::Topology;
use polymorph_core::engine::io::Input;
use polymorph_core::topology::event::Reachability;
use polymorph_core::wire::Frame;

use super::{Peer, World};
use crate::faults::Swallow;
use crate::mix::below;
use crate::trace::What;

impl<T: Topology> World<T> {
    /// A peer's host vanishes, silently: those at the other ends of its wires notice when they send, or when
    /// [`silence`](crate::Options::silence) is over.
    pub fn crash(&mut self, peer: Peer) {
        self.trace.note(self.now, peer.0, What::Crashed, peer.0, 0, 0);
        self.vanish(peer.0, self.options.silence.filter(|_| !self.held));
    }

    /// Crashes a share (0 to 1) of all who are there at once, drawn evenly, and says who; at least one survives.
    pub fn fail(&mut self, share: f64) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.peers().collect();
        let most = peers.len().saturating_sub(1);
        let victims = ((peers.len() as f64 * share).round() as usize).min(most);
        for at in 0..victims {
            let other = at + below(self.draw(), (peers.len() - at) as u64) as usize;
            peers.swap(at, other);
        }
        peers.truncate(victims);
        peers.sort_unstable();
        peers.iter().for_each(|&peer| self.crash(peer));
        peers
    }

    /// Holds repair: periodic timers stand still (see [`Topology::periodic`]), and nobody notices by silence that a
    /// peer is gone. So a death is learned only by one's own failed send or call.
    pub fn hold(&mut self) {
        self.held = true;
        let now = self.now;
        self.nodes.iter_mut().filter_map(|node| node.engine.as_mut()).for_each(|engine| engine.hold(now));
    }

    /// Lets repair go on: timers run from where they stood, and who crashed meanwhile is missed
    /// [`silence`](crate::Options::silence) from now. Nothing happens if it was not held.
    pub fn release(&mut self) {
        if !core::mem::take(&mut self.held) {
            return;
        }
        for peer in self.peers().collect::<Vec<_>>() {
            if let Some(engine) = self.nodes[peer.index()].engine.as_mut() {
                engine.release(self.now);
            }
            self.settle(peer.0);
            if let Some(silence) = self.options.silence {
                self.listen(peer.0, silence);
            }
        }
    }

    /// A peer leaves all its overlays in good order and stops; its wires are closed once everything is written.
    pub fn leave(&mut self, peer: Peer) {
        let Some(engine) = self.nodes[peer.index()].engine.as_mut() else { return };
        self.trace.note(self.now, peer.0, What::Left, peer.0, 0, 0);
        engine.shutdown(self.now, &mut self.ws);
        self.settle(peer.0);
        self.vanish(peer.0, Some(Duration::ZERO));
    }

    /// Breaks the wires between two peers; both ends notice at once.
    pub fn sever(&mut self, a: Peer, b: Peer) {
        let between = self.nodes[a.index()].wires.iter().copied();
        let cut = between.filter(|&id| self.wires.get(id).is_some_and(|wire| wire.ends.contains(&b.0)));
        for id in cut.collect::<Vec<_>>() {
            self.snap(id);
        }
    }

    /// Sets these peers apart from all who are not named: nothing passes between the two sides until
    /// [`heal`](Self::heal). Wires across break like those to a crashed peer. Several calls make several sides.
    pub fn partition(&mut self, side: &[Peer]) {
        self.draws += 1;
        side.iter().for_each(|peer| self.faults.put(peer.0, self.draws as u32));
        if let Some(silence) = self.options.silence {
            side.iter().for_each(|peer| self.part(peer.0, silence));
        }
    }

    /// Cuts one direction: nothing passes from these peers to those until [`heal`](Self::heal), and nothing can be
    /// dialed between them. What is sent comes back as from a crashed peer; the other direction goes on until the side
    /// that hears nothing has noticed. Two calls cut both directions between two groups, and leave all others alone.
    pub fn cut(&mut self, from: &[Peer], to: &[Peer]) {
        self.faults.cut(from.iter().map(|peer| peer.0), to.iter().map(|peer| peer.0));
        if let Some(silence) = self.options.silence {
            from.iter().for_each(|peer| self.part(peer.0, silence));
        }
    }

    /// Clogs one direction of a link: nothing arrives for a while, and then all of it, in order.
    pub fn clog(&mut self, from: Peer, to: Peer, span: Duration) {
        self.faults.clog(from.0, to.0, self.now + span);
    }

    /// Makes a peer slow: all links to it take so many times as long from now on, those that are there too.
    pub fn slow(&mut self, peer: Peer, factor: u32) {
        self.faults.slow(peer.0, factor);
        for id in self.nodes[peer.index()].wires.clone() {
            let Some([a, b]) = self.wires.get(id).map(|wire| wire.ends) else { continue };
            let latency = self.nanos(a, b);
            if let Some(wire) = self.wires.get_mut(id) {
                wire.latency = latency;
            }
        }
    }

    /// Ends all partitions.
    pub fn heal(&mut self) {
        self.faults.heal();
    }

    /// Puts a peer behind a NAT: it can dial, but nobody can dial it. It is told so.
    pub fn shut(&mut self, peer: Peer) {
        self.faults.shut(peer.0);
        self.trace.note(self.now, peer.0, What::Reachable, peer.0, 0, 0);
        self.feed(peer.0, Input::Reachable(Reachability::Private));
    }

    /// Lets frames vanish that arrive at a peer and of which `swallow` says so, without anybody noticing.
    pub fn swallow(&mut self, peer: Peer, swallow: impl FnMut(&Frame<T>) -> bool + Send + 'static) {
        let swallow: Swallow<T> = Box::new(swallow);
        self.faults.set_swallow(peer.0, Some(swallow));
    }

    /// Lets a peer see all its frames again.
    pub fn unswallow(&mut self, peer: Peer) {
        self.faults.set_swallow(peer.0, None);
    }
}
