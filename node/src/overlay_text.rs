//! Overlays as users write them: `NAME=TOPOLOGY[,key=value…]`.
//!
//! Besides the settings of the topology: `secret=HEX` (64 digits) lets in who knows it, `authority=HEX` (a public
//! key) who has a grant of that key, `grant=WORD` is this node's own grant, `client=yes` asks and carries nothing.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use polymorph::core::{Admission, Grant, OverlayName, Place, PublicKey, word};
use polymorph::topologies::catalog::{Built, Catalog};
use polymorph::{Guid, OverlaySpec};

/// The first letters of a grant's word.
pub(crate) const GRANT_PREFIX: &str = "pmg";
/// How many bytes a topology may have in a link.
const MAX_TAG_BYTES: usize = polymorph::media::link::MAX_NAME_BYTES;

/// An overlay as a user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverlayText {
    pub(crate) name: String,
    pub(crate) topology: String,
    pub(crate) settings: Vec<(String, String)>,
    admission: Admission,
    grant: Option<Grant>,
    pub(crate) client: bool,
}

impl FromStr for OverlayText {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let form = || format!("overlay {text:?} is not NAME=TOPOLOGY[,key=value…]; write find=chord for instance");
        let (name, rest) = text.split_once('=').with_context(form)?;
        let mut parts = rest.split(',').map(str::trim);
        let topology = parts.next().filter(|topology| !topology.is_empty()).with_context(form)?;
        let mut overlay = Self::new(name, topology);
        for part in parts {
            let (key, value) = part.split_once('=').with_context(form)?;
            overlay.set(key.trim(), value.trim())?;
        }
        Ok(overlay)
    }
}

impl OverlayText {
    /// An open overlay with its topology's own settings.
    pub(crate) fn new(name: &str, topology: &str) -> Self {
        let (name, topology) = (name.trim().to_owned(), topology.to_owned());
        Self { name, topology, settings: Vec::new(), admission: Admission::Open, grant: None, client: false }
    }

    /// Sets one thing; settings of the topology are checked when it is built.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        match key {
            "secret" => self.admission = Admission::Secret(hex(key, value)?),
            "authority" => self.admission = Admission::Authority(PublicKey(hex(key, value)?)),
            "grant" => self.grant = Some(read_grant(value)?),
            "client" => {
                self.client = match value {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    _ => bail!("client={value} is no good: client is yes or no"),
                }
            }
            _ => self.settings.push((key.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    /// The name with its door.
    pub(crate) fn full_name(&self) -> anyhow::Result<OverlayName> {
        Ok(OverlayName::new(&self.name, self.admission.clone())?)
    }

    /// What a node attaches.
    pub(crate) fn build(&self, me: Guid) -> anyhow::Result<OverlaySpec> {
        let name = self.full_name()?;
        let place = Place { overlay: name.id(), me };
        let built = Catalog::standard().build(&self.topology, &self.settings, place);
        let Built { topology, settings } = built.with_context(|| format!("overlay {:?}", self.name))?;
        let mut spec = OverlaySpec::named(name, |_| topology, me)?.settings(settings);
        if let Some(grant) = &self.grant {
            spec = spec.grant(grant.clone());
        }
        Ok(if self.client { spec.client() } else { spec })
    }

    /// Topology and settings in one word, without what is secret; the topology alone where that is too long for a
    /// link.
    pub(crate) fn tag(&self) -> String {
        let settings = self.settings.iter().map(|(key, value)| format!(",{key}={value}"));
        let tag = std::iter::once(self.topology.clone()).chain(settings).collect::<String>();
        if tag.len() <= MAX_TAG_BYTES { tag } else { self.topology.clone() }
    }
}

fn hex(key: &str, value: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(value.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.with_context(|| format!("{key} is 64 hexadecimal digits, not {} characters like these", value.len()))
}

/// A grant as a word, or in a file that holds one.
fn read_grant(value: &str) -> anyhow::Result<Grant> {
    let text = match value.starts_with(GRANT_PREFIX) {
        true => value.to_owned(),
        false => std::fs::read_to_string(value).with_context(|| format!("grant={value} cannot be read"))?,
    };
    let bytes =
        word::decode(GRANT_PREFIX, &text).context("the grant has a typo or was cut; copy the whole word again")?;
    let (grant, rest) = postcard::take_from_bytes(&bytes).context("the grant is malformed; ask for a fresh one")?;
    ensure!(rest.is_empty(), "the grant is malformed; ask for a fresh one");
    Ok(grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        let built = text.parse::<OverlayText>().and_then(|overlay| overlay.build(Guid([1; 32])));
        format!("{:#}", built.unwrap_err())
    }

    #[test]
    fn settings_are_told_from_the_door() {
        let secret = "ab".repeat(32);
        let overlay: OverlayText = format!("find=chord,successors=8,secret={secret},client=yes").parse().unwrap();
        assert_eq!((overlay.name.as_str(), overlay.tag().as_str()), ("find", "chord,successors=8"));
        assert_eq!(overlay.admission, Admission::Secret([0xab; 32]));
        assert!(overlay.client && overlay.build(Guid([1; 32])).is_ok());
    }

    #[test]
    fn mistakes_are_answered_with_what_would_be_right() {
        assert!(why("find").contains("NAME=TOPOLOGY"));
        assert!(why("find=").contains("NAME=TOPOLOGY"));
        assert!(why("find=cord").contains("did you mean chord?"));
        assert!(why("find=chord,succesors=8").contains("did you mean successors?"));
        assert!(why("find=chord,successors=no").contains("successors"));
        assert!(why("find=chord,secret=12").contains("64 hexadecimal digits"));
        assert!(why("fi nd=chord").contains("overlay name"));
        assert!(why("find=chord,client=perhaps").contains("yes or no"));
        assert!(why("find=chord,grant=pmgabc").contains("typo"));
    }
}
