//! Who is let into an overlay, and what an evil peer gains by forging.

use std::time::Duration;

use bytes::Bytes;
use polymorph_core::engine::io::{AttachError, Watch};
use polymorph_core::engine::{Slot, settings};
use polymorph_core::identity::Identity;
use polymorph_core::overlay::{Claim, Grant, Membership};
use polymorph_core::topology::question::{Hold, Powers};
use polymorph_core::wire::Frame;
use polymorph_core::wire::frame::{Body, Proof, Shared};
use polymorph_core::{Admission, Contact, Guid, OverlayName, Standing, Time};

use crate::net::Net;
use crate::puppet::Seen;
use crate::spec::{Spec, authority, spec};

fn shared(net: &Net, at: usize, peer: usize) -> Vec<Slot> {
    let guid = net.guid(peer);
    let info = net.nodes[at].engine.peers().into_iter().find(|info| info.peer == guid);
    info.map(|info| info.overlays).unwrap_or_default()
}

fn secret(name: &str, secret: u8) -> Spec {
    Spec { admission: Admission::Secret([secret; 32]), ..spec(name) }
}

fn want(net: &mut Net, at: usize, peer: usize) {
    let peer = net.guid(peer);
    net.act(at, move |cx| cx.want(peer, Hold::Required));
}

#[test]
fn an_overlay_with_a_secret_is_shared_by_those_who_know_it() {
    for (other, together) in [(secret("den", 1), true), (secret("den", 2), false), (spec("den"), false)] {
        let mut net = Net::new(1, 2);
        net.attach(0, secret("den", 1));
        net.attach(1, other);
        want(&mut net, 0, 1);
        net.run_secs(1);
        assert_eq!(shared(&net, 0, 1) == [Slot(0)], together);
        assert_eq!(shared(&net, 1, 0) == [Slot(0)], together);
        assert_eq!(net.seen(0), [if together { Seen::Up(net.guid(1)) } else { Seen::DialFailed(net.guid(1)) }]);
    }
}

#[test]
fn epochs_of_one_overlay_do_not_mix_and_live_beside_each_other() {
    let mut net = Net::new(1, 2);
    net.attach(0, Spec { epoch: 1, ..spec("ring") });
    net.attach(1, spec("ring"));
    want(&mut net, 0, 1);
    net.run_secs(1);
    assert_eq!(net.seen(0), [Seen::DialFailed(net.guid(1))]);
    // Now each has both, in another order.
    net.attach(0, spec("ring"));
    let later = net.attach(1, Spec { epoch: 1, ..spec("ring") });
    want(&mut net, 0, 1);
    net.run_secs(1);
    assert_eq!(shared(&net, 0, 1).len(), 2);
    assert_eq!(later.seen(), [Seen::Up(net.guid(0))], "the link is held in the epoch it was wanted in");
    assert_eq!(net.seen(1), []);
}

/// The evil node is 1: what it proves on its own behalf is replaced by what `forge` makes of it.
fn with_forged_proofs(net: &mut Net, mut forge: impl FnMut(&mut Proof) + 'static) {
    net.passes = Box::new(move |from, _, frame| {
        if from == 1 {
            match &mut frame.body {
                Body::Offer(offer) => offer.proofs.iter_mut().for_each(&mut forge),
                Body::Accept { shared, .. } | Body::Confirm { shared, .. } => {
                    shared.iter_mut().for_each(|s| forge(&mut s.proof));
                }
                _ => {}
            }
        }
        true
    });
}

#[test]
fn a_forged_proof_shares_nothing() {
    for dialer in 0..2 {
        let mut net = Net::new(1, 2);
        net.attach(0, secret("den", 1));
        net.attach(1, secret("den", 1));
        with_forged_proofs(&mut net, |proof| proof[3] ^= 1);
        want(&mut net, dialer, 1 - dialer);
        net.run_secs(30);
        assert_eq!(shared(&net, 0, 1), []);
        assert_eq!(net.half_open_wires(), 0, "nothing is shared, so nothing stays");
    }
}

#[test]
fn a_proof_overheard_on_another_connection_is_worth_nothing_here() {
    for dialer in 0..2 {
        let mut net = Net::new(1, 2);
        net.attach(0, secret("den", 1));
        net.attach(1, secret("den", 1));
        let overheard = std::rc::Rc::new(std::cell::RefCell::new(None));
        let first = overheard.clone();
        with_forged_proofs(&mut net, move |proof| *first.borrow_mut() = Some(*proof));
        want(&mut net, dialer, 1 - dialer);
        net.run_secs(1);
        assert_eq!(shared(&net, 0, 1), [Slot(0)]);
        let replayed: Proof = overheard.take().expect("it proved something");
        // The same two nodes, the same dialer, the same nonce perhaps, another wire.
        net.cut(0, 1);
        with_forged_proofs(&mut net, move |proof| *proof = replayed);
        want(&mut net, dialer, 1 - dialer);
        net.run_secs(30);
        assert_eq!(shared(&net, 0, 1), []);
    }
}

#[test]
fn a_reflected_proof_is_worth_nothing() {
    for dialer in 0..2 {
        let mut net = Net::new(1, 2);
        net.attach(0, secret("den", 1));
        // The evil node does not know the secret. It shows the other's own proofs.
        net.attach(1, secret("den", 2));
        let heard = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Proof>::new()));
        net.passes = Box::new(move |from, _, frame| {
            match (&mut frame.body, from) {
                (Body::Offer(offer), 0) => *heard.borrow_mut() = offer.proofs.clone(),
                (Body::Offer(offer), _) if !heard.borrow().is_empty() => offer.proofs.clone_from(&heard.borrow()),
                (Body::Accept { shared, .. }, 1) => {
                    *shared = heard.borrow().iter().map(|&proof| member(proof)).collect();
                }
                _ => {}
            }
            true
        });
        want(&mut net, dialer, 1 - dialer);
        net.run_secs(30);
        assert_eq!(shared(&net, 0, 1), []);
    }
}

fn member(proof: Proof) -> Shared {
    let standing = Standing::Member;
    Shared {
        index: 0,
        proof,
        tag: 256,
        epoch: 0,
        standing,
        lanes: 1,
        credit: 1 << 20,
        protocols: vec![],
        membership: None,
    }
}

/// An overlay with an authority, its id, and grants by it.
fn guarded(subject: Guid, standing: Standing, until: Time) -> (Spec, Grant) {
    let (authority, admission) = authority();
    let id = OverlayName::new("guild", admission.clone()).expect("a good name").id();
    let grant = Grant::sign(&authority, id, subject, standing, until);
    (Spec { admission, grant: Some(grant.clone()), ..spec("guild") }, grant)
}

fn tomorrow(net: &Net) -> Time {
    net.now + Duration::from_secs(24 * 3600)
}

#[test]
fn an_overlay_with_an_authority_refuses_to_be_attached_without_a_good_grant() {
    let mut net = Net::new(1, 2);
    let (me, other, until) = (net.guid(0), net.guid(1), tomorrow(&net));
    let (good, grant) = guarded(me, Standing::Member, until);
    let stranger = Identity::from_seed(&[9; 32]);
    let elsewhere = OverlayName::new("guild", Admission::Open).unwrap().id();
    let mut later = grant.clone();
    later.expires += 1;
    let refused = [
        Spec { grant: None, ..good.clone() },
        guarded(other, Standing::Member, until).0,
        guarded(me, Standing::Member, net.now).0,
        guarded(me, Standing::Client, until).0,
        Spec { grant: Some(Grant::sign(&stranger, grant.overlay, me, Standing::Member, until)), ..good.clone() },
        Spec { grant: Some(Grant::sign(&authority().0, elsewhere, me, Standing::Member, until)), ..good.clone() },
        Spec { grant: Some(later), ..good.clone() },
    ];
    for spec in refused {
        assert_eq!(net.try_attach(0, spec).err(), Some(AttachError::NotGranted("guild".into())));
    }
    let client = guarded(me, Standing::Client, until).0;
    let (slot, _) = net.try_attach(0, Spec { standing: Standing::Client, ..client }).ok().unwrap();
    net.detach(0, slot);
    net.try_attach(0, good).ok().unwrap();
}

/// What an evil member may put in the place of its own membership.
fn memberships(net: &Net) -> Vec<(&'static str, Option<Box<Membership>>)> {
    let (me, other, now) = (net.guid(1), net.guid(0), net.now);
    let until = tomorrow(net);
    let signer = &net.nodes[1].identity;
    let (_, good) = guarded(me, Standing::Member, until);
    let claim = |grant: Option<Grant>| Claim {
        overlay: good.overlay,
        standing: Standing::Member,
        addresses: Bytes::new(),
        proof: Bytes::new(),
        sequence: 1,
        expires: until.as_secs(),
        grant,
    };
    let signed = |claim: Claim| Some(Box::new(Membership::sign(signer, &claim)));
    let elsewhere = OverlayName::new("other", Admission::Open).expect("a good name").id();
    vec![
        ("none", None),
        ("without a grant", signed(claim(None))),
        ("with another's grant", signed(claim(Some(guarded(other, Standing::Member, until).1)))),
        ("with a grant that expired", signed(claim(Some(guarded(me, Standing::Member, now).1)))),
        ("with a grant for clients", signed(claim(Some(guarded(me, Standing::Client, until).1)))),
        ("for another overlay", signed(Claim { overlay: elsewhere, ..claim(Some(good.clone())) })),
        ("that expired", signed(Claim { expires: now.as_secs(), ..claim(Some(good.clone())) })),
        ("too long", signed(Claim { proof: Bytes::from(vec![0; 1000]), ..claim(Some(good.clone())) })),
        ("signed by another", Some(Box::new(Membership::sign(&net.nodes[0].identity, &claim(Some(good.clone())))))),
    ]
}

#[test]
fn a_membership_that_does_not_hold_shares_nothing_and_is_blamed() {
    for case in 0..9 {
        for dialer in 0..2 {
            let mut net = Net::new(1, 2);
            for at in 0..2 {
                let spec = guarded(net.guid(at), Standing::Member, tomorrow(&net)).0;
                net.attach(at, spec);
            }
            let (name, forged) = memberships(&net).swap_remove(case);
            net.passes = Box::new(move |from, _, frame| {
                if let (1, Body::Accept { shared, .. } | Body::Confirm { shared, .. }) = (from, &mut frame.body) {
                    shared.iter_mut().for_each(|s| s.membership.clone_from(&forged));
                }
                true
            });
            want(&mut net, dialer, 1 - dialer);
            net.run_secs(30);
            assert_eq!(shared(&net, 0, 1), [], "a membership {name}");
            let blamed =
                net.nodes[0].watched.iter().any(|w| matches!(w, Watch::Blamed { peer, .. } if *peer == net.guid(1)));
            assert!(blamed, "a membership {name}");
            assert!(net.seen(0).iter().all(|s| !matches!(s, Seen::Up(_))), "a membership {name}");
        }
    }
}

#[test]
fn a_good_membership_is_shared_and_ends_with_its_grant() {
    let mut net = Net::new(1, 2);
    let short = net.now + Duration::from_secs(600);
    let spec = guarded(net.guid(0), Standing::Member, tomorrow(&net)).0;
    net.attach(0, spec);
    let spec = guarded(net.guid(1), Standing::Member, short).0;
    net.attach(1, spec);
    want(&mut net, 0, 1);
    net.run_secs(590);
    assert_eq!(shared(&net, 0, 1), [Slot(0)]);
    net.run_secs(20);
    assert_eq!(shared(&net, 0, 1), [], "the authority's word was good until then");
    // And a new session does not bring it back.
    want(&mut net, 0, 1);
    net.run_secs(60);
    assert_eq!(shared(&net, 0, 1), []);
}

#[test]
fn a_client_by_grant_is_a_client_whatever_it_says() {
    let mut net = Net::new(1, 2);
    let spec = guarded(net.guid(0), Standing::Member, tomorrow(&net)).0;
    net.attach(0, spec);
    net.nodes[0].strings[0].pull().powers.hears = true;
    let spec = guarded(net.guid(1), Standing::Client, tomorrow(&net)).0;
    net.attach(1, Spec { standing: Standing::Client, ..spec });
    net.passes = Box::new(|from, _, frame| {
        if let (1, Body::Accept { shared, .. } | Body::Confirm { shared, .. }) = (from, &mut frame.body) {
            shared.iter_mut().for_each(|s| s.standing = Standing::Member);
        }
        true
    });
    want(&mut net, 0, 1);
    net.run_secs(1);
    assert_eq!(shared(&net, 0, 1), [Slot(0)]);
    assert_eq!(net.nodes[0].engine.standing(Slot(0), &net.guid(1)), Some(Standing::Client));
}

fn faults(net: &Net, at: usize) -> u64 {
    net.nodes[at].engine.metrics(Slot(0)).expect("attached").faults
}

/// A newer contact of a node that it did not sign.
fn forged(net: &Net, at: usize) -> Contact {
    let until = net.now + Duration::from_secs(3600);
    let address = "mem:a trap".parse().expect("an address");
    let true_one = Contact::sign(&net.nodes[at].identity, &[address], 9, until);
    let mut bytes = postcard::to_stdvec(&true_one).expect("it encodes");
    *bytes.last_mut().expect("a signature") ^= 1;
    postcard::take_from_bytes(&bytes).expect("its shape is right").0
}

#[test]
fn a_forged_contact_is_refused_and_counted_and_who_tells_more_of_them_is_dropped() {
    let mut net = Net::new(1, 3);
    net.attach_all("ring");
    want(&mut net, 0, 1);
    net.run_secs(1);
    let (two, lie) = (net.guid(2), forged(&net, 2));
    let known = net.nodes[0].ws.book.get(&two);
    for count in 1..=u64::from(settings::Node::default().faults) {
        assert!(net.share_a_wire(0, 1), "{count} faults are not enough");
        let (_, tag) = net.nodes[1].engine.wire(Slot(0), &net.guid(0)).expect("carried");
        let frame = Frame { tag, contacts: vec![lie.clone()], body: Body::Ping { id: 1 }, payload: Bytes::new() };
        net.forge(1, 0, frame);
        assert_eq!(faults(&net, 0), count);
        assert_eq!(net.nodes[0].ws.book.get(&two), known, "it is still reached where it was");
        net.run_secs(1);
    }
    assert_eq!((net.nodes[0].engine.peers().len(), net.nodes[0].engine.dropped()), (0, 1));
}

fn with_addresses(net: &mut Net, admits: impl Fn(Guid, u32, &[u8]) -> bool + Send + 'static) {
    let assigned = Powers { assigned: true, ..Powers::default() };
    let mut admits = Some(admits);
    for at in 0..2 {
        let made = spec("city");
        {
            let mut script = made.strings.pull();
            script.powers = assigned;
            script.addresses = vec![40 + at as u32];
            script.proof = Bytes::from_static(b"by the assigner");
            if let Some(admits) = admits.take() {
                script.admits = Box::new(admits);
            }
        }
        net.attach(at, made);
    }
}

#[test]
fn a_peer_says_where_it_stands_and_proves_it() {
    let mut net = Net::new(1, 2);
    let b = net.guid(1);
    with_addresses(&mut net, move |guid, at, proof| guid == b && at == 41 && proof == b"by the assigner");
    want(&mut net, 0, 1);
    net.run_secs(1);
    assert_eq!(net.seen(0), [Seen::Addresses(b, vec![41]), Seen::Up(b)]);
    assert_eq!(net.seen(1), [Seen::Addresses(net.guid(0), vec![40]), Seen::Up(net.guid(0))]);
}

#[test]
fn a_position_it_was_not_given_shuts_a_peer_out() {
    let mut net = Net::new(1, 2);
    with_addresses(&mut net, |_, at, _| at == 7);
    want(&mut net, 0, 1);
    net.run_secs(1);
    assert_eq!(shared(&net, 0, 1), []);
    assert_eq!(net.seen(0), [Seen::DialFailed(net.guid(1))]);
    let blamed = net.nodes[0].watched.iter().filter(|watch| matches!(watch, Watch::Blamed { .. })).count();
    assert_eq!((faults(&net, 0), blamed), (1, 1));
}

#[test]
fn a_peer_that_moves_where_it_may_not_is_blamed_and_then_dropped() {
    let mut net = Net::new(1, 2);
    with_addresses(&mut net, |_, at, _| at == 41);
    want(&mut net, 0, 1);
    net.run_secs(1);
    net.seen(0);
    for at in 0..settings::Node::default().faults {
        assert!(net.share_a_wire(0, 1), "{at} faults are not enough");
        net.nodes[1].strings[0].pull().addresses = vec![50 + at];
        net.act(1, |cx| cx.change(polymorph_core::topology::event::Change::Addresses));
        net.run_secs(1);
    }
    assert_eq!(net.nodes[0].engine.peers().len(), 0);
    assert!(!net.seen(0).iter().any(|s| matches!(s, Seen::Addresses(..))));
    assert_eq!(net.nodes[0].watched.len(), 3);
    assert_eq!((faults(&net, 0), net.nodes[0].engine.dropped()), (3, 1));
}
