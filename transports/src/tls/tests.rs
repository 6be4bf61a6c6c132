use super::*;
use rustls::{ClientConnection, Connection, ServerConnection};
use std::io::{Read, Write};

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

/// Shakes hands in memory and exchanges one byte, so that tickets arrive.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    peer: Guid,
) -> Result<(Connection, Connection), Error> {
    let client = ClientConnection::new(client.clone(), session_name(Some(peer)))?;
    let mut ends: [Connection; 2] = [client.into(), ServerConnection::new(server.clone())?.into()];
    for round in 0..6 {
        let [client, server] = &mut ends;
        let (from, to) = if round % 2 == 0 { (client, server) } else { (server, client) };
        if !from.is_handshaking() {
            from.writer().write_all(b"x").unwrap();
        }
        let mut wire = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            to.read_tls(&mut wire).unwrap();
            to.process_new_packets()?;
        }
        let _ = to.reader().read(&mut [0; 16]);
    }
    let [client, server] = ends;
    Ok((client, server))
}

fn key_of(connection: &Connection) -> Option<PublicKey> {
    peer_key(connection.peer_certificates())
}

fn resumable(seed: u8) -> Credentials {
    Credentials::new(&identity(seed), Tickets::Kept)
}

#[test]
fn both_sides_learn_the_key_the_other_holds_and_share_an_exporter() {
    let (ours, theirs) = (resumable(1), resumable(2));
    let (client, server) = shake(&ours.client, &theirs.server, identity(2).guid()).unwrap();
    assert_eq!(key_of(&client), Some(identity(2).public_key()));
    assert_eq!(key_of(&server), Some(identity(1).public_key()));
    let export = |end: &Connection, label| end.export_keying_material([0; 32], label, None).unwrap();
    assert_eq!(export(&client, EXPORTER), export(&server, EXPORTER));
    assert_ne!(export(&client, EXPORTER), export(&client, BULK_TOKEN));
}

#[test]
fn a_resumed_session_still_names_the_peer_on_both_sides() {
    let (ours, theirs) = (resumable(1), resumable(2));
    let (first, _) = shake(&ours.client, &theirs.server, identity(2).guid()).unwrap();
    assert_eq!(first.handshake_kind(), Some(rustls::HandshakeKind::Full));
    let (client, server) = shake(&ours.client, &theirs.server, identity(2).guid()).unwrap();
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(key_of(&client), Some(identity(2).public_key()));
    assert_eq!(key_of(&server), Some(identity(1).public_key()));
    let export = |end: &Connection| end.export_keying_material([0; 32], EXPORTER, None).unwrap();
    assert_ne!(export(&client), export(&first));
}

#[test]
fn a_key_without_its_secret_is_refused_on_either_side() {
    let provider = Arc::new(provider());
    // Shows the key of 2, signs with the secret of 3.
    let mut forged = certified(&identity(3));
    forged.cert = certified(&identity(2)).cert;
    let forged = Arc::new(forged);
    let verifier = Arc::new(RawKeys { provider: provider.clone() });
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(forged.clone())));
    client.alpn_protocols = vec![ALPN.to_vec()];
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(forged)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    let honest = resumable(1);
    let bad = Err(Error::InvalidCertificate(CertificateError::BadSignature));
    assert_eq!(shake(&honest.client, &Arc::new(server), identity(2).guid()).map(drop), bad);
    assert_eq!(shake(&Arc::new(client), &honest.server, identity(1).guid()).map(drop), bad);
}

#[test]
fn only_the_exact_form_of_a_sound_ed25519_key_is_taken() {
    let good = certified(&identity(1)).cert[0].to_vec();
    assert_eq!(parse_spki(&good), Ok(identity(1).public_key()));
    assert!(parse_spki(&good[..43]).is_err());
    assert!(parse_spki(&[good.as_slice(), &[0]].concat()).is_err());
    assert!(parse_spki(&[]).is_err());
    for at in 0..SPKI_PREFIX.len() {
        let mut odd = good.clone();
        odd[at] ^= 1;
        assert!(parse_spki(&odd).is_err(), "byte {at}");
    }
    // The neutral element: a valid point for which anybody can sign.
    let mut weak = SPKI_PREFIX.to_vec();
    weak.extend([&[1u8][..], &[0; 31]].concat());
    assert!(parse_spki(&weak).is_err());
}

#[test]
fn no_server_name_goes_on_the_wire() {
    let peer = identity(2).guid();
    let mut client = ClientConnection::new(resumable(1).client, session_name(Some(peer))).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let digits = &peer.to_string().into_bytes()[..16];
    assert!(!hello.windows(16).any(|window| window == digits));
}

#[test]
fn what_both_ends_must_name_alike_stays_as_it_is() {
    assert_eq!(ALPN, b"polymorph/1");
    assert_eq!(EXPORTER, b"EXPORTER-polymorph-1-session");
    #[cfg(any(feature = "tcp", feature = "unix"))]
    assert_eq!(BULK_TOKEN, b"EXPORTER-polymorph-1-bulk");
    let spki: String = certified(&identity(1)).cert[0].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(spki, "302a300506032b65700321008a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c");
}

#[cfg(any(feature = "tcp", feature = "unix"))]
#[test]
fn a_dialer_resumes_with_the_peers_it_met_last_and_no_others() {
    let ours = resumable(1);
    let peers: Vec<u8> = (2..=2 + store::RESUMABLE_PEERS as u8).collect();
    let servers: Vec<Credentials> = peers.iter().map(|peer| resumable(*peer)).collect();
    let kind = |at: usize| {
        let (client, _) = shake(&ours.client, &servers[at].server, identity(peers[at]).guid()).unwrap();
        client.handshake_kind()
    };
    let last = peers.len() - 1;
    assert!((0..=last).all(|at| kind(at) == Some(rustls::HandshakeKind::Full)));
    assert_eq!(kind(1), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(kind(last), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(kind(0), Some(rustls::HandshakeKind::Full), "one peer too many");
}
