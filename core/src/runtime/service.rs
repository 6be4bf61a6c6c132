//! Application handlers, registered under a name on an overlay.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::driver::{Mail, Mailbox};
use crate::engine::Slot;
use crate::engine::io::{Command, Input, Responder};
use crate::wire::frame::Status;
use crate::{Guid, Key};

/// How many messages wait for one service; what its senders' credit allows is usually less.
pub(super) const SERVICE_QUEUE: usize = 4096;
/// How many requests one service works on at once.
const SERVICE_PARALLEL: usize = 256;

/// The number of a service on the wire.
#[must_use]
pub fn number(name: &str) -> u32 {
    let key = Key::of(name.as_bytes());
    u32::from_le_bytes([key.0[0], key.0[1], key.0[2], key.0[3]])
}

/// A message for a service.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who sent it. Proven if it came straight, claimed if it came along a route.
    pub from: Guid,
    /// What it says.
    pub payload: Bytes,
}

/// A service could not answer; the text goes back to whoever asked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// An application's handler. Requests run beside each other up to a bound; what waits takes the sender's credit, so
/// a slow service slows those who use it and nobody else.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers a request.
    ///
    /// # Errors
    /// What went wrong, for whoever asked.
    async fn request(&self, request: Request) -> Result<Bytes, ServiceError>;

    /// Takes a message that is not answered.
    async fn notice(&self, notice: Request) {
        let _ = self.request(notice).await;
    }
}

#[async_trait]
impl<F> Service for F
where
    F: Fn(Request) -> Result<Bytes, ServiceError> + Send + Sync + 'static,
{
    async fn request(&self, request: Request) -> Result<Bytes, ServiceError> {
        self(request)
    }
}

/// One message on its way to a service.
pub(super) struct Work {
    pub(super) request: Request,
    pub(super) charge: Guid,
    pub(super) bytes: u32,
    pub(super) respond: Option<Responder>,
}

async fn work(
    service: &dyn Service,
    slot: Slot,
    work: Work,
) -> (Input<crate::topology::erased::Boxed>, Input<crate::topology::erased::Boxed>) {
    let Work { request, charge, bytes, respond } = work;
    let response = match respond {
        None => {
            service.notice(request).await;
            None
        }
        Some(to) => Some((to, service.request(request).await)),
    };
    let consumed = Input::Command(slot, Command::Consumed { peer: charge, bytes });
    let response = response.map(|(to, answer)| {
        let (status, payload) = match answer {
            Ok(payload) => (Status::Good, payload),
            Err(ServiceError(why)) => (Status::Failed, Bytes::from(why)),
        };
        Input::Command(slot, Command::Respond { to, status, payload })
    });
    match response {
        Some(response) => (response, consumed),
        None => (Input::Command(slot, Command::Consumed { peer: charge, bytes: 0 }), consumed),
    }
}

/// The task of one service: ends when it is unregistered.
pub(super) async fn run(service: Arc<dyn Service>, slot: Slot, mut queue: mpsc::Receiver<Work>, mailbox: Mailbox) {
    let mut running = FuturesUnordered::new();
    let mut batch = Vec::new();
    loop {
        let room = SERVICE_PARALLEL - running.len();
        let mut done = Vec::new();
        tokio::select! {
            biased;
            Some((response, consumed)) = running.next(), if !running.is_empty() => {
                done.push(response);
                done.push(consumed);
            }
            got = queue.recv_many(&mut batch, room), if room > 0 => {
                if got == 0 {
                    break;
                }
                running.extend(batch.drain(..).map(|item| work(&*service, slot, item)));
            }
        }
        // Whatever else is ready goes along.
        while let Some(Some((response, consumed))) = futures_util::FutureExt::now_or_never(running.next()) {
            done.push(response);
            done.push(consumed);
        }
        if !done.is_empty() && mailbox.send(Mail::Inputs(done)).await.is_err() {
            break;
        }
    }
}
