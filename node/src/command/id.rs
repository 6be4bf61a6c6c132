//! `id`: who this node is.

use data_encoding::HEXLOWER;
use polymorph::core::Signer;
use serde_json::json;

use super::Ended;
use crate::cli::Common;
use crate::home::Home;

/// Prints the Guid, making the identity if need be.
pub(crate) fn run(common: &Common) -> anyhow::Result<Ended> {
    let identity = Home::find(common)?.identity()?;
    let guid = identity.guid().to_string();
    let public_key = HEXLOWER.encode(&identity.public_key().0);
    common.form().say(&guid, || json!({ "guid": guid, "public_key": public_key }));
    Ok(Ended::Done)
}
