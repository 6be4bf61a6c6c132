//! Named vectors in one committed text file: a name and what stands on the wire, one pair for each line.
//!
//! A vector that no longer comes out as it stands in the file fails with its name. To change one on purpose, run the
//! test once with `POLYMORPH_GOLDEN=write`, and look at the difference before it is committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Set to `write`, the file is written anew.
const SWITCH: &str = "POLYMORPH_GOLDEN";

pub(crate) struct Vectors {
    file: PathBuf,
    held: BTreeMap<String, String>,
    made: BTreeMap<String, String>,
    wrong: Vec<String>,
}

impl Vectors {
    /// The vectors of a crate: the file stands in its folder.
    pub(crate) fn of(folder: &str, file: &str) -> Self {
        let file = Path::new(folder).join(file);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let pairs = lines.map(|line| line.split_once(' ').expect("a name and a value in each line"));
        let held = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { file, held, made: BTreeMap::new(), wrong: Vec::new() }
    }

    /// A word or another text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        let held = self.held.get(name);
        if held.is_some_and(|held| held != value) || held.is_none() && !writes() {
            let held = held.map_or("nothing", |held| held);
            self.wrong.push(format!("golden vector {name} is {value}, and the file holds {held}"));
        }
        let twice = self.made.insert(name.to_owned(), value.to_owned());
        assert!(twice.is_none(), "there are two golden vectors {name}");
    }

    /// Bytes.
    pub(crate) fn bytes(&mut self, name: &str, value: &[u8]) {
        self.text(name, &hex(value));
    }

    /// A value in postcard, there and back.
    pub(crate) fn value<V: Serialize + DeserializeOwned>(&mut self, name: &str, value: &V) {
        let bytes = postcard::to_stdvec(value).expect("it encodes");
        self.bytes(name, &bytes);
        let held = self.held.get(name).and_then(|held| unhex(held)).unwrap_or(bytes);
        let back = match postcard::take_from_bytes::<V>(&held) {
            Ok((back, [])) => postcard::to_stdvec(&back).expect("it encodes"),
            Ok((_, rest)) => return self.wrong.push(format!("golden vector {name} leaves {} bytes", rest.len())),
            Err(why) => return self.wrong.push(format!("golden vector {name} does not decode: {why}")),
        };
        if back != held {
            self.wrong.push(format!("golden vector {name} comes back as {}", hex(&back)));
        }
    }

    /// Every variant of an enum, each under its name. The numbers on the wire follow the order of the list.
    #[allow(dead_code, reason = "not every crate that includes this file sends enums")]
    pub(crate) fn each<V: Serialize + DeserializeOwned>(&mut self, of: &str, variants: &[(&str, V)]) {
        for (at, (name, value)) in variants.iter().enumerate() {
            let name = format!("{of}.{name}");
            let index = postcard::to_stdvec(value).expect("it encodes")[0];
            if usize::from(index) != at {
                self.wrong.push(format!("golden vector {name} has number {index}, and stands at {at}"));
            }
            self.value(&name, value);
        }
    }

    /// Compares with the file, or writes it.
    pub(crate) fn close(self) {
        if writes() {
            let mut text =
                String::from("# Golden vectors: what stands on the wire. See CONTRIBUTING.md before you change one.\n");
            self.made.iter().for_each(|(name, value)| writeln!(text, "{name} {value}").expect("it is a string"));
            std::fs::write(&self.file, text).expect("the golden vectors can be written");
            return;
        }
        let lost = self.held.keys().filter(|name| !self.made.contains_key(*name));
        let lost = lost.map(|name| format!("golden vector {name} has no value any longer"));
        let wrong: Vec<String> = self.wrong.into_iter().chain(lost).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Names a value of every variant. An enum with one variant more does not compile.
macro_rules! every {
    ($of:ty { $($name:literal: $pattern:pat => $value:expr),+ $(,)? }) => {{
        fn name_of(value: &$of) -> &'static str {
            match value { $($pattern => $name,)+ }
        }
        let all: Vec<(&'static str, $of)> = vec![$(($name, $value)),+];
        for (name, value) in &all {
            assert_eq!(name_of(value), *name, "a sample of another variant");
        }
        all
    }};
}
pub(crate) use every;

fn writes() -> bool {
    std::env::var(SWITCH).is_ok_and(|value| value == "write")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
