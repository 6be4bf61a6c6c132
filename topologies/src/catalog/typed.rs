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
    let pairs: Pairs<'_> = settings.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    match name {
        #[cfg(feature = "full-mesh")]
        "full-mesh" => call::<crate::mesh::full_mesh::FullMesh, D>(name, pairs, visitor),
        #[cfg(feature = "chord")]
        "chord" => call::<crate::ring::chord::Chord, D>(name, pairs, visitor),
        #[cfg(feature = "kademlia")]
        "kademlia" => call::<crate::ring::kademlia::Kademlia, D>(name, pairs, visitor),
        #[cfg(feature = "hyparview-plumtree")]
        "hyparview-plumtree" => call::<crate::mesh::HyParViewPlumtree, D>(name, pairs, visitor),
        #[cfg(feature = "polyring")]
        "polyring" => call::<crate::hybrid::polyring::Polyring, D>(name, pairs, visitor),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> CatalogError {
    let refused = Catalog::standard().entry(name).map(drop);
    refused.err().unwrap_or_else(|| CatalogError::UnknownTopology { name: name.into(), nearest: None })
}

fn call<T: Model<Config: Configure>, D: Visitor>(
    name: &str,
    mut pairs: Pairs<'_>,
    visitor: D,
) -> Result<D::Output, CatalogError> {
    let config = configure::<T::Config>(&mut pairs)?;
    let catalog = Catalog::standard();
    let entry = catalog.entry(name)?;
    let mut overlay = Overlay { lookup: entry.lookup, ..Overlay::default() };
    if entry.routes {
        apply(&mut overlay, &mut pairs)?;
    }
    let known: Vec<_> = entry.settings.iter().map(|setting| setting.key).collect();
    refuse_rest(name, &pairs, &known)?;
    Ok(visitor.visit::<T>(config, overlay))
}
