//! What the media room puts on the wire and into links, byte for byte.

#[path = "../../core/tests/golden/vectors.rs"]
mod vectors;

use std::io;

use polymorph_core::{Contact, Identity, Time};
use polymorph_media::blob::{GROUP_BYTES, tree};
use polymorph_media::wire::{Request, Status};
use polymorph_media::{Hash, Item, Link, Package, Seal};

use vectors::{Vectors, every};

fn contact() -> Contact {
    let address = "tcp://192.0.2.1:4000".parse().expect("an address");
    Contact::sign(&Identity::from_seed(&[1; 32]), &[address], 1, Time::from_secs(9))
}

fn item(name: &str, length: u64) -> Item {
    let (title, media_type) = ("Title".into(), "text/plain".into());
    Item { name: name.into(), title, media_type, length, hash: Hash([length as u8; 32]) }
}

/// The hash and the outboard of a blob in which every byte is its group's number.
fn outboard(groups: u64) -> (Hash, Vec<u8>) {
    let length = groups * GROUP_BYTES - 1;
    let (mut at, mut outboard) = (0u64, vec![0; tree::outboard_bytes(length) as usize]);
    let mut read = |buffer: &mut [u8]| {
        buffer.iter_mut().zip(at..).for_each(|(byte, at)| *byte = (at / GROUP_BYTES) as u8);
        at += buffer.len() as u64;
        Ok(())
    };
    let mut write = |offset: u64, bytes: &[u8]| -> io::Result<()> {
        outboard[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    };
    let hash = tree::build(length, &mut read, &mut write).expect("nothing fails in memory");
    (hash, outboard)
}

#[test]
fn everything_of_media_on_the_wire_stays_as_it_is() {
    let mut held = Vectors::of(env!("CARGO_MANIFEST_DIR"), "tests/golden/media.txt");
    held.value("hash", &Hash::of(b"golden"));
    held.value("item", &item("a.txt", 300));
    let request = Request { hash: Hash([0xab; 32]), runs: vec![(0, 64), (300, 301)] };
    held.bytes("request", &request.encode());
    held.bytes("request.length", &Request { runs: Vec::new(), ..request }.encode());
    let states = every!(Status {
        "here": Status::Here => Status::Here,
        "not-here": Status::NotHere => Status::NotHere,
        "refused": Status::Refused => Status::Refused,
    });
    states.iter().for_each(|(name, status)| held.bytes(&format!("status.{name}"), &[status.byte()]));
    let package = Package::new("Title", vec![item("b/c.txt", 300), item("a.txt", 1)]).expect("a package");
    held.bytes("package", &package.encode());
    held.bytes("package.root", &package.root().0);
    held.value("seal", &Seal::sign(&Identity::from_seed(&[1; 32]), Hash([5; 32])));
    for (name, topology, contacts) in [("bare", None, vec![]), ("full", Some("chord"), vec![contact()])] {
        let link = Link::new(Hash([5; 32]), "media", topology, &contacts).expect("a link");
        held.text(&format!("link.{name}"), &link.to_string());
    }
    for groups in [1, 3, 5] {
        let (hash, outboard) = outboard(groups);
        held.bytes(&format!("blob.{groups}-groups.hash"), &hash.0);
        held.text(&format!("blob.{groups}-groups.outboard-hash"), &Hash::of(&outboard).to_string());
        let proof: Vec<u8> = tree::proof_runs(groups * GROUP_BYTES - 1, &(groups - 1..groups))
            .into_iter()
            .flat_map(|pairs| outboard[(pairs.start * 64) as usize..(pairs.end * 64) as usize].to_vec())
            .collect();
        held.text(&format!("blob.{groups}-groups.last-proof"), &data_encoding::HEXLOWER.encode(&proof));
    }
    held.close();
}

#[test]
fn a_status_comes_back_from_its_byte() {
    for byte in 0..=u8::MAX {
        let status = Status::of(byte);
        assert!(status.byte() == byte || status == Status::Refused);
    }
}
