//! Overlays whose topology is chosen by name at run time.

use polymorph_core::overlay::BadName;
use polymorph_core::runtime::OverlaySpec;
use polymorph_core::{Admission, Guid, OverlayName, Place};
use polymorph_topologies::catalog::{Built, Catalog, CatalogError};

/// Why an overlay cannot be had by name.
#[derive(Debug, thiserror::Error)]
pub enum ByNameError {
    /// The overlay's own name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The topology's name or settings.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// An open overlay `name` whose topology is `topology` from the standard catalog, such as `("chord", &[])` or
/// `("scribe", &[("base", "chord")])`, for the node `me`.
///
/// # Errors
/// [`ByNameError`]; an unknown name or setting is answered with the nearest known one.
pub fn overlay(me: Guid, name: &str, topology: &str, settings: &[(&str, &str)]) -> Result<OverlaySpec, ByNameError> {
    let name = OverlayName::new(name, Admission::Open)?;
    let place = Place { overlay: name.id(), me };
    let Built { topology, settings } = Catalog::standard().build(topology, settings, place)?;
    Ok(OverlaySpec::named(name, |_| topology, me)?.settings(settings))
}
