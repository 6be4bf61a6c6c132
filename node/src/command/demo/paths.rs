//! Looking keys up from every node, on the ring and on the polyring: all must find the same owners.

use std::cell::Cell;
use std::collections::BTreeSet;

use polymorph::{Key, Overlay};

use super::crew::{Crew, Member};

/// How many keys every node looks up.
const KEYS: usize = 4;

/// Waits until all agree; gives each overlay with the average number of hops.
pub(super) async fn agree(crew: &Crew) -> anyhow::Result<Vec<(String, f64)>> {
    let ways: [fn(&Member) -> &Overlay; 2] = [|member| &member.find, |member| &member.paths];
    let mut all = Vec::new();
    for way in ways {
        let hops = Cell::new(0);
        let Some(name) = crew.members.first().map(|member| way(member).name().to_owned()) else { continue };
        let what = format!("everybody finds the same owners in {name}");
        crew.wait_until(&what, async |crew| {
            hops.set(0);
            for key in (0..KEYS).map(|number| Key::of(format!("a thing to find, number {number}").as_bytes())) {
                let mut owners = BTreeSet::new();
                for member in &crew.members {
                    match way(member).lookup(key, 1).await {
                        Ok(found) => {
                            owners.insert(found.owner);
                            hops.set(hops.get() + found.hops);
                        }
                        Err(error) => return Ok(Some(format!("node {}: {error}", member.node.guid().short()))),
                    }
                }
                if owners.len() > 1 {
                    return Ok(Some(format!("{} nodes claim one key", owners.len())));
                }
            }
            Ok(None)
        })
        .await?;
        all.push((name, f64::from(hops.get()) / (KEYS * crew.members.len()) as f64));
    }
    Ok(all)
}
