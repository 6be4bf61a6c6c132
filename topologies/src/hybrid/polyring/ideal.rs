//! The shape without the journey: where everybody stands if all came in the order of their Guids and nobody left.
//!
//! That is breadth first: the center, then the rings around its members one after the other, and so on. So the
//! number of a peer tells its place, its ring, its parent and its children, by arithmetic alone.

use core::ops::Range;

use polymorph_core::overlay::Place;
use polymorph_core::topology::model::{Census, Claims, Model};
use polymorph_core::topology::question::Target;
use polymorph_core::{Guid, Key};

use super::path::Path;
use super::ring::Ring;
use super::routing::weight;
use super::{Config, ELDERS, MAX_RESTING, MAX_SEEDS, MAX_WIDTH, Polyring, REFRESH, Stand};

/// Places numbered breadth first, in rings of one width.
pub(super) struct Numbered {
    width: usize,
    depth: usize,
    peers: usize,
}

/// A place by level (1 is the center) and number within the level.
type Spot = (usize, usize);

impl Numbered {
    /// `None` when there are more peers than places.
    pub(super) fn new(config: &Config, peers: usize) -> Option<Self> {
        let numbered = Self { width: config.width.max(1), depth: config.depth.max(1), peers };
        (numbered.first(numbered.depth + 1) >= peers).then_some(numbered)
    }

    fn size(&self, level: usize) -> usize {
        (0..level).fold(1, |size: usize, _| size.saturating_mul(self.width))
    }

    /// The number of the first place of a level.
    fn first(&self, level: usize) -> usize {
        (1..level).fold(0, |sum: usize, level| sum.saturating_add(self.size(level)))
    }

    fn spot(&self, number: usize) -> Spot {
        let level = (1..self.depth).find(|&level| number < self.first(level + 1)).unwrap_or(self.depth);
        (level, number - self.first(level))
    }

    fn number(&self, (level, within): Spot) -> usize {
        self.first(level) + within
    }

    pub(super) fn path(&self, number: usize) -> Path {
        let (level, mut within) = self.spot(number);
        let mut coordinates = vec![0; level];
        for coordinate in coordinates.iter_mut().rev() {
            *coordinate = (within % self.width) as u32;
            within /= self.width;
        }
        Path::try_from(coordinates).unwrap_or_else(|_| Path::center(0))
    }

    /// Who stands at a path, if it is taken.
    pub(super) fn at(&self, path: &Path) -> Option<usize> {
        let fits = path.level() <= self.depth && path.coordinates().iter().all(|&at| (at as usize) < self.width);
        let within = |sum: usize, &at: &u32| sum * self.width + at as usize;
        let number = fits.then(|| self.number((path.level(), path.coordinates().iter().fold(0, within))))?;
        (number < self.peers).then_some(number)
    }

    pub(super) fn parent(&self, number: usize) -> Option<usize> {
        let (level, within) = self.spot(number);
        (level > 1).then(|| self.number((level - 1, within / self.width)))
    }

    pub(super) fn ring(&self, number: usize) -> Range<usize> {
        let (level, within) = self.spot(number);
        let first = self.number((level, within - within % self.width));
        first..(first + self.width).min(self.peers)
    }

    pub(super) fn children(&self, number: usize) -> Range<usize> {
        let (level, within) = self.spot(number);
        let first = if level < self.depth { self.number((level + 1, within * self.width)) } else { self.peers };
        first.min(self.peers)..first.saturating_add(self.width).min(self.peers)
    }

    /// How many levels are in use.
    fn levels(&self) -> usize {
        self.spot(self.peers.saturating_sub(1)).0
    }
}

impl Polyring {
    /// Who owns a key in the shape that [`ideal`](Model::ideal) builds. Elsewhere the order of coming decides where
    /// everybody stands, which no census tells.
    #[must_use]
    pub fn ideal_owner(config: &Config, all: &Census, key: &Key) -> Option<Guid> {
        let shape = Numbered::new(config, all.guids.len())?;
        let best = |ring: Range<usize>| ring.max_by_key(|&at| weight(key, &all.guids[at]));
        let mut owner = best(shape.ring(0).start..shape.ring(0).end.min(all.guids.len()))?;
        while let Some(next) = best(shape.children(owner)) {
            owner = next;
        }
        Some(all.guids[owner])
    }
}

impl Model for Polyring {
    type Config = Config;

    fn new(config: &Config, place: Place) -> Self {
        Self::outside(place.me, config.clone())
    }

    fn claims(config: &Config, peers: usize) -> Claims {
        let levels = Numbered::new(config, peers).map_or(config.depth, |shape| shape.levels());
        Claims {
            agreement: true,
            hops: Some(2 * levels.max(1) - 1),
            // The way is the one there is, and no measure of Guids says how far a place is.
            closer: false,
            coverage: true,
            redundancy: Some(0.0),
            symmetry: true,
            degree: Some(2 * config.width),
            // Two rings, three notes of each of their members, and lists that have bounds of their own.
            entries: Some(2 * 4 * MAX_WIDTH + 2 * MAX_SEEDS + 3 * ELDERS + MAX_RESTING),
            // A ring is compared with its allocator's in each period, and answered.
            idle: Some(120.0 / REFRESH.as_secs_f64() * 1.5),
            heals: true,
            // A center that is cut in two may give its places twice.
            merges: None,
            leaves: true,
            // A wire that is silent, an heir, and a round of comparing.
            quiet: 3 * REFRESH.as_secs(),
        }
    }

    fn entries(&self) -> usize {
        let stand = self.stand.iter().map(|stand| stand.ring.len() + stand.children.len() + stand.elders.len() + 1);
        let notes = self.rooms.len() + self.heard.len() + self.redialed.len() + self.resting.len();
        stand.sum::<usize>() + notes + self.seeds.len() + self.said_elders.len()
    }

    /// Of an address, in the shape that [`ideal`](Model::ideal) builds. For keys see
    /// [`ideal_owner`](Polyring::ideal_owner).
    fn owner(config: &Config, all: &Census, to: &Target<Self>) -> Option<Guid> {
        match to {
            Target::Address(path) => Some(all.guids[Numbered::new(config, all.guids.len())?.at(path)?]),
            Target::Key(_) => None,
        }
    }

    fn ideal(&mut self, config: &Config, all: &Census) -> bool {
        let Some(shape) = Numbered::new(config, all.guids.len()) else { return false };
        let Ok(me) = all.guids.binary_search(&self.me) else { return false };
        let members = |range: Range<usize>| {
            let coordinates = 0u32..;
            Ring::from_sorted(coordinates.zip(range.map(|at| all.guids[at])).collect())
        };
        let parent = shape.parent(me);
        let around = parent.map(|parent| {
            let grandparent = shape.parent(parent).map(|at| all.guids[at]);
            let uncles = shape.ring(parent).filter(|&at| at != parent).map(|at| all.guids[at]);
            grandparent.into_iter().chain(uncles).take(ELDERS).collect()
        });
        self.stand = Some(Stand {
            path: shape.path(me),
            parent: parent.map(|at| all.guids[at]),
            elders: around.unwrap_or_default(),
            ring: members(shape.ring(me)),
            children: members(shape.children(me)),
        });
        true
    }
}
