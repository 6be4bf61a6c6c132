//! Every transport passes the same rules.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use polymorph_core::runtime::transport::Transport;
use polymorph_core::{Identity, TransportAddress};
use polymorph_transports::conformance::Subject;
use polymorph_transports::memory::Hub;
use polymorph_transports::{Memory, Quic, Tcp, Unix};

struct InMemory(Hub);

impl Subject for InMemory {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Memory::new(identity, &self.0))
    }

    fn address(&self) -> TransportAddress {
        TransportAddress::Memory("0".into())
    }
}

struct OverTcp(&'static str);

impl Subject for OverTcp {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Tcp::new(identity))
    }

    fn address(&self) -> TransportAddress {
        self.0.parse().unwrap()
    }
}

struct OverQuic(&'static str);

impl Subject for OverQuic {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Quic::new(identity))
    }

    fn address(&self) -> TransportAddress {
        self.0.parse().unwrap()
    }
}

struct OverUnix {
    dir: tempfile::TempDir,
    next: AtomicUsize,
}

impl OverUnix {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), next: AtomicUsize::new(0) }
    }
}

impl Subject for OverUnix {
    fn transport(&self, identity: &Identity) -> Arc<dyn Transport> {
        Arc::new(Unix::new(identity))
    }

    fn address(&self) -> TransportAddress {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        TransportAddress::Unix(self.dir.path().join(name).to_str().unwrap().into())
    }
}

polymorph_transports::conformance!(memory, InMemory(Hub::new()));
polymorph_transports::conformance!(tcp, OverTcp("tcp://127.0.0.1:0"));
polymorph_transports::conformance!(tcp_over_ipv6, OverTcp("tcp://[::1]:0"));
polymorph_transports::conformance!(unix, OverUnix::new());
polymorph_transports::conformance!(quic, OverQuic("quic://127.0.0.1:0"));
polymorph_transports::conformance!(quic_over_ipv6, OverQuic("quic://[::1]:0"));
