//! `attach` and `detach`: change which overlays a running node takes part in.

use clap::Args;

use super::Ended;
use super::look::{ask, text};
use crate::cli::Common;
use crate::control::Request;
use crate::interrupt::Interrupt;

/// What to attach.
#[derive(Args, Debug)]
pub(crate) struct Attach {
    /// The overlay; it is joined through the contacts the node was started with
    #[arg(value_name = "NAME=TOPOLOGY[,key=value…]")]
    overlay: String,
}

/// What to detach.
#[derive(Args, Debug)]
pub(crate) struct Detach {
    /// The overlay's name
    #[arg(value_name = "NAME")]
    overlay: String,
}

/// Attaches an overlay.
pub(crate) async fn attach(arguments: Attach, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let request = Request::Attach { overlay: arguments.overlay };
    ask(common, interrupt, &request, |line| format!("attached {}", text(line, "overlay"))).await
}

/// Detaches an overlay, leaving it in good order.
pub(crate) async fn detach(arguments: Detach, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let request = Request::Detach { overlay: arguments.overlay };
    ask(common, interrupt, &request, |line| format!("detached {}", text(line, "overlay"))).await
}
