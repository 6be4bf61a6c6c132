//! TLS 1.3 with raw ed25519 public keys (RFC 7250), both sides proven: the one way a node shows who it is, over
//! byte streams and QUIC alike. No certificate, no server name, no other version.
//!
//! A handshake accepts *any* sound ed25519 key and reports it; whether it is the peer that was wanted is checked by
//! the caller against the dialed [`Guid`](polymorph_core::Guid). A resumed session carries the key that the full handshake proved.

use std::sync::{Arc, LazyLock};

use polymorph_core::identity::PublicKey;
use polymorph_core::{Guid, Identity, Signer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

#[cfg(any(feature = "tcp", feature = "unix"))]
pub(crate) mod channel;
#[cfg(any(feature = "tcp", feature = "unix"))]
mod store;

/// The protocol both ends must name; another version is another name.
pub(crate) const ALPN: &[u8] = b"polymorph/1";
/// Label of the exporter that memberships are proven against.
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-polymorph-1-session";
/// Label of the exporter that binds bulk connections to their control connection.
#[cfg(any(feature = "tcp", feature = "unix"))]
pub(crate) const BULK_TOKEN: &[u8] = b"EXPORTER-polymorph-1-bulk";

/// Tickets given per handshake. Each opens one bulk connection and every opened one brings the next.
#[cfg(any(feature = "tcp", feature = "unix"))]
const TICKETS: usize = 2;

/// SubjectPublicKeyInfo of an ed25519 key (RFC 8410 §4), up to the 32 bytes of the key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// PKCS #8 of an ed25519 secret (RFC 8410 §7), up to the 32 bytes of the seed.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What a node shakes hands with.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

/// Whether sessions are kept to be resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tickets {
    /// For wires that open a connection per bulk stream.
    #[cfg(any(feature = "tcp", feature = "unix"))]
    Kept,
    /// For wires with streams of their own: one connection per peer, nothing to resume, no memory spent.
    #[cfg(feature = "quic")]
    None,
}

impl Credentials {
    /// # Panics
    /// Never with the ring provider, which has all that is asked of it here.
    pub(crate) fn new(identity: &Identity, tickets: Tickets) -> Self {
        let provider = PROVIDER.clone();
        let key = Arc::new(certified(identity));
        let verifier = Arc::new(RawKeys { provider: provider.clone() });

        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring offers TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.clone())));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_sni = false;

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring offers TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Nothing is kept for a client here, and rustls makes room for 256 of them.
        server.session_storage = Arc::new(NoServerSessionStorage {});

        match tickets {
            #[cfg(any(feature = "tcp", feature = "unix"))]
            Tickets::Kept => {
                client.resumption = Resumption::store(Arc::new(store::Store::default()));
                // Sealed tickets: what can be resumed is kept by the dialer, not by the listener.
                server.ticketer = rustls::crypto::ring::Ticketer::new().expect("ring has randomness");
                server.send_tls13_tickets = TICKETS;
            }
            #[cfg(feature = "quic")]
            Tickets::None => {
                client.resumption = Resumption::disabled();
                server.send_tls13_tickets = 0;
            }
        }
        Self { client: Arc::new(client), server: Arc::new(server) }
    }
}

/// The key a finished handshake proved.
pub(crate) fn peer_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    match certificates {
        Some([key]) => parse_spki(key).ok(),
        _ => None,
    }
}

/// The name under which sessions with a peer are kept. It never goes on the wire.
pub(crate) fn session_name(peer: Option<Guid>) -> ServerName<'static> {
    let name = match peer {
        Some(guid) => {
            // A DNS label has at most 63 bytes, a Guid 64 digits.
            let digits = guid.to_string();
            let (first, second) = digits.split_at(32);
            format!("{first}.{second}")
        }
        None => "anybody".to_owned(),
    };
    ServerName::try_from(name).expect("hexadecimal digits make a name")
}

/// The same for all nodes of a process.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(provider()));

/// AES-GCM first where the processor has it (3–9 times faster), ChaCha20 first elsewhere; X25519 only.
fn provider() -> CryptoProvider {
    let mut cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    if !has_aes() {
        cipher_suites.rotate_right(1);
    }
    let kx_groups = vec![rustls::crypto::ring::kx_group::X25519];
    CryptoProvider { cipher_suites, kx_groups, ..rustls::crypto::ring::default_provider() }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

fn certified(identity: &Identity) -> CertifiedKey {
    let secret = [PKCS8_PREFIX.as_slice(), &identity.seed()].concat();
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret))
        .expect("a 32-byte seed is an ed25519 key");
    let spki = [SPKI_PREFIX.as_slice(), &identity.public_key().0].concat();
    CertifiedKey::new(vec![CertificateDer::from(spki)], key)
}

fn parse_spki(spki: &[u8]) -> Result<PublicKey, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let key = spki.strip_prefix(&SPKI_PREFIX).ok_or_else(bad)?;
    let key = <[u8; 32]>::try_from(key).map_err(|_| bad())?;
    // For a point of small order anybody can sign: no identity at all.
    let point = ed25519_dalek::VerifyingKey::from_bytes(&key).map_err(|_| bad())?;
    if point.is_weak() { Err(bad()) } else { Ok(PublicKey(key)) }
}

/// Accepts whoever holds the secret of a sound ed25519 key, on either side.
#[derive(Debug)]
struct RawKeys {
    provider: Arc<CryptoProvider>,
}

impl RawKeys {
    fn check(key: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !rest.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        parse_spki(key).map(drop)
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for RawKeys {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(key, rest).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(key, rest).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
