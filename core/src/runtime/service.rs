//! Application handlers, registered under a name on an overlay.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::mail::{Mail, Mailbox};
use crate::Guid;
use crate::engine::Slot;
use crate::engine::io::{Class, Responder};
use crate::wire::class::FRAME_CHARGE;
use crate::wire::frame::Status;

/// How many messages wait for one service. What bounds them is their senders' credit: as many of the smallest as 128
/// peers may have on the way by default. A queue that is full drops notices, so this one is not to be.
pub(super) const SERVICE_QUEUE: usize = 128 * ((1 << 20) / FRAME_CHARGE as usize);
/// How many requests one service works on at once.
const SERVICE_PARALLEL: usize = 256;

/// The number of a service on the wire: FNV-1a of its name, which is computed for every request.
#[must_use]
pub fn number(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
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
    pub(super) class: Class,
    pub(super) bytes: u32,
    pub(super) respond: Option<Responder>,
}

/// A message a service is done with: its sender may send as much again, and whoever asked gets an answer.
pub(super) struct Done {
    pub(super) charge: Guid,
    pub(super) class: Class,
    pub(super) bytes: u32,
    pub(super) answer: Option<(Responder, Status, Bytes)>,
}

/// A message a service is at work on.
struct Working<'a> {
    charge: Guid,
    class: Class,
    bytes: u32,
    respond: Option<Responder>,
    answer: Pin<Box<dyn Future<Output = Result<Bytes, ServiceError>> + Send + 'a>>,
}

impl<'a> Working<'a> {
    fn start(service: &'a dyn Service, work: Work) -> Self {
        let Work { request, charge, class, bytes, respond } = work;
        let answer = match respond {
            Some(_) => service.request(request),
            None => Box::pin(service.notice(request).map(|()| Ok(Bytes::new()))),
        };
        Self { charge, class, bytes, respond, answer }
    }
}

impl Future for Working<'_> {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        let (status, payload) = match ready!(self.answer.as_mut().poll(cx)) {
            Ok(payload) => (Status::Good, payload),
            Err(ServiceError(why)) => (Status::Failed, Bytes::from(why)),
        };
        let answer = self.respond.take().map(|to| (to, status, payload));
        Poll::Ready(Done { charge: self.charge, class: self.class, bytes: self.bytes, answer })
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
            Some(first) = running.next(), if !running.is_empty() => done.push(first),
            got = queue.recv_many(&mut batch, room), if room > 0 => {
                if got == 0 {
                    break;
                }
                for work in batch.drain(..) {
                    let mut working = Working::start(&*service, work);
                    // Most services answer at once; only those that wait are kept.
                    match (&mut working).now_or_never() {
                        Some(first) => done.push(first),
                        None => running.push(working),
                    }
                }
            }
        }
        // Whatever else is ready goes along.
        while let Some(Some(next)) = running.next().now_or_never() {
            done.push(next);
        }
        if !done.is_empty() && mailbox.send(Mail::Served { slot, done }).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        // FNV's own vectors.
        assert_eq!(number(""), 0x811c_9dc5);
        assert_eq!(number("foobar"), 0xbf9c_f968);
    }
}
