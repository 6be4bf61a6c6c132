//! What a test attaches, and the smallest things it says.

use bytes::Bytes;
use polymorph_core::engine::settings;
use polymorph_core::identity::Identity;
use polymorph_core::overlay::Grant;
use polymorph_core::wire::Frame;
use polymorph_core::wire::frame::{Body, Goodbye};
use polymorph_core::{Admission, Signer, Standing};

use crate::puppet::{Puppet, Strings};

/// An overlay to be attached.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) admission: Admission,
    pub(crate) standing: Standing,
    pub(crate) grant: Option<Grant>,
    pub(crate) settings: settings::Overlay,
    pub(crate) epoch: u8,
    pub(crate) strings: Strings,
}

/// An open overlay of this name, as a member.
pub(crate) fn spec(name: &str) -> Spec {
    Spec {
        name: name.into(),
        admission: Admission::Open,
        standing: Standing::Member,
        grant: None,
        settings: settings::Overlay::default(),
        epoch: 0,
        strings: Strings::default(),
    }
}

/// A frame of the session itself.
pub(crate) fn session_frame(body: Body<Puppet>) -> Frame<Puppet> {
    Frame { tag: 0, contacts: Vec::new(), body, payload: Bytes::new() }
}

pub(crate) fn goodbye(why: Goodbye) -> Frame<Puppet> {
    session_frame(Body::Goodbye(why))
}

/// The public key of an authority, and its identity.
pub(crate) fn authority() -> (Identity, Admission) {
    let identity = Identity::from_seed(&[42; 32]);
    let admission = Admission::Authority(identity.public_key());
    (identity, admission)
}
