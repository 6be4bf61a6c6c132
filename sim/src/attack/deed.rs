//! What attackers do: one small [`Attacker`] for each kind.

use std::sync::Arc;

use bytes::Bytes;
use polymorph_core::topology::question::Verdict;
use polymorph_core::wire::Urgency;
use polymorph_core::wire::frame::{Answer, Return, What};
use polymorph_core::wire::{Body, Frame};
use polymorph_core::{Guid, Topology};

use super::{Attacker, Fate, Scene};

/// How many peers a lie names.
const NAMED: usize = 8;
/// How often a flooder says everything again, and how many notices go with it.
const REPEATS: usize = 8;
/// How many bytes of rubbish each of them has.
const RUBBISH: usize = 1024;

/// A few of those who attack together.
fn some(gang: &[Guid], most: usize, pick: &mut impl FnMut(usize) -> usize) -> Vec<Guid> {
    let begin = pick(gang.len());
    gang.iter().cycle().skip(begin).take(most.min(gang.len())).copied().collect()
}

fn said<T: Topology>(tag: u32, body: Body<T>) -> Frame<T> {
    Frame { tag, contacts: Vec::new(), body, payload: Bytes::new() }
}

/// What answers the question in a frame, if it is one that is answered along its way.
fn answer<T: Topology>(frame: &Frame<T>, tag: u32, owners: Option<Vec<Guid>>) -> Option<Frame<T>> {
    let body = match &frame.body {
        Body::Find { id, .. } => {
            let verdict = if owners.is_some() { Verdict::Deliver { rank: 0 } } else { Verdict::Unreachable };
            Body::Next { id: *id, verdict, peers: owners.unwrap_or_default(), state: Bytes::new() }
        }
        Body::Routed(routed) if routed.back == Return::Path => {
            let answer = match (&routed.what, owners) {
                (What::Lookup { .. }, Some(peers)) => Answer::Found { peers },
                _ => Answer::Unreachable,
            };
            Body::Answer { id: routed.id, hops: routed.hops, answer }
        }
        _ => return None,
    };
    Some(said(tag, body))
}

/// Takes everything, passes nothing on, says nothing of it.
#[derive(Debug)]
pub(super) struct Dropper;

impl<T: Topology> Attacker<T> for Dropper {
    fn hears(&mut self, frame: Frame<T>, _: &mut Scene<T>) -> Fate<T> {
        match frame.body {
            Body::Routed(_) | Body::Find { .. } => Fate::Drop,
            _ => Fate::Pass(frame),
        }
    }

    fn says(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        match &frame.body {
            Body::Copy(copied) if copied.origin != scene.me => Fate::Drop,
            _ => Fate::Pass(frame),
        }
    }
}

/// Takes part for its own sake: what it should do for others it says it cannot.
#[derive(Debug)]
pub(super) struct FreeRider;

impl<T: Topology> Attacker<T> for FreeRider {
    fn hears(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        match &frame.body {
            Body::Routed(_) | Body::Find { .. } => {
                scene.more.extend(answer(&frame, scene.tag, None));
                Fate::Drop
            }
            _ => Fate::Pass(frame),
        }
    }

    fn says(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        Attacker::<T>::says(&mut Dropper, frame, scene)
    }
}

/// Says of every key that it belongs to itself and its like.
#[derive(Debug)]
pub(super) struct Misrouter {
    pub(super) gang: Arc<[Guid]>,
}

impl<T: Topology> Attacker<T> for Misrouter {
    fn hears(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        match &frame.body {
            Body::Routed(_) | Body::Find { .. } => {
                let mut owners = vec![scene.me];
                owners.extend(some(&self.gang, NAMED, &mut |bound| scene.pick(bound)));
                scene.more.extend(answer(&frame, scene.tag, Some(owners)));
                Fate::Drop
            }
            _ => Fate::Pass(frame),
        }
    }
}

/// Whomever it names to others, in whatever message, it names its like instead.
#[derive(Debug)]
pub(super) struct Poisoner {
    pub(super) gang: Arc<[Guid]>,
}

impl Poisoner {
    /// The same message with other peers in it. Guids are looked for as the engine finds them, by serde.
    fn forge<T: Topology>(&self, message: &mut T::Message, scene: &mut Scene<T>) {
        let mut named = Vec::new();
        T::mentions(message, &mut named);
        let Ok(mut bytes) = postcard::to_stdvec(message) else { return };
        let me = scene.me;
        let honest = named.iter().filter(|guid| **guid != me && !self.gang.contains(guid));
        for guid in honest {
            let Some(at) = bytes.windows(guid.0.len()).position(|window| window == guid.0) else { continue };
            let other = self.gang[scene.pick(self.gang.len())];
            bytes[at..at + other.0.len()].copy_from_slice(&other.0);
        }
        if let Ok(forged) = postcard::from_bytes(&bytes) {
            *message = forged;
        }
    }
}

impl<T: Topology> Attacker<T> for Poisoner {
    fn says(&mut self, mut frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        match &mut frame.body {
            Body::Send(message) | Body::Call { message, .. } | Body::Reply { message, .. } => {
                self.forge(message, scene);
            }
            Body::Routed(routed) => {
                if let What::Message(message) = &mut routed.what {
                    self.forge(message, scene);
                }
            }
            Body::Answer { answer: Answer::Found { peers }, .. } | Body::Next { peers, .. } if !peers.is_empty() => {
                *peers = some(&self.gang, peers.len(), &mut |bound| scene.pick(bound));
            }
            _ => {}
        }
        Fate::Pass(frame)
    }
}

/// Many identities in one hand: to others they name each other, and for every key each other as owners.
#[derive(Debug)]
pub(super) struct Sybil {
    pub(super) misrouter: Misrouter,
    pub(super) poisoner: Poisoner,
}

impl Sybil {
    pub(super) fn of(gang: &Arc<[Guid]>) -> Self {
        Self { misrouter: Misrouter { gang: gang.clone() }, poisoner: Poisoner { gang: gang.clone() } }
    }
}

impl<T: Topology> Attacker<T> for Sybil {
    fn hears(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        self.misrouter.hears(frame, scene)
    }

    fn says(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        match Attacker::<T>::says(&mut Dropper, frame, scene) {
            Fate::Pass(frame) => self.poisoner.says(frame, scene),
            other => other,
        }
    }
}

/// Says everything again and again, and rubbish with it.
#[derive(Debug)]
pub(super) struct Flooder;

impl<T: Topology> Attacker<T> for Flooder {
    fn says(&mut self, frame: Frame<T>, scene: &mut Scene<T>) -> Fate<T> {
        // What belongs to the session and to a topology's talk; a copy said twice is only a duplicate.
        if scene.tag != 0
            && matches!(frame.body, Body::Send(_) | Body::Call { .. } | Body::Routed(_) | Body::Find { .. })
        {
            for _ in 0..REPEATS {
                let again = Frame { payload: frame.payload.clone(), ..said(scene.tag, frame.body.clone()) };
                let rubbish = vec![scene.pick(256) as u8; RUBBISH];
                let notice = said(scene.tag, Body::Notice { service: 0, urgency: Urgency::Usual });
                scene.more.extend([again, Frame { payload: rubbish.into(), ..notice }]);
            }
        }
        Fate::Pass(frame)
    }
}
