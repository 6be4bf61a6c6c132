//! Writes a node's event log.

use std::fmt;
use std::io::{BufWriter, Write};

use crate::Time;
use crate::engine::log::{self, Entry};
use crate::engine::{Input, Output};
use crate::topology::erased::Boxed;

/// Where a node's event log goes.
pub(super) struct Log {
    to: BufWriter<Box<dyn Write + Send>>,
    scratch: Vec<u8>,
    broken: bool,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    pub(super) fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to: BufWriter::new(to), scratch: Vec::new(), broken: false }
    }

    pub(super) fn note(&mut self, entry: &Entry<Boxed>) {
        self.scratch.clear();
        log::append(entry, &mut self.scratch);
        self.written(|to, bytes| to.write_all(bytes));
    }

    /// Notes an input, and gives it back.
    pub(super) fn input(&mut self, now: Time, input: Input<Boxed>) -> Input<Boxed> {
        let undone = log::undone(&input);
        let entry = Entry::Input(now, input, undone);
        self.note(&entry);
        let Entry::Input(_, input, _) = entry else { unreachable!("it was made above") };
        input
    }

    pub(super) fn output(&mut self, output: &Output<Boxed>) {
        self.note(&Entry::Output(log::output(output)));
    }

    pub(super) fn end(&mut self) {
        self.written(|to, _| to.flush());
    }

    /// A log with a gap is worth nothing: after the first failure nothing more is written.
    fn written(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write + Send>>, &[u8]) -> std::io::Result<()>) {
        if self.broken {
            return;
        }
        if let Err(error) = write(&mut self.to, &self.scratch) {
            tracing::warn!(%error, "the event log ends here");
            self.broken = true;
        }
    }
}
