//! Bad peers: what they make of the frames they hear and say.

use polymorph_core::engine::io::ConnId;
use polymorph_core::wire::Frame;
use polymorph_core::{Guid, Topology};

use super::links::Parcel;
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

    /// A frame leaves an engine, whose queue it is charged to: what goes on the wire.
    pub(super) fn say(&mut self, from: u32, to: Guid, conn: ConnId, frame: Frame<T>, charge: u32) {
        let honest = Parcel { frame, charge, spoiled: false };
        let Some(mut attacker) = self.attackers.remove(&from) else { return self.put(from, to, conn, honest) };
        let mut scene = Scene { tag: honest.frame.tag, ..self.scene(from, to) };
        match attacker.says(honest.frame, &mut scene) {
            Fate::Pass(frame) => self.put(from, to, conn, Parcel { frame, charge, spoiled: false }),
            Fate::Spoil(frame) => self.put(from, to, conn, Parcel { frame, charge, spoiled: true }),
            Fate::Drop => self.drained.push((to, conn, charge)),
        }
        self.attackers.insert(from, attacker);
        self.slip(from, to, conn, scene.more);
    }

    /// Puts frames on a wire that no engine sent.
    fn slip(&mut self, from: u32, to: Guid, conn: ConnId, more: Vec<Frame<T>>) {
        more.into_iter().for_each(|frame| self.put(from, to, conn, Parcel { frame, charge: 0, spoiled: false }));
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
        self.slip(me, from, conn, more);
        if let Fate::Pass(frame) = fate { Some(frame) } else { None }
    }

    fn scene(&mut self, me: u32, other: Guid) -> Scene<T> {
        let draw = mix(self.draw(), ATTACKERS);
        Scene { me: self.nodes[me as usize].guid, other, now: self.now, tag: 0, more: Vec::new(), draw }
    }
}
