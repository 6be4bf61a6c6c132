//! `new-topology`: a crate that is a topology already, for its author to change.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::Ended;
use crate::cli::Common;

/// What to make.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The name of the crate
    #[arg(value_name = "NAME", value_parser = crate_name)]
    name: String,
    /// In which folder the crate's own folder is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Where Polymorph is: a checkout's folder or a git URL. The checkout around DIR, or the one this program was built
    /// from, if not given
    #[arg(long, value_name = "SOURCE")]
    polymorph: Option<String>,
}

/// Where each file goes, and what is in it.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("new_topology/manifest.txt")),
    ("README.md", include_str!("new_topology/readme.txt")),
    ("src/lib.rs", include_str!("new_topology/lib.txt")),
    ("tests/laws.rs", include_str!("new_topology/laws.txt")),
    ("examples/simulate.rs", include_str!("new_topology/simulate.txt")),
];

/// Makes the crate: whole, or not at all.
pub(crate) fn run(arguments: &Arguments, common: &Common) -> anyhow::Result<Ended> {
    let Arguments { name, path, polymorph } = arguments;
    let target = path.join(name);
    if target.symlink_metadata().is_ok() {
        bail!("{} is there already; take another name or another --path", target.display());
    }
    let why = || format!("cannot make {}", target.display());
    std::fs::create_dir_all(path).with_context(why)?;
    let source = Source::find(polymorph.as_deref(), path)?;
    let whole = tempfile::Builder::new().prefix(".new-topology-").tempdir_in(path).with_context(why)?;
    let inner = whole.path().join(name);
    for (file, text) in FILES {
        let file = inner.join(file);
        std::fs::create_dir_all(file.parent().unwrap_or(&inner)).with_context(why)?;
        std::fs::write(file, fill(text, name, &source)).with_context(why)?;
    }
    std::fs::rename(&inner, &target).with_context(why)?;
    let human = format!(
        "made {0}; now:\n  cd {0}\n  cargo test\n  cargo run --example simulate -- 100 1 report.html",
        target.display()
    );
    let files: Vec<&str> = FILES.iter().map(|(file, _)| *file).collect();
    common.form().say(human, || json!({ "event": "made", "name": name, "path": target, "files": files }));
    Ok(Ended::Done)
}

fn fill(text: &str, name: &str, source: &Source) -> String {
    let filled = text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"));
    let core = format!("{{ {}, default-features = false }}", source.dependency("core"));
    let sim = format!("{{ {} }}", source.dependency("sim"));
    filled.replace("{{type}}", &type_name(name)).replace("{{core}}", &core).replace("{{sim}}", &sim)
}

/// `my-ring` is `MyRing` as a type; what the files call something else already gets a longer name.
fn type_name(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    let name: String = name.split(['-', '_']).filter(|part| !part.is_empty()).map(word).collect();
    let mut words = FILES.iter().flat_map(|(_, text)| text.split(|c: char| !c.is_alphanumeric()));
    if words.any(|word| word == name) { name + "Topology" } else { name }
}

/// Where a new crate finds Polymorph's own.
enum Source {
    /// A checkout, as the crate's manifest names it.
    Folder(String),
    Git(String),
}

impl Source {
    fn find(given: Option<&str>, path: &Path) -> anyhow::Result<Self> {
        if let Some(given) = given {
            let folder = Path::new(given);
            return match folder.canonicalize() {
                Ok(folder) if is_checkout(&folder) => Self::folder(&folder),
                Ok(_) => {
                    bail!("--polymorph {given} is no checkout of Polymorph; it has no crate polymorph-core in core")
                }
                Err(_) if given.contains("://") || given.contains('@') => Ok(Self::Git(given.into())),
                Err(error) => {
                    Err(error).with_context(|| format!("--polymorph {given} is neither a folder nor a git URL"))
                }
            };
        }
        let path = path.canonicalize().with_context(|| format!("no folder {}", path.display()))?;
        let depth = path.ancestors().position(is_checkout);
        // The crate's own folder is one further down.
        if let Some(depth) = depth {
            return Ok(Self::Folder(vec![".."; depth + 1].join("/")));
        }
        match Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|built| is_checkout(built)) {
            Some(built) => Self::folder(built),
            None => bail!("no checkout of Polymorph was found; name its folder or git URL with --polymorph"),
        }
    }

    fn folder(folder: &Path) -> anyhow::Result<Self> {
        let text = folder.to_str().filter(|text| !text.contains(['"', '\\', '\n']));
        let text = text.with_context(|| format!("a manifest cannot name {}", folder.display()))?;
        Ok(Self::Folder(text.into()))
    }

    fn dependency(&self, part: &str) -> String {
        match self {
            Self::Folder(folder) => format!("path = \"{folder}/{part}\""),
            Self::Git(url) => format!("git = {url:?}"),
        }
    }
}

fn is_checkout(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("core/Cargo.toml"));
    manifest.is_ok_and(|text| text.contains("name = \"polymorph-core\""))
}

/// Words that are no name of a crate: those of the language, and crates that are always there.
const TAKEN: [&str; 49] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "core", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "std", "struct",
    "super", "test", "trait", "true", "try", "type", "while", "yield",
];
/// Longer names are those of nothing.
const MAX_NAME: usize = 64;

fn crate_name(text: &str) -> Result<String, String> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    match text {
        _ if !text.starts_with(|c: char| c.is_ascii_lowercase()) => {
            Err("a crate's name begins with a letter a to z".into())
        }
        _ if !text.chars().all(letters) => Err("a crate's name has letters a to z, digits, - and _ only".into()),
        _ if text.len() > MAX_NAME => Err(format!("a crate's name has at most {MAX_NAME} letters")),
        _ if TAKEN.contains(&text) || text.starts_with("polymorph-") => {
            Err(format!("{text:?} is taken; choose another name"))
        }
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_called_as_its_crate() {
        assert_eq!(type_name("my-ring"), "MyRing");
        assert_eq!(type_name("skip_graph2"), "SkipGraph2");
        assert_eq!(type_name("a--b-"), "AB");
        assert_eq!(type_name("config"), "ConfigTopology");
    }

    #[test]
    fn names_that_cargo_would_refuse_are_refused() {
        for bad in ["", "9lives", "Ring", "my ring", "ring.", "-ring", "match", "test", "polymorph-core", "größe"] {
            assert!(crate_name(bad).is_err(), "{bad:?}");
        }
        assert!(crate_name(&"x".repeat(65)).is_err());
        ["ring", "my-ring", "ring_2"].into_iter().for_each(|good| assert_eq!(crate_name(good).as_deref(), Ok(good)));
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let source = Source::Git("https://example.org/polymorph.git".into());
        for (file, text) in FILES {
            let filled = fill(text, "my-ring", &source);
            assert!(!filled.contains("{{") && !filled.contains("{ {"), "{file}: {filled}");
        }
        let manifest = fill(FILES[0].1, "my-ring", &source);
        assert!(manifest.contains("polymorph-sim = { git = \"https://example.org/polymorph.git\" }"), "{manifest}");
    }
}
