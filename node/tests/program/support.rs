//! Running the program and reading what it says.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take on a loaded machine before the test fails; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(150);

/// A folder with the homes and files of one test.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with this home, as JSON.
    pub(crate) fn program(&self, home: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polymorph"));
        command.args(arguments).arg("--json").arg("--home").arg(self.path(home)).current_dir(self.0.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, home: &str, arguments: &[&str]) -> Output {
        finish(self.program(home, arguments))
    }

    /// Runs it to its end, which must be a good one; gives the lines.
    pub(crate) fn lines(&self, home: &str, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(home, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{out}\n{err}", output.status);
        out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    /// Runs it to a failure; gives the exit code and the one line on standard error.
    pub(crate) fn failure(&self, home: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(home, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} did not fail");
        assert!(!error.contains("panicked"), "{error}");
        (output.status.code(), error)
    }

    /// Starts it.
    pub(crate) fn start(&self, home: &str, arguments: &[&str]) -> Running {
        Running::new(self.program(home, arguments))
    }

    /// A file of `mebibytes`, of bytes that follow from `seed` and do not repeat.
    pub(crate) fn file(&self, name: &str, mebibytes: usize, seed: u64) -> PathBuf {
        let mut bytes = vec![0; mebibytes << 20];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _watchdog = Watchdog::over(&child);
    child.wait_with_output().unwrap()
}

pub(crate) fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

/// Ends a process that takes too long, so that whoever reads its output goes on and fails.
struct Watchdog {
    /// Dropped when the process is done.
    _done: SyncSender<()>,
}

impl Watchdog {
    fn over(child: &Child) -> Self {
        let (done, waiting) = sync_channel::<()>(0);
        let process = child.id();
        thread::spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("process {process} takes too long");
                signal(process, "KILL");
            }
        });
        Self { _done: done }
    }
}

fn signal(process: u32, name: &str) {
    Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
}

/// A process that runs. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    _watchdog: Watchdog,
}

impl Running {
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let watchdog = Watchdog::over(&child);
        Self { child, lines, _watchdog: watchdog }
    }

    /// The next line; `None` once the process ended.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
    }

    /// The next line of this event.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.until(|line| line["event"] == name)
    }

    /// The next line that is so.
    pub(crate) fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next().expect("the process ended before it said what was waited for");
            if is_so(&line) {
                return line;
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal and waits for the end; gives the exit code and the rest of the output.
    pub(crate) fn end(mut self, name: &str) -> (Option<i32>, String) {
        signal(self.child.id(), name);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text of an answer.
pub(crate) fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned()
}
