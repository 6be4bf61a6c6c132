//! The one task that turns the engine.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hashbrown::HashMap;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::log::Log;
use super::mail::{Mail, Mailbox, Word};
use super::node::{Introduction, Status};
use super::service::{Done, Work};
use super::session::{self, Out, Wire};
use super::streams::{self, IncomingStream, Named};
use super::transport::{Connection, Dial, Stream};
use crate::engine::io::{Command, ConnId, Dialer, Outcome};
use crate::engine::log::Entry;
use crate::engine::{Engine, Input, Output, Slot, Workspace};
use crate::topology::erased::Boxed;
use crate::topology::question::Hold;
use crate::wire;
use crate::wire::frame::Goodbye;
use crate::wire::frame::Status as ServiceStatus;
use crate::{Guid, Time};

/// How much mail the driver takes at once.
const BATCH: usize = 256;
/// What a buffer of an idle driver may keep room for.
const FEW: usize = 8;
/// How many dials run at once; a burst of QUIC dials loses packets.
const DIALS: usize = 32;

struct Session {
    peer: Guid,
    out: Arc<Out>,
    connection: Arc<dyn Connection>,
    stop: CancellationToken,
}

impl Drop for Session {
    /// Its tasks end with it.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An empty buffer that was used for so many items gives half of what it has back, if it has far more than that. So
/// an idle node keeps nothing of its busiest moment, and a busy one does not ask for memory at every turn.
fn calm<T>(buffer: &mut Vec<T>, used: usize) {
    if buffer.capacity() > FEW && used < buffer.capacity() / 8 {
        buffer.shrink_to(buffer.capacity() / 2);
    }
}

pub(super) struct Driver {
    engine: Engine<Boxed>,
    ws: Workspace<Boxed>,
    mail: mpsc::Receiver<Mail>,
    mailbox: Mailbox,
    clock: Clock,
    dialer: Arc<dyn Dial>,
    dials: Arc<Semaphore>,
    introduction: Introduction,
    conns: u64,
    sessions: HashMap<ConnId, Session>,
    dirty: Vec<ConnId>,
    asked: HashMap<u64, oneshot::Sender<Outcome>>,
    services: HashMap<(Slot, u32), mpsc::Sender<Work>>,
    streams: HashMap<(Slot, u32), mpsc::Sender<IncomingStream>>,
    expected: HashMap<(Guid, u64), oneshot::Sender<Stream>>,
    opening_back: Arc<Semaphore>,
    uses: HashMap<(Slot, Guid), i32>,
    watchers: Vec<(Slot, super::overlay::Watcher)>,
    scratch: Vec<u8>,
    log: Option<Log>,
    stop: CancellationToken,
}

impl Driver {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        engine: Engine<Boxed>,
        ws: Workspace<Boxed>,
        mail: mpsc::Receiver<Mail>,
        mailbox: Mailbox,
        dialer: Arc<dyn Dial>,
        introduction: Introduction,
        log: Option<Log>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            engine,
            ws,
            mail,
            mailbox,
            clock: Clock::new(),
            dialer,
            dials: Arc::new(Semaphore::new(DIALS)),
            introduction,
            conns: 0,
            sessions: HashMap::new(),
            dirty: Vec::new(),
            asked: HashMap::new(),
            services: HashMap::new(),
            streams: HashMap::new(),
            expected: HashMap::new(),
            opening_back: Arc::new(Semaphore::new(streams::OPENING_BACK)),
            uses: HashMap::new(),
            watchers: Vec::new(),
            scratch: Vec::new(),
            log,
            stop,
        }
    }

    /// Turns the engine until the node ends.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        let mut introduce_at = self.introduce();
        let mut asleep = pin!(tokio::time::sleep_until(Instant::now()));
        let goodbye = loop {
            let wake = self.engine.next_wake().unwrap_or(Time::MAX).min(introduce_at);
            let wake = self.clock.instant(wake.min(self.clock.now() + Duration::from_secs(3600)));
            // To wake too early does no harm, and most timers are put off before they are due.
            if asleep.is_elapsed() || wake < asleep.deadline() {
                asleep.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break None,
                _ = self.mail.recv_many(&mut batch, BATCH) => {}
                () = asleep.as_mut() => {}
            }
            let now = self.clock.now();
            let (mut goodbye, taken) = (None, batch.len());
            for mail in batch.drain(..) {
                if let Mail::Shutdown { reply } = mail {
                    goodbye = Some(reply);
                } else {
                    self.take(now, mail);
                }
            }
            if self.engine.next_wake().is_some_and(|at| at <= now) {
                self.feed(now, Input::Wake);
                self.carry_out(now);
            }
            if now >= introduce_at {
                introduce_at = self.introduce();
            }
            self.flush(now);
            calm(&mut batch, taken);
            if goodbye.is_some() {
                break goodbye;
            }
        };
        self.end(goodbye).await;
    }

    /// Signs this node's contact anew; returns when to do so again.
    fn introduce(&mut self) -> Time {
        let now = self.clock.now();
        let (contact, again) = self.introduction.sign(now);
        self.note(|| Entry::Introduced(contact.clone()));
        self.ws.book.introduce(contact);
        again
    }

    /// Says goodbye, and waits until it is written.
    async fn end(mut self, reply: Option<oneshot::Sender<()>>) {
        let now = self.clock.now();
        self.note(|| Entry::Ended(now));
        self.engine.shutdown(now, &mut self.ws);
        self.carry_out(now);
        self.flush(now);
        if let Some(log) = &mut self.log {
            log.end();
        }
        let stops: Vec<CancellationToken> = self.sessions.values().map(|s| s.stop.clone()).collect();
        self.sessions.values().for_each(|s| s.out.close(Goodbye::Leaving));
        if reply.is_some() {
            let all = futures_util::future::join_all(stops.iter().map(CancellationToken::cancelled));
            let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
        }
        self.sessions.clear();
        self.stop.cancel();
        drop(reply);
    }

    /// What goes into the engine goes this way.
    fn feed(&mut self, now: Time, mut input: Input<Boxed>) {
        if let Some(log) = &mut self.log {
            input = log.input(now, input);
        }
        self.engine.handle(now, input, &mut self.ws);
    }

    /// What else is done to it is only noted.
    fn note(&mut self, entry: impl FnOnce() -> Entry<Boxed>) {
        if let Some(log) = &mut self.log {
            log.note(&entry());
        }
    }

    fn input(&mut self, now: Time, input: Input<Boxed>) {
        self.feed(now, input);
        self.carry_out(now);
    }

    fn take(&mut self, now: Time, mail: Mail) {
        match mail {
            Mail::Wire { peer, conn, word } => self.word(now, peer, conn, word),
            Mail::Connected { connection, dialer } => self.connected(now, connection, dialer),
            Mail::DialFailed { peer } => self.input(now, Input::DialFailed { peer }),
            Mail::Expect { peer, number, reply } => {
                self.expected.retain(|_, reply| !reply.is_closed());
                if self.expected.len() < streams::MAX_EXPECTED {
                    self.expected.insert((peer, number), reply);
                }
            }
            Mail::Tell(slot, command) => self.input(now, Input::Command(slot, command)),
            Mail::Served { slot, done } => self.served(now, slot, done),
            Mail::Ask { slot, ticket, command, reply } => {
                self.asked.insert(ticket.0, reply);
                self.input(now, Input::Command(slot, command));
            }
            Mail::Attach { attach, reply } => {
                self.note(|| Entry::Attached(now));
                let attached = self.engine.attach(now, *attach, &mut self.ws);
                self.carry_out(now);
                let _ = reply.send(attached);
            }
            Mail::Detach { slot, reply } => {
                self.note(|| Entry::Detached(now, slot));
                self.engine.detach(now, slot, &mut self.ws);
                self.carry_out(now);
                self.services.retain(|(of, _), _| *of != slot);
                self.streams.retain(|(of, _), _| *of != slot);
                self.watchers.retain(|(of, _)| *of != slot);
                let _ = reply.send(());
            }
            Mail::Serve { slot, service, queue: Some(queue) } => drop(self.services.insert((slot, service), queue)),
            Mail::Serve { slot, service, queue: None } => drop(self.services.remove(&(slot, service))),
            Mail::Streams { slot, service, queue } => drop(self.streams.insert((slot, service), queue)),
            Mail::Watch { slot, watcher } => self.watchers.push((slot, watcher)),
            Mail::Open { slot, peer, reply } => {
                let _ = reply.send(self.open(slot, &peer));
            }
            Mail::Use { slot, peer, more } => self.use_session(now, slot, peer, more),
            Mail::Neighbors { slot, reply } => {
                let metrics = self.engine.metrics(slot).copied().unwrap_or_default();
                let _ = reply.send((self.engine.neighbors(slot), metrics));
            }
            Mail::Snapshot { slot, reply } => {
                let _ = reply.send(self.engine.snapshot(now, slot, &mut *self.ws.book));
            }
            Mail::Status { reply } => {
                let status = Status {
                    sessions: self.sessions.len(),
                    overlays: self.engine.slots().count(),
                    engine_bytes: self.engine.bytes(),
                    dropped: self.engine.dropped(),
                };
                let _ = reply.send(status);
            }
            Mail::Peers { reply } => {
                let _ = reply.send(self.engine.peers());
            }
            Mail::Shutdown { .. } => {}
        }
    }

    fn word(&mut self, now: Time, peer: Guid, conn: ConnId, word: Word) {
        match word {
            Word::Chunk(mut chunk) => self.chunk(now, peer, conn, &mut chunk),
            Word::Garbage => self.input(now, Input::Malformed { peer, conn }),
            Word::Drained(bytes) => self.input(now, Input::Drained { peer, conn, bytes }),
            Word::Stream(named) => self.stream(peer, conn, named),
            Word::Lost => {
                self.sessions.remove(&conn);
                self.input(now, Input::Lost { peer, conn });
            }
        }
    }

    fn stream(&mut self, peer: Guid, conn: ConnId, named: Named) {
        let Named { tag, service, number, stream } = named;
        if service == streams::BACK {
            if let Some(reply) = self.expected.remove(&(peer, number)) {
                let _ = reply.send(stream);
            }
            return;
        }
        let slot = self.sessions.get(&conn).and_then(|_| self.engine.carried(&peer, tag));
        if let Some(queue) = slot.and_then(|slot| self.streams.get(&(slot, service))) {
            // A full queue drops the stream, which tells its opener.
            let _ = queue.try_send(IncomingStream { peer, stream });
        }
    }

    /// A peer that cannot open a stream itself asks for one.
    fn open_back(&self, slot: Slot, work: &Work) -> ServiceStatus {
        let direct = work.request.from == work.charge;
        let asked = streams::asked_back(&work.request.payload).filter(|_| direct);
        let Some((number, service)) = asked else { return ServiceStatus::Failed };
        let queue = self.streams.get(&(slot, service)).cloned();
        let (Some(queue), Some((connection, tag))) = (queue, self.open(slot, &work.charge)) else {
            return ServiceStatus::NoService;
        };
        let (Ok(served), Ok(permit)) = (queue.try_reserve_owned(), self.opening_back.clone().try_acquire_owned())
        else {
            return ServiceStatus::Busy;
        };
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = stop.cancelled() => {}
                opened = streams::open_back(connection, tag, number, served) => if let Err(error) = opened {
                    tracing::debug!(%error, "a stream that a peer asked for cannot be opened");
                }
            }
        });
        ServiceStatus::Good
    }

    fn open(&self, slot: Slot, peer: &Guid) -> Option<(Arc<dyn Connection>, u32)> {
        let (conn, tag) = self.engine.wire(slot, peer)?;
        Some((self.sessions.get(&conn)?.connection.clone(), tag))
    }

    fn use_session(&mut self, now: Time, slot: Slot, peer: Guid, more: i32) {
        let uses = self.uses.entry((slot, peer)).or_default();
        let before = *uses;
        *uses += more;
        let after = *uses;
        if after <= 0 {
            self.uses.remove(&(slot, peer));
        }
        // Every new use asks again: a peer that was lost meanwhile is no longer held.
        if more > 0 || (before > 0) != (after > 0) {
            let hold = (after > 0).then_some(Hold::Required);
            self.input(now, Input::Command(slot, Command::Hold { peer, hold }));
        }
    }

    fn chunk(&mut self, now: Time, peer: Guid, conn: ConnId, chunk: &mut BytesMut) {
        while let Ok(Some(bytes)) = wire::cut(chunk) {
            match wire::decode::<Boxed>(bytes) {
                Ok(frame) => self.feed(now, Input::Frame { peer, conn, frame }),
                Err(_) => self.feed(now, Input::Malformed { peer, conn }),
            }
        }
        self.carry_out(now);
    }

    fn connected(&mut self, now: Time, connection: Arc<dyn Connection>, dialer: Dialer) {
        let Some(control) = connection.take_control() else { return };
        self.conns += 1;
        let (peer, conn) = (connection.peer(), ConnId(self.conns));
        let exporter = connection.exporter();
        let out = Arc::new(Out::default());
        let stop = CancellationToken::new();
        let mailbox = self.mailbox.clone();
        let wire = Wire { peer, conn, connection: connection.clone(), mailbox, stop: stop.clone() };
        session::start(wire, control.recv, control.send, out.clone());
        self.sessions.insert(conn, Session { peer, out, connection, stop });
        self.input(now, Input::Connected { peer, conn, dialer, exporter });
    }

    /// Dials beside everything else; the outcome comes as mail.
    fn dial(&mut self, now: Time, peer: Guid) {
        let Some(contact) = self.ws.book.get(&peer) else {
            // Nobody ever told how to reach it.
            return self.input(now, Input::DialFailed { peer });
        };
        let (dialer, dials) = (self.dialer.clone(), self.dials.clone());
        let (mailbox, stop) = (self.mailbox.clone(), self.stop.clone());
        tokio::spawn(async move {
            let dial = async {
                let _permit = dials.acquire().await.ok()?;
                match dialer.dial(&contact.addresses(), peer).await {
                    Ok(connection) => Some(connection),
                    Err(error) => {
                        tracing::debug!(peer = %peer.short(), %error, "dial failed");
                        None
                    }
                }
            };
            let dialed = tokio::select! {
                () = stop.cancelled() => return,
                dialed = dial => dialed,
            };
            let mail = match dialed {
                Some(connection) => Mail::Connected { connection, dialer: Dialer::Me },
                None => Mail::DialFailed { peer },
            };
            let _ = mailbox.send(mail).await;
        });
    }

    /// Does what the engine asks for.
    fn carry_out(&mut self, now: Time) {
        let mut out = std::mem::take(&mut self.ws.out);
        let done = out.len();
        for output in out.drain(..) {
            if let Some(log) = &mut self.log {
                log.output(&output);
            }
            match output {
                Output::Send { peer, conn, class, frame } => match self.sessions.get(&conn) {
                    Some(session) => {
                        session.out.push(&frame, class, &mut self.scratch);
                        if self.dirty.last() != Some(&conn) {
                            self.dirty.push(conn);
                        }
                    }
                    None => self.feed(now, Input::Undelivered { peer, frame }),
                },
                Output::Dial { peer } => self.dial(now, peer),
                Output::Close { peer, conn, why } => {
                    tracing::debug!(peer = %peer.short(), ?why, "closes a wire");
                    if let Some(session) = self.sessions.get(&conn) {
                        session.out.close(why);
                    }
                }
                Output::Done { ticket, outcome, .. } => {
                    if let Some(reply) = self.asked.remove(&ticket.0) {
                        let _ = reply.send(outcome);
                    }
                }
                Output::Arrived { slot, service, from, charge, class, bytes, respond, payload } => {
                    let request = super::service::Request { from, payload };
                    self.arrived(now, slot, service, Work { request, charge, class, bytes, respond });
                }
                other => self.watchers.retain_mut(|(slot, watcher)| watcher.see(*slot, &other)),
            }
        }
        // Handling may have asked for more.
        if self.ws.out.is_empty() {
            calm(&mut out, done);
            self.ws.out = out;
        } else {
            self.carry_out(now);
        }
    }

    fn arrived(&mut self, now: Time, slot: Slot, service: u32, work: Work) {
        let (done, status) = match self.services.get(&(slot, service)) {
            _ if service == streams::BACK => {
                let status = self.open_back(slot, &work);
                (work, status)
            }
            None => (work, ServiceStatus::NoService),
            Some(queue) => match queue.try_send(work) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(work)) => (work, ServiceStatus::Busy),
                Err(mpsc::error::TrySendError::Closed(work)) => (work, ServiceStatus::NoService),
            },
        };
        let consumed = Command::Consumed { peer: done.charge, class: done.class, bytes: done.bytes };
        self.feed(now, Input::Command(slot, consumed));
        if let Some(to) = done.respond {
            let respond = Command::Respond { to, status, payload: bytes::Bytes::new() };
            self.feed(now, Input::Command(slot, respond));
        }
    }

    /// Sends the answers of a service, and lets those who asked send again.
    fn served(&mut self, now: Time, slot: Slot, done: Vec<Done>) {
        for same in done.chunk_by(|one, next| (one.charge, one.class) == (next.charge, next.class)) {
            let bytes = same.iter().map(|done| done.bytes).fold(0, u32::saturating_add);
            let consumed = Command::Consumed { peer: same[0].charge, class: same[0].class, bytes };
            self.feed(now, Input::Command(slot, consumed));
        }
        for (to, status, payload) in done.into_iter().filter_map(|done| done.answer) {
            let respond = Command::Respond { to, status, payload };
            self.feed(now, Input::Command(slot, respond));
        }
        self.carry_out(now);
    }

    /// Wakes the writers of all wires that got something.
    fn flush(&mut self, now: Time) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            let Some(session) = self.sessions.get(&conn) else { continue };
            let (peer, bytes) = (session.peer, session.out.flush());
            if bytes > 0 {
                self.feed(now, Input::Drained { peer, conn, bytes });
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        if !self.ws.out.is_empty() {
            self.carry_out(now);
            if !self.dirty.is_empty() {
                self.flush(now);
            }
        }
    }
}
