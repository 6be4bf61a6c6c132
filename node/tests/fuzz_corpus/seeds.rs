//! The files of the corpus, made out of golden vectors.

use std::fs;
use std::path::Path;

use polymorph::core::Time;
use polymorph::core::engine::io::{Command, ConnId, Dialer, Input};
use polymorph::core::engine::log::{self, Entry};
use polymorph::core::engine::{Slot, settings};
use polymorph::core::topology::erased::Boxed;
use polymorph::{Guid, Identity};

use super::Noise;
use crate::engine::HAPPENING_BYTES;

/// How many stories there are, and how many happenings each has.
const STORIES: usize = 16;
const HAPPENINGS: usize = 90;

/// Every file that is made: its target, its name, its bytes.
pub(crate) fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, value) in vectors("core") {
        match name.split('.').next().unwrap_or_default() {
            "frame" | "dialogue" => all.push(("frame", name, unhex(&value))),
            "body" => {
                // A frame without contacts under the tag of an overlay, or of the session.
                for tag in [&[0][..], &[0x81, 0x06]] {
                    let inner = [tag, &[0], &unhex(&value), b"payload"].concat();
                    let length = [(inner.len() % 128) as u8 | 0x80, (inner.len() / 128) as u8];
                    all.push(("frame", format!("{name}.{}", tag.len()), [&length[..], &inner].concat()));
                }
            }
            "contact" if name == "contact.word" => all.push(("contact_word", name, value.into_bytes())),
            "contact" => all.push(("contact", name, unhex(&value))),
            kind @ ("membership" | "grant" | "record" | "snapshot") => {
                let target = ["membership", "grant", "record", "snapshot"].into_iter().find(|target| *target == kind);
                all.extend(target.map(|target| (target, name.clone(), unhex(&value))));
            }
            _ => {}
        }
    }
    for (name, value) in vectors("media") {
        match name.split('.').next().unwrap_or_default() {
            "request" => all.push(("request", name, unhex(&value)[2..].to_vec())),
            "package" if name == "package" => all.push(("package", name, unhex(&value))),
            "seal" => all.push(("seal", name, unhex(&value))),
            "link" => all.push(("link", name, value.into_bytes())),
            _ => {}
        }
    }
    all.extend(vectors("topologies").into_iter().map(|(name, value)| ("message", name, unhex(&value))));
    all.extend(proofs());
    all.extend(texts());
    all.extend(stories());
    all.push(("log", "a-node".into(), log()));
    all
}

fn vectors(room: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = folder.join(room).join("tests/golden").join(format!("{room}.txt"));
    let text = fs::read_to_string(file).expect("the golden vectors");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.into(), value.into())).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal digits")
}

/// The proof of the last group of each golden blob.
fn proofs() -> Vec<(&'static str, String, Vec<u8>)> {
    let media = vectors("media");
    let find = |name: String| {
        let found = media.iter().find(|(held, _)| *held == name);
        unhex(&found.unwrap_or_else(|| panic!("no golden vector {name}")).1)
    };
    let proof = |groups: u64| {
        let numbers = [groups * 16_384 - 1, groups - 1, groups].map(u64::to_le_bytes).concat();
        let name = format!("blob.{groups}-groups");
        let (hash, pairs) = (find(format!("{name}.hash")), find(format!("{name}.last-proof")));
        ("proof", name, [numbers, hash, pairs].concat())
    };
    [1, 3, 5].map(proof).into()
}

fn texts() -> Vec<(&'static str, String, Vec<u8>)> {
    let addresses = ["tcp://127.0.0.1:4000", "quic://[2001:db8::1]:443", "unix:/run/node", "mem:ann"];
    let overlays = [
        "find=chord,successors=8",
        "tell=hyparview-plumtree",
        "live=scribe,base=kademlia,children=4",
        "rings=polyring,width=10,depth=3",
        "all=full-mesh",
        "find=kademlia,k=8,lookup=iterative,alpha=3,disjoint=2",
    ];
    let text = |target, texts: &[&str]| -> Vec<_> {
        texts.iter().enumerate().map(|(at, text)| (target, format!("{at}"), text.as_bytes().to_vec())).collect()
    };
    [text("address", &addresses), text("overlay", &overlays)].concat()
}

fn stories() -> Vec<(&'static str, String, Vec<u8>)> {
    let story = |seed: usize| {
        let mut noise = Noise(seed as u64);
        let bytes = (0..HAPPENING_BYTES * HAPPENINGS).map(|_| noise.next() as u8).collect();
        ("engine", format!("story-{seed:02}"), bytes)
    };
    (0..STORIES).map(story).collect()
}

/// What a node might have been told before anything answers.
fn log() -> Vec<u8> {
    let (me, peer, conn) = (Identity::from_seed(&[1; 32]).guid(), Guid([2; 32]), ConnId(1));
    let connected = Input::Connected { peer, conn, dialer: Dialer::Peer, exporter: [3; 32] };
    let inputs = [
        Input::Command(Slot(0), Command::Join { seeds: Vec::new() }),
        connected,
        Input::Wake,
        Input::Lost { peer, conn },
        Input::DialFailed { peer },
    ];
    let told = inputs.into_iter().zip(2..).map(|(input, at)| Entry::<Boxed>::Input(Time::from_secs(at), input, None));
    let begin = [log::began(me, [4; 32], &settings::Node::default()), Entry::Attached(Time::from_secs(1))];
    let end = [Entry::Detached(Time::from_secs(9), Slot(0)), Entry::Ended(Time::from_secs(10))];
    let mut bytes = Vec::new();
    begin.into_iter().chain(told).chain(end).for_each(|entry| log::append(&entry, &mut bytes));
    bytes
}
