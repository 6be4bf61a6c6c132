//! Topologies by name: where those who compose by name begin.
//!
//! A [`Catalog`] lists what there is and what can be set, and builds it: `chord` with `successors=8`, or `scribe`
//! with `base=kademlia` and `k=8`, where it puts the one on the other. Somebody else's topologies are added with
//! [`Catalog::register`] and are then like ours.
//!
//! The simulator wants topologies typed rather than erased; `typed` turns a name into a type.

mod error;
mod overlay;
mod standard;
#[cfg(any(
    feature = "full-mesh",
    feature = "chord",
    feature = "kademlia",
    feature = "pastry",
    feature = "tapestry",
    feature = "one-hop",
    feature = "hyparview-plumtree",
    feature = "polyring"
))]
pub mod typed;

use core::fmt;

use polymorph_core::engine::settings::{Lookup, Overlay};
use polymorph_core::topology::Topology;
use polymorph_core::topology::erased::Boxed;
use polymorph_core::topology::layer::Layer;
use polymorph_core::topology::model::Model;
use polymorph_core::{Guid, OverlayId, Place};

use crate::setting::{Configure, Setting, SettingError};
pub use error::CatalogError;
use error::nearest;
use overlay::LOOKUP;

/// What a topology looks like from afar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Keys have owners.
    Ring,
    /// One sends, many receive.
    Tree,
    /// Everybody is like everybody else.
    Mesh,
    /// Several shapes in one.
    Hybrid,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring",
            Self::Tree => "tree",
            Self::Mesh => "mesh",
            Self::Hybrid => "hybrid",
        })
    }
}

/// A topology, ready to be attached, and the settings of its overlay.
#[derive(Debug)]
pub struct Built {
    /// The topology.
    pub topology: Boxed,
    /// How its overlay is to be run.
    pub settings: Overlay,
}

/// What is written before and after a `=`. Each part of a topology takes out what it knows.
type Pairs<'a> = Vec<(&'a str, &'a str)>;
type Alone = fn(&mut Pairs<'_>, Place) -> Result<Boxed, SettingError>;
type OnBase = fn(&mut Pairs<'_>, Place, Boxed) -> Result<Boxed, SettingError>;

#[derive(Clone, Copy)]
enum Factory {
    Alone(Alone),
    OnBase(&'static str, OnBase),
}

/// One topology of a catalog.
#[derive(Clone)]
pub struct Entry {
    /// What users call it.
    pub name: &'static str,
    /// What it looks like.
    pub family: Family,
    /// Where it was described.
    pub paper: &'static str,
    settings: Vec<Setting>,
    routes: bool,
    lookup: Lookup,
    factory: Factory,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {})", self.name, self.family)
    }
}

impl Entry {
    /// A topology that stands on its own, also one that was composed by type. Its lookups are recursive.
    #[must_use]
    pub fn of<T: Model<Config: Configure>>(name: &'static str, family: Family, paper: &'static str) -> Self {
        let nowhere = Place { overlay: OverlayId([0; 32]), me: Guid([0; 32]) };
        let routes = T::new(&T::Config::default(), nowhere).powers().routes;
        let factory = Factory::Alone(|pairs, place| Ok(Boxed::new(T::new(&configure(pairs)?, place))));
        let settings = T::Config::settings();
        Self { name, family, paper, settings, routes, lookup: Lookup::Recursive, factory }.with_lookups()
    }

    /// A topology that stands on the routes of another, which users name with `base=`. Whatever that one can be set
    /// to can be set here too.
    #[must_use]
    pub fn on_base<U: Model<Config: Configure>>(
        name: &'static str,
        family: Family,
        paper: &'static str,
        base: &'static str,
    ) -> Self {
        let factory = Factory::OnBase(base, |pairs, place, base| {
            Ok(Boxed::new(Layer::new(U::new(&configure(pairs)?, place), base)))
        });
        let mut settings = U::Config::settings();
        settings.push(Setting::new("base", base, "the key-routed topology it stands on, whose settings may follow"));
        let as_base = |setting| if setting == LOOKUP { Setting { default: "as the base", ..setting } } else { setting };
        settings.extend(Overlay::settings().into_iter().map(as_base));
        Self { name, family, paper, settings, routes: true, lookup: Lookup::Recursive, factory }
    }

    /// Makes lookups iterative unless a user says otherwise.
    #[must_use]
    pub fn iterative(mut self) -> Self {
        self.lookup = Lookup::Iterative;
        self.settings.retain(|setting| !Overlay::settings().iter().any(|lookup| lookup.key == setting.key));
        self.with_lookups()
    }

    fn with_lookups(mut self) -> Self {
        let default = if self.lookup == Lookup::Iterative { "iterative" } else { "recursive" };
        let with_default = |setting| if setting == LOOKUP { Setting { default, ..setting } } else { setting };
        let settings = Overlay::settings().into_iter().map(with_default).filter(|_| self.routes);
        self.settings.extend(settings);
        self
    }

    /// What may be set, and to what it is set by default.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

/// A configuration made of those settings that it knows, which are taken out.
fn configure<C: Configure>(pairs: &mut Pairs<'_>) -> Result<C, SettingError> {
    let mut config = C::default();
    apply(&mut config, pairs)?;
    Ok(config)
}

fn apply<C: Configure>(config: &mut C, pairs: &mut Pairs<'_>) -> Result<(), SettingError> {
    let mut others = Vec::new();
    for (key, value) in pairs.drain(..) {
        match config.set(key, value) {
            Err(SettingError::Unknown(_)) => others.push((key, value)),
            set => set?,
        }
    }
    *pairs = others;
    Ok(())
}

/// What there is to choose from.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
}

impl Catalog {
    /// A catalog of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All topologies of this crate that were compiled in.
    #[must_use]
    pub fn standard() -> Self {
        Self { entries: standard::entries() }
    }

    /// Adds a topology.
    ///
    /// # Errors
    /// [`CatalogError::Twice`] if there is one of that name.
    pub fn register(&mut self, entry: Entry) -> Result<(), CatalogError> {
        if self.entries.iter().any(|known| known.name == entry.name) {
            return Err(CatalogError::Twice(entry.name.into()));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Everything there is.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The topology of this name.
    ///
    /// # Errors
    /// [`CatalogError::UnknownTopology`], which names the nearest there is.
    pub fn entry(&self, name: &str) -> Result<&Entry, CatalogError> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| CatalogError::UnknownTopology {
            name: name.into(),
            nearest: nearest(name, self.entries.iter().map(|entry| entry.name)),
        })
    }

    /// Builds one node's part of a topology. Of two settings of one key the later one counts.
    ///
    /// # Errors
    /// Every variant of [`CatalogError`] but [`Twice`](CatalogError::Twice).
    pub fn build<K: AsRef<str>, V: AsRef<str>>(
        &self,
        name: &str,
        settings: &[(K, V)],
        place: Place,
    ) -> Result<Built, CatalogError> {
        let mut pairs: Pairs<'_> = settings.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        let mut known = Vec::new();
        let (topology, lookup) = self.assemble(name, &mut pairs, place, &mut known)?;
        let mut settings = Overlay { lookup, ..Overlay::default() };
        if topology.powers().routes {
            apply(&mut settings, &mut pairs)?;
            known.extend(Overlay::settings().iter().map(|setting| setting.key));
        }
        refuse_rest(name, &pairs, &known)?;
        Ok(Built { topology, settings })
    }

    /// Builds a topology and what it stands on. Says how lookups go by default, and which settings were known.
    fn assemble(
        &self,
        name: &str,
        pairs: &mut Pairs<'_>,
        place: Place,
        known: &mut Vec<&'static str>,
    ) -> Result<(Boxed, Lookup), CatalogError> {
        let entry = self.entry(name)?;
        known.extend(entry.settings.iter().map(|setting| setting.key));
        match entry.factory {
            Factory::Alone(build) => Ok((build(pairs, place)?, entry.lookup)),
            Factory::OnBase(default, build) => {
                let name = take(pairs, "base").unwrap_or(default);
                let base = self.entry(name)?;
                if !base.can_carry() {
                    return Err(CatalogError::NoBase { topology: entry.name.into(), base: name.into() });
                }
                let mut own: Pairs<'_> = pairs.extract_if(.., |(key, _)| entry.sets(key)).collect();
                let (base, lookup) = self.assemble(name, pairs, place, known)?;
                let topology = build(&mut own, place, base)?;
                pairs.append(&mut own);
                Ok((topology, lookup))
            }
        }
    }
}

impl Entry {
    /// Whether another topology can stand on it.
    fn can_carry(&self) -> bool {
        self.routes && matches!(self.factory, Factory::Alone(_))
    }

    fn sets(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == key)
    }
}

/// Takes a setting out; the last one, where there are several.
fn take<'a>(pairs: &mut Pairs<'a>, key: &str) -> Option<&'a str> {
    pairs.extract_if(.., |(known, _)| *known == key).map(|(_, value)| value).last()
}

/// What nobody took out was a mistake.
fn refuse_rest(topology: &str, rest: &Pairs<'_>, known: &[&'static str]) -> Result<(), CatalogError> {
    match rest.first() {
        None => Ok(()),
        Some((key, _)) => Err(CatalogError::UnknownSetting {
            topology: topology.into(),
            key: (*key).into(),
            nearest: nearest(key, known.iter().copied()),
        }),
    }
}

#[cfg(test)]
mod tests;
