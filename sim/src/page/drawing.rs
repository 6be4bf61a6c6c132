//! An overlay as a drawing: peers as dots, links as lines in the colors of their roles.

use core::fmt::Write as _;

use polymorph_core::topology::question::{Hold, Role};

use super::layout::{Layout, places};
use super::scale::number;
use crate::report::{Link, Portrait};

/// The side of a drawing, and the room around it.
const SIDE: f64 = 800.0;
const ROOM: f64 = 26.0;
/// How many colors there are; further kinds of links share the last.
const COLORS: usize = 5;

/// What is drawn in one color.
struct Group<'a> {
    name: &'static str,
    links: Vec<&'a Link>,
}

/// The drawing and its legend.
pub(super) fn draw(portrait: &Portrait, layout: Layout) -> String {
    let groups = groups(portrait);
    // What is firm shapes the drawing; where nothing is, all does.
    let firm = portrait.links.iter().any(|link| link.hold == Hold::Required);
    let pulls = portrait.links.iter().filter(|link| !firm || link.hold == Hold::Required);
    let pulls: Vec<(usize, usize)> = pulls.map(|link| (link.ends.0.into(), link.ends.1.into())).collect();
    let (used, unit) = places(portrait, layout, &pulls);
    let at: Vec<(f64, f64)> =
        unit.into_iter().map(|(x, y)| (ROOM + x * (SIDE - 2.0 * ROOM), ROOM + y * (SIDE - 2.0 * ROOM))).collect();
    let mut svg = format!("<div class=\"drawing\"><svg viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\">");
    // What says most is on top.
    for (color, group) in groups.iter().enumerate().rev() {
        let _ = write!(svg, "<path class=\"link l{}\" {} d=\"", color.min(COLORS - 1), stroke(color, group, portrait));
        group.links.iter().for_each(|link| line(&mut svg, link, &at, used));
        svg.push_str("\"/>");
    }
    let room = libm::sqrt(100.0 / portrait.peers.len() as f64).clamp(0.75, 1.8);
    for (peer, (x, y)) in portrait.peers.iter().zip(&at) {
        let radius = room * (3.2 + 3.4 * libm::sqrt(peer.load.clamp(0.0, 4.0)) - 1.6);
        let class = if peer.attacks { "peer bad" } else { "peer" };
        let _ = write!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{}: {} neighbors, {}× the mean \
             load</title></circle>",
            peer.guid,
            peer.degree,
            number(peer.load)
        );
    }
    svg.push_str("</svg>");
    svg + &legend(&groups, portrait.peers.iter().filter(|peer| peer.attacks).count()) + "</div>"
}

fn legend(groups: &[Group<'_>], attackers: usize) -> String {
    let mut list = String::from("<ul class=\"legend\">");
    for (color, group) in groups.iter().enumerate() {
        let _ = write!(
            list,
            "<li><i class=\"l{}\"></i><span>{} <small>{}</small></span></li>",
            color.min(COLORS - 1),
            group.name,
            number(group.links.len() as f64)
        );
    }
    if attackers > 0 {
        let _ = write!(list, "<li><i class=\"bad\"></i><span>attacker <small>{attackers}</small></span></li>");
    }
    list.push_str("<li><small>A dot is a peer; the more it has to do, the larger it is.</small></li></ul>");
    list
}

/// Links by what they are; what says most comes first.
fn groups(portrait: &Portrait) -> Vec<Group<'_>> {
    const ORDER: [&str; 13] = [
        "parent and child",
        "eager",
        "successor",
        "predecessor",
        "sibling",
        "leaf",
        "lazy",
        "active",
        "finger",
        "bucket",
        "successor list",
        "neighbor",
        "other",
    ];
    let mut groups: Vec<Group<'_>> = Vec::new();
    for link in &portrait.links {
        let name = name(link);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.links.push(link),
            None => groups.push(Group { name, links: vec![link] }),
        }
    }
    groups.sort_by_key(|group| ORDER.iter().position(|name| *name == group.name));
    groups
}

fn name(link: &Link) -> &'static str {
    match link.role {
        Role::Parent | Role::Child => "parent and child",
        Role::Eager => "eager",
        Role::Successor if link.hold == Hold::Cached => "successor list",
        Role::Successor => "successor",
        Role::Predecessor => "predecessor",
        Role::Sibling => "sibling",
        Role::Leaf => "leaf",
        Role::Lazy => "lazy",
        Role::Active => "active",
        Role::Finger => "finger",
        Role::Bucket => "bucket",
        Role::Peer => "neighbor",
        _ => "other",
    }
}

/// What says most is bold; the more other lines there are, the fainter each.
fn stroke(color: usize, group: &Group<'_>, portrait: &Portrait) -> String {
    let crowd = group.links.len() as f64 / portrait.peers.len() as f64;
    let (width, faint) = if color == 0 && crowd < 4.0 { (1.8, 1.0) } else { (0.9, 0.6) };
    format!("stroke-width=\"{width}\" stroke-opacity=\"{:.2}\"", (faint * libm::sqrt(1.6 / crowd.max(1.6))).max(0.1))
}

fn line(svg: &mut String, link: &Link, at: &[(f64, f64)], layout: Layout) {
    let ((ax, ay), (bx, by)) = (at[usize::from(link.ends.0)], at[usize::from(link.ends.1)]);
    let _ = match layout {
        Layout::Forces => write!(svg, "M{ax:.0} {ay:.0}L{bx:.0} {by:.0}"),
        // Far ones are bent to the middle, so that they do not all cross there; the ring itself is round.
        Layout::Circle => {
            let (middle, reach) = (SIDE / 2.0, SIDE / 2.0 - ROOM);
            let far = libm::hypot(ax - bx, ay - by) / (2.0 * reach);
            let bend =
                if link.role == Role::Successor && link.hold == Hold::Required { -far * far } else { 0.75 * far };
            let cx = (ax + bx) / 2.0 * (1.0 - bend) + middle * bend;
            let cy = (ay + by) / 2.0 * (1.0 - bend) + middle * bend;
            write!(svg, "M{ax:.0} {ay:.0}Q{cx:.0} {cy:.0} {bx:.0} {by:.0}")
        }
    };
}
