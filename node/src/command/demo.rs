//! `demo`.

use clap::Args;

use super::Ended;
use crate::cli::Common;
use crate::interrupt::Interrupt;

/// How.
#[derive(Args, Debug)]
pub(crate) struct Arguments {}

pub(crate) async fn run(_: Arguments, _: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    interrupt.wait().await;
    Ok(Ended::Done)
}
