//! A record stored at, or fetched from, the replica set of its key: quorums, and read repair.

use bytes::Bytes;

use crate::engine::calls::Waits;
use crate::engine::desk::Desk;
use crate::engine::io::{Failure, Outcome};
use crate::engine::lookup::Asker;
use crate::engine::turn::Todo;
use crate::record::{Caches, GetOptions, Quorum, Receipt, Record, RecordError, Source};
use crate::topology::Topology;
use crate::topology::event::Ticket;
use crate::topology::question::{Lane, Target};
use crate::wire::frame::Body;
use crate::{Guid, Key};

/// How many records one fetch sends to replicas that lack them: those of a key with one publisher, and more.
const MAX_REPAIRS: usize = 16;

/// What is wanted of the replicas.
#[derive(Debug)]
pub(super) enum Wish {
    Store(Box<Record>),
    Fetch,
}

/// What a replica answered, if anything.
#[derive(Debug)]
pub(in crate::engine) enum Answered {
    Receipt(Receipt),
    Records(Vec<Record>),
    Nothing,
}

/// A record being stored or fetched. Who waits for it is told as soon as the outcome is certain; it goes on until the
/// last replica answered or will not.
#[derive(Debug)]
pub(super) struct Operation {
    ticket: Option<Ticket>,
    key: Key,
    quorum: Quorum,
    wish: Wish,
    /// How many replicas were asked, have not answered, answered as was wished, and refused why.
    asked: usize,
    open: usize,
    good: usize,
    older: usize,
    full: usize,
    /// Who is asked next instead of a replica that is full or has nothing, the last one first.
    spare: Vec<Guid>,
    /// The newest of each publisher.
    records: Vec<Record>,
    /// Who hung up on the question, and was asked again.
    hung_up: Vec<Guid>,
    /// Who answered with what.
    answers: Vec<(Guid, Vec<Record>)>,
}

impl Operation {
    pub(super) fn new(ticket: Option<Ticket>, key: Key, quorum: Quorum, wish: Wish) -> Self {
        let (asked, open, good, older, full) = Default::default();
        let (spare, records, hung_up, answers) = Default::default();
        Self { ticket, key, quorum, wish, asked, open, good, older, full, spare, records, hung_up, answers }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The same with one question under way, to nobody in particular.
    pub(super) fn seeking(self) -> Self {
        Self { asked: 1, open: 1, ..self }
    }

    /// The same with nobody asked.
    pub(super) fn anew(self) -> Self {
        Self { asked: 0, open: 0, ..self }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    fn needed(&self) -> usize {
        self.quorum.of(self.asked)
    }

    /// How it ends, as things stand.
    fn outcome(&self) -> Outcome {
        let (reached, wanted) = (self.good, self.needed());
        match &self.wish {
            _ if self.good + self.older + self.full == 0 => Outcome::Failed(Failure::Timeout),
            Wish::Store(_) if self.older >= wanted => Outcome::Failed(Failure::Older),
            Wish::Store(_) if self.full >= wanted => Outcome::Failed(Failure::Full),
            _ if reached < wanted => Outcome::Failed(Failure::Quorum { reached, wanted }),
            Wish::Store(_) => Outcome::Stored { replicas: self.good },
            Wish::Fetch => Outcome::Records { records: self.records.clone(), source: Source::Replicas(self.good) },
        }
    }
}

impl<T: Topology> Desk<'_, T> {
    /// Fetches the records under a key.
    pub(in crate::engine) fn get(&mut self, topology: &mut T, ticket: Ticket, key: Key, options: &GetOptions) {
        if !self.state.powers.routes {
            return self.done(ticket, Outcome::Failed(Failure::NotSupported));
        }
        let operation = Operation::new(Some(ticket), key, options.quorum, Wish::Fetch);
        match options.caches {
            Caches::Bypass => self.operate(operation),
            Caches::Allow => self.fetch_on_the_way(topology, operation),
        }
    }

    pub(super) fn tell_found_on_the_way(&mut self, operation: &Operation, records: Vec<Record>) {
        if let Some(ticket) = operation.ticket {
            self.done(ticket, Outcome::Records { records, source: Source::Way });
        }
        self.tidy_records();
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        if self.records().operations.len() >= self.state.settings.pending {
            if let Some(ticket) = operation.ticket {
                self.done(ticket, Outcome::Failed(Failure::TooMany));
            }
            return;
        }
        let (slot, n) = (self.slot(), self.state.settings.replicas + self.state.settings.spill);
        let to = Target::Key(operation.key);
        let id = self.state.next_id();
        self.records().operations.insert(id, operation);
        let asker = Asker::Record { operation: id };
        self.ws.todo.push_back(Todo::Lookup { slot, asker, lane: Lane::TOP, to, n, via: None });
    }

    fn operation(&mut self, id: u32) -> Option<&mut Operation> {
        self.state.records.as_mut()?.operations.get_mut(&id)
    }

    /// The replica set of an operation's key is known.
    pub(in crate::engine) fn record_found(&mut self, id: u32, peers: &[Guid]) {
        let (me, replicas) = (self.node.me, self.state.settings.replicas);
        let Some(operation) = self.operation(id) else { return };
        operation.asked = peers.len().min(replicas);
        operation.open = operation.asked;
        operation.spare = peers.iter().skip(replicas).rev().copied().collect();
        if peers.is_empty() {
            return self.end_operation(id, Some(Failure::Unreachable));
        }
        let led = matches!(operation.wish, Wish::Store(_)).then_some(operation.key).filter(|_| peers[0] == me);
        for &peer in peers.iter().take(replicas) {
            self.ask_one(id, peer);
        }
        if let Some(key) = led {
            self.leads(&key);
        }
    }

    /// Asks the next one beyond the replica set, where somebody is full or has nothing.
    fn ask_spare(&mut self, id: u32) {
        if let Some(spare) = self.operation(id).and_then(|operation| operation.spare.pop()) {
            self.ask_one(id, spare);
        }
    }

    fn ask_one(&mut self, id: u32, peer: Guid) {
        if peer == self.node.me {
            self.ask_myself(id);
        } else {
            self.ask_replica(id, peer);
        }
    }

    /// This node is a replica itself, or even the owner.
    fn ask_myself(&mut self, id: u32) {
        let me = self.node.me;
        let Some(operation) = self.operation(id) else { return };
        let key = operation.key;
        let answer = match &operation.wish {
            Wish::Store(record) => {
                let record = (**record).clone();
                Answered::Receipt(self.keep(me, record))
            }
            Wish::Fetch => Answered::Records(self.kept(&key)),
        };
        self.record_step(id, me, answer);
    }

    fn ask_replica(&mut self, id: u32, peer: Guid) {
        let Some(operation) = self.operation(id) else { return };
        let (key, waits) = (operation.key, Waits::Record { operation: id });
        match &operation.wish {
            Wish::Store(record) => {
                let record = record.clone();
                self.ask(peer, waits, None, Bytes::new(), |id| Body::Store { id, record });
            }
            Wish::Fetch => self.ask(peer, waits, None, Bytes::new(), |id| Body::Fetch { id, key }),
        }
    }

    /// A replica hung up on a question, and may never have read it: it is asked again, once. Whether this was such a
    /// question.
    pub(in crate::engine) fn replica_hung_up(&mut self, question: u32, peer: &Guid) -> bool {
        let Some(waits) = self.state.questions.get(question).map(|pending| pending.waits) else { return false };
        match waits {
            Waits::Record { operation } => {
                let again = self.operation(operation).filter(|operation| !operation.hung_up.contains(peer));
                let Some(again) = again else { return false };
                again.hung_up.push(*peer);
                self.forget(question);
                self.ask_replica(operation, *peer);
            }
            Waits::Offer { offer } => {
                self.forget(question);
                self.offer_failed(offer, None);
            }
            _ => return false,
        }
        true
    }

    /// One replica answered, or will not.
    pub(in crate::engine) fn record_step(&mut self, id: u32, from: Guid, answer: Answered) {
        let Some(operation) = self.operation(id) else { return };
        match &answer {
            Answered::Receipt(Receipt::Full) if !operation.spare.is_empty() => return self.ask_spare(id),
            Answered::Records(none) if none.is_empty() && operation.records.is_empty() => {
                operation.open += usize::from(!operation.spare.is_empty());
                self.ask_spare(id);
            }
            _ => {}
        }
        let Some(operation) = self.operation(id) else { return };
        operation.open = operation.open.saturating_sub(1);
        match answer {
            Answered::Nothing | Answered::Receipt(Receipt::Refused) => {}
            Answered::Receipt(Receipt::Kept) => operation.good += 1,
            Answered::Receipt(Receipt::Older) => operation.older += 1,
            Answered::Receipt(Receipt::Full) => operation.full += 1,
            Answered::Records(records) => {
                operation.good += 1;
                self.fetched(id, from, records);
            }
        }
        let Some(operation) = self.operation(id) else { return };
        let read = matches!(operation.wish, Wish::Fetch) && !operation.records.is_empty();
        if operation.open == 0 {
            self.end_operation(id, None);
        } else if read && operation.good >= operation.needed() {
            let outcome = operation.outcome();
            if let Some(ticket) = operation.ticket.take() {
                self.done(ticket, outcome);
            }
        }
    }

    /// Believes nothing that is not signed, and remembers who holds what.
    fn fetched(&mut self, id: u32, from: Guid, mut records: Vec<Record>) {
        // Each costs a signature check: a replica holds no more than this under one key.
        let per_key = self.state.settings.records_per_key;
        records.truncate(per_key);
        let mut lied = false;
        for record in &records {
            let Some(operation) = self.operation(id) else { return };
            if operation.records.contains(record) {
                continue;
            }
            let belongs = record.key == operation.key;
            let known = operation.records.iter().position(|known| known.publisher == record.publisher);
            let news = known.is_none_or(|at| record.supersedes(&operation.records[at]));
            if !news || known.is_none() && operation.records.len() >= 4 * per_key {
                continue;
            }
            let checked = record.verify(&*self.node.verifier, self.now);
            if !belongs || checked == Err(RecordError::BadSignature) {
                lied = true;
                self.state.metrics.refused.forged += 1;
            } else if checked.is_ok()
                && let Some(operation) = self.operation(id)
            {
                match known {
                    Some(at) => operation.records[at] = record.clone(),
                    None => operation.records.push(record.clone()),
                }
            }
        }
        if lied {
            self.blame(from, "records that nobody signed");
        } else if let Some(operation) = self.operation(id) {
            operation.answers.push((from, records));
        }
    }

    /// Ends an operation: whoever waits is told, and replicas that showed an older record or none get the newest.
    pub(super) fn end_operation(&mut self, id: u32, failure: Option<Failure>) {
        let operation = self.state.records.as_mut().and_then(|records| records.operations.remove(&id));
        let Some(mut operation) = operation else { return };
        if let Some(ticket) = operation.ticket.take() {
            self.done(ticket, failure.map_or_else(|| operation.outcome(), Outcome::Failed));
        }
        if operation.older > 0 && operation.older >= operation.needed() {
            // It would be refused every time.
            self.withdraw(&operation.key);
        }
        if matches!(operation.wish, Wish::Store(_)) && operation.good + operation.older + operation.full == 0 {
            self.try_own_again(operation.key);
        }
        self.repair(&operation);
        self.tidy_records();
    }

    fn repair(&mut self, operation: &Operation) {
        let (me, per_key) = (self.node.me, self.state.settings.records_per_key);
        let mut left = MAX_REPAIRS;
        for (peer, held) in &operation.answers {
            let lacks = |newest: &&Record| {
                let own = held.iter().find(|held| held.publisher == newest.publisher);
                own.map_or(held.len() < per_key, |own| newest.supersedes(own))
            };
            for newest in operation.records.iter().filter(lacks).take(left) {
                left -= 1;
                if *peer == me {
                    self.keep(me, newest.clone());
                } else {
                    let body = Body::Store { id: 0, record: Box::new(newest.clone()) };
                    self.send_or_drop(*peer, body, Bytes::new());
                }
            }
        }
    }
}
