//! The report as a file: written beside its place first, and put there only when it is whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use polymorph::sim::page::{Caption, Layout, html};
use polymorph::sim::report::Report;
use polymorph::topologies::catalog::{Catalog, Family};
use serde_json::Value;
use tempfile::NamedTempFile;

/// A page that will be written.
#[derive(Debug)]
pub(super) struct Page {
    path: PathBuf,
    file: NamedTempFile,
}

impl Page {
    /// Makes sure that it can be written.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let why = || format!("cannot write the report {}; name a file in a folder that can be written", path.display());
        if path.is_dir() {
            return Err(anyhow::anyhow!("it is a folder")).with_context(why);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".report-");
        #[cfg(unix)]
        builder.permissions(<std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let file = builder.tempfile_in(folder).with_context(why)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes it, and says where.
    pub(super) fn write(self, report: &Report, figures: &Value) -> anyhow::Result<PathBuf> {
        let Self { path, mut file } = self;
        let why = || format!("cannot write the report {}", path.display());
        let figures = serde_json::to_string_pretty(figures).with_context(why)?;
        let page = html(report, &Caption { command: command(report.seed), figures, layout: layout(&report.topology) });
        file.write_all(page.as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(why)?;
        file.persist(&path).with_context(why)?;
        Ok(path)
    }
}

/// What is laid out by keys is drawn so; other shapes have to be found.
fn layout(topology: &str) -> Layout {
    match Catalog::standard().entry(topology).map(|entry| entry.family) {
        Ok(Family::Mesh | Family::Hybrid) => Layout::Forces,
        _ => Layout::Circle,
    }
}

/// The command as it was given and with its seed, words with blanks in quotes; without the report itself, which another
/// run would overwrite.
fn command(seed: u64) -> String {
    let mut words = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--report" => drop(arguments.next()),
            _ if word.starts_with("--report=") => {}
            _ if word.contains([' ', '"', '\'']) => words.push(format!("{word:?}")),
            _ => words.push(word),
        }
    }
    if !words.iter().any(|word| word.starts_with("--seed")) {
        words.push(format!("--seed {seed}"));
    }
    format!("polymorph {}", words.join(" "))
}
