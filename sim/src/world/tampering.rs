//! Bad peers: what they make of the frames they hear and say.

use polymorph_core::engine::io::ConnId;
use polymorph_core::wire::Frame;
use polymorph_core::{Guid, Topology};

use super::{Peer, World};
use crate::attack::{Attacker, Fate, Scene};
use crate::mix::mix;

/// Keeps what attackers draw apart from other draws.
const ATTACKERS: u64 = 0x6174_7461_636b;

impl<T: Topology> World<T> {
    /// Turns a peer into an attacker, or into another one. Its engine goes on; what it hears and says passes through
    /// the attacker's hands.
    pub fn corrupt(&mut self, peer: Peer, attacker: impl Attacker<T> + 'static) {
        self.attackers.insert(peer.0, Box::new(attacker));
    }

    /// Lets a peer be honest again.
    pub fn reform(&mut self, peer: Peer) {
        self.attackers.remove(&peer.0);
    }

    /// Who attacks.
    #[must_use]
    pub fn is_corrupt(&self, peer: Peer) -> bool {
        self.attackers.contains_key(&peer.0)
    }

    /// A frame leaves an engine: what goes on the wire.
    pub(super) fn say(&mut self, from: u32, to: Guid, conn: ConnId, frame: Frame<T>) {
        let Some(mut attacker) = self.attackers.remove(&from) else { return self.put(from, to, conn, frame, false) };
        let mut scene = Scene { tag: frame.tag, ..self.scene(from, to) };
        match attacker.says(frame, &mut scene) {
            Fate::Pass(frame) => self.put(from, to, conn, frame, false),
            Fate::Spoil(frame) => self.put(from, to, conn, frame, true),
            Fate::Drop => {}
        }
        self.attackers.insert(from, attacker);
        scene.more.into_iter().for_each(|frame| self.put(from, to, conn, frame, false));
    }

    /// A frame reaches a peer: what its engine hears.
    pub(super) fn hear(&mut self, me: u32, from: Guid, conn: ConnId, frame: Frame<T>) -> Option<Frame<T>> {
        let Some(mut attacker) = self.attackers.remove(&me) else { return Some(frame) };
        let mut scene = self.scene(me, from);
        let engine = self.nodes[me as usize].engine.as_ref();
        let mine = engine.and_then(|engine| engine.wire(engine.carried(&from, frame.tag)?, &from));
        scene.tag = mine.map_or(0, |(_, tag)| tag);
        let fate = attacker.hears(frame, &mut scene);
        self.attackers.insert(me, attacker);
        // Without a tag of its own it could say nothing in the overlay.
        let more = if scene.tag == 0 { Vec::new() } else { scene.more };
        more.into_iter().for_each(|frame| self.put(me, from, conn, frame, false));
        if let Fate::Pass(frame) = fate { Some(frame) } else { None }
    }

    fn scene(&mut self, me: u32, other: Guid) -> Scene<T> {
        let draw = mix(self.draw(), ATTACKERS);
        Scene { me: self.nodes[me as usize].guid, other, now: self.now, tag: 0, more: Vec::new(), draw }
    }
}
