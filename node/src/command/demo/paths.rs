//! Looking keys up from every node, on the ring and on the polyring: all must find the same owners.

use anyhow::ensure;
use polymorph::{Key, Overlay};

use super::crew::{Crew, Member, WITHIN};
use crate::patience;

/// How many keys every node looks up.
const KEYS: usize = 4;

/// Each overlay with the average number of hops.
pub(super) async fn agree(crew: &Crew) -> anyhow::Result<Vec<(String, f64)>> {
    let ways: [fn(&Member) -> &Overlay; 2] = [|member| &member.find, |member| &member.paths];
    let mut all = Vec::new();
    for way in ways {
        let mut hops = 0;
        for number in 0..KEYS {
            let key = Key::of(format!("a thing to find, number {number}").as_bytes());
            let mut owner = None;
            for member in &crew.members {
                let overlay = way(member);
                let found = patience::until(overlay, WITHIN, async || overlay.lookup(key, 1).await).await?;
                hops += found.hops;
                let owner = *owner.get_or_insert(found.owner);
                let who = member.node.guid().short();
                ensure!(owner == found.owner, "node {who} finds another owner in {}; try again", overlay.name());
            }
        }
        let name = crew.members.first().map_or_else(String::new, |member| way(member).name().to_owned());
        all.push((name, f64::from(hops) / (KEYS * crew.members.len()) as f64));
    }
    Ok(all)
}
