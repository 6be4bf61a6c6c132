//! `grant`: lets a node into an overlay of which this node is the authority.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use data_encoding::HEXLOWER;
use polymorph::Guid;
use polymorph::core::{Grant, Signer, Standing, Time, word};
use serde_json::json;

use super::Ended;
use crate::cli::Common;
use crate::home::Home;
use crate::overlay_text::{GRANT_PREFIX, OverlayText};

/// What to grant.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The name of the overlay
    #[arg(value_name = "OVERLAY")]
    name: String,
    /// The Guid of the node that may take part
    #[arg(value_name = "GUID")]
    subject: String,
    /// For how many days
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// It may ask, but not carry for others
    #[arg(long)]
    client: bool,
}

/// Prints the grant as one word.
pub(crate) fn run(arguments: &Arguments, common: &Common) -> anyhow::Result<Ended> {
    let identity = Home::find(common)?.identity()?;
    let authority = HEXLOWER.encode(&identity.public_key().0);
    let subject: Guid = arguments.subject.parse()?;
    let mut overlay = OverlayText::new(&arguments.name, "");
    overlay.set("authority", &authority)?;
    let lifetime = Duration::from_secs(24 * 3600) * arguments.days;
    let until = SystemTime::now().duration_since(UNIX_EPOCH)? + lifetime;
    let standing = if arguments.client { Standing::Client } else { Standing::Member };
    let grant = Grant::sign(&identity, overlay.full_name()?.id(), subject, standing, Time::from_secs(until.as_secs()));
    let grant = word::encode(GRANT_PREFIX, &postcard::to_stdvec(&grant)?);
    common.form().say(&grant, || json!({ "grant": grant, "authority": authority }));
    Ok(Ended::Done)
}
