//! Fetching a package: its manifest, then every item.

use super::{MAX_MANIFEST_BYTES, Package, PackageError};
use crate::blob::Hash;
use crate::fetch::{FetchError, Fetched, Fetcher, Length};

/// Why a package could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchPackageError {
    /// A blob could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What the content root names is no package.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Fetches the package `root` and all its items into the fetcher's store. What is here already, from an earlier
/// fetch that was cut short for instance, is not fetched again. Dropping the future stops the fetch.
///
/// # Errors
/// Any [`FetchPackageError`].
pub async fn fetch_package(fetcher: &mut Fetcher, root: Hash) -> Result<(Package, Fetched), FetchPackageError> {
    let mut sum = fetcher.blob(root, Length::AtMost(MAX_MANIFEST_BYTES)).await?;
    let bytes = fetcher.store().read(root, MAX_MANIFEST_BYTES).await.map_err(FetchError::from)?;
    let package = Package::decode(&bytes)?;
    fetcher.expect(package.length());
    for item in package.items() {
        sum.add(fetcher.blob(item.hash, Length::Known(item.length)).await?);
    }
    Ok((package, sum))
}
