//! From a name to a type: for the simulator, which runs a topology as it is, and looks at it as a [`Model`].

use polymorph_core::engine::settings::Overlay;
use polymorph_core::topology::model::Model;

use super::{Catalog, CatalogError, Pairs, apply, configure, refuse_rest};
use crate::setting::Configure;

/// What is done with a topology, whichever it turns out to be.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it, with the topology's configuration and the settings of its overlay.
    fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> Self::Output;
}

/// Finds one of this crate's topologies by name, and its configuration by settings.
///
/// # Errors
/// As [`Catalog::build`].
pub fn visit<K: AsRef<str>, V: AsRef<str>, D: Visitor>(
    name: &str,
    settings: &[(K, V)],
    visitor: D,
) -> Result<D::Output, CatalogError> {
    let catalog = Catalog::standard();
    let pairs: Pairs<'_> = settings.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    let known = catalog.entry(name)?.settings().iter().map(|setting| setting.key).collect();
    let wish = Wish { catalog: &catalog, name, pairs, known };
    match name {
        #[cfg(feature = "scribe")]
        "scribe" => wish.on_base::<crate::tree::scribe::Scribe, D>(visitor),
        alone => wish.alone(alone, visitor),
    }
}

/// What a user wrote, while it is worked off.
struct Wish<'a> {
    catalog: &'a Catalog,
    name: &'a str,
    pairs: Pairs<'a>,
    known: Vec<&'static str>,
}

impl Wish<'_> {
    /// A topology that stands on its own.
    fn alone<D: Visitor>(self, name: &str, visitor: D) -> Result<D::Output, CatalogError> {
        match name {
            #[cfg(feature = "full-mesh")]
            "full-mesh" => self.grant::<crate::mesh::full_mesh::FullMesh, D>(name, visitor),
            #[cfg(feature = "chord")]
            "chord" => self.grant::<crate::ring::chord::Chord, D>(name, visitor),
            #[cfg(feature = "kademlia")]
            "kademlia" => self.grant::<crate::ring::kademlia::Kademlia, D>(name, visitor),
            #[cfg(feature = "pastry")]
            "pastry" => self.grant::<crate::ring::pastry::Pastry, D>(name, visitor),
            #[cfg(feature = "tapestry")]
            "tapestry" => self.grant::<crate::ring::tapestry::Tapestry, D>(name, visitor),
            #[cfg(feature = "symphony")]
            "symphony" => self.grant::<crate::ring::symphony::Symphony, D>(name, visitor),
            #[cfg(feature = "one-hop")]
            "one-hop" => self.grant::<crate::ring::one_hop::OneHop, D>(name, visitor),
            #[cfg(feature = "hyparview-plumtree")]
            "hyparview-plumtree" => self.grant::<crate::mesh::HyParViewPlumtree, D>(name, visitor),
            #[cfg(feature = "polyring")]
            "polyring" => self.grant::<crate::hybrid::polyring::Polyring, D>(name, visitor),
            _ => Err(CatalogError::UnknownTopology { name: name.into(), nearest: None }),
        }
    }

    fn grant<T: Model<Config: Configure>, D: Visitor>(
        mut self,
        name: &str,
        visitor: D,
    ) -> Result<D::Output, CatalogError> {
        let config = configure::<T::Config>(&mut self.pairs)?;
        let entry = self.catalog.entry(name)?;
        let mut overlay = Overlay { lookup: entry.lookup, ..Overlay::default() };
        if entry.routes {
            apply(&mut overlay, &mut self.pairs)?;
        }
        refuse_rest(self.name, &self.pairs, &self.known)?;
        Ok(visitor.visit::<T>(config, overlay))
    }
}

/// Topologies that stand on another one of the user's choice.
#[cfg(feature = "scribe")]
mod on_base {
    use core::marker::PhantomData;

    use polymorph_core::topology::layer::Layer;

    use super::super::{Factory, take};
    use super::{CatalogError, Configure, Model, Overlay, Visitor, Wish, configure};

    impl Wish<'_> {
        /// Finds the base first, then puts the upper topology on it.
        pub(super) fn on_base<U: Model<Config: Configure>, D: Visitor>(
            mut self,
            visitor: D,
        ) -> Result<D::Output, CatalogError> {
            let entry = self.catalog.entry(self.name)?;
            let Factory::OnBase(default, _) = entry.factory else { return self.alone(entry.name, visitor) };
            let name = take(&mut self.pairs, "base").unwrap_or(default);
            let base = self.catalog.entry(name)?;
            if !base.can_carry() {
                return Err(CatalogError::NoBase { topology: self.name.into(), base: name.into() });
            }
            let upper = configure::<U::Config>(&mut self.pairs)?;
            self.known.extend(base.settings().iter().map(|setting| setting.key));
            self.alone(name, OnBase::<U, D> { upper, visitor, of: PhantomData })
        }
    }

    /// Waits for the type of the base, to put the upper topology on it.
    struct OnBase<U: Model, D> {
        upper: U::Config,
        visitor: D,
        of: PhantomData<U>,
    }

    impl<U: Model, D: Visitor> Visitor for OnBase<U, D> {
        type Output = D::Output;
        fn visit<B: Model>(self, base: B::Config, overlay: Overlay) -> D::Output {
            self.visitor.visit::<Layer<U, B>>((self.upper, base), overlay)
        }
    }
}
