//! The topologies of this crate.

use super::Entry;

/// All that were compiled in, in the order they are shown.
pub(super) fn entries() -> Vec<Entry> {
    vec![
        #[cfg(feature = "full-mesh")]
        Entry::of::<crate::mesh::full_mesh::FullMesh>(
            "full-mesh",
            super::Family::Mesh,
            "owners as in Karger et al., Consistent hashing and random trees, STOC 1997",
        ),
        #[cfg(feature = "chord")]
        Entry::of::<crate::ring::chord::Chord>(
            "chord",
            super::Family::Ring,
            "Stoica et al., Chord, SIGCOMM 2001; Zave, How to make Chord correct, TSE 2017",
        ),
        #[cfg(feature = "kademlia")]
        Entry::of::<crate::ring::kademlia::Kademlia>(
            "kademlia",
            super::Family::Ring,
            "Maymounkov & Mazières, Kademlia, IPTPS 2002",
        )
        .iterative(),
        #[cfg(feature = "pastry")]
        Entry::of::<crate::ring::pastry::Pastry>(
            "pastry",
            super::Family::Ring,
            "Rowstron & Druschel, Pastry, Middleware 2001; Castro et al., MSR-TR-2002-82",
        ),
        #[cfg(feature = "tapestry")]
        Entry::of::<crate::ring::tapestry::Tapestry>(
            "tapestry",
            super::Family::Ring,
            "Zhao et al., Tapestry, JSAC 2004; Hildrum et al., SPAA 2002",
        ),
        #[cfg(feature = "symphony")]
        Entry::of::<crate::ring::symphony::Symphony>(
            "symphony",
            super::Family::Ring,
            "Manku, Bawa & Raghavan, Symphony, USITS 2003",
        ),
        #[cfg(feature = "one-hop")]
        Entry::of::<crate::ring::one_hop::OneHop>(
            "one-hop",
            super::Family::Ring,
            "Gupta, Liskov & Rodrigues, NSDI 2004; Monnerat & Amorim, D1HT, IPDPS 2006",
        ),
        #[cfg(feature = "hyparview-plumtree")]
        Entry::of::<crate::mesh::HyParViewPlumtree>(
            "hyparview-plumtree",
            super::Family::Mesh,
            "Leitão, Pereira & Rodrigues, HyParView, DSN 2007; Epidemic broadcast trees, SRDS 2007",
        ),
        #[cfg(feature = "scribe")]
        Entry::on_base::<crate::tree::scribe::Scribe>(
            "scribe",
            super::Family::Tree,
            "Castro, Druschel, Kermarrec & Rowstron, Scribe, JSAC 2002",
            "chord",
        ),
        #[cfg(feature = "polyring")]
        Entry::of::<crate::hybrid::polyring::Polyring>(
            "polyring",
            super::Family::Hybrid,
            "Jenkov, Polyring P2P network topology, 2021",
        ),
    ]
}
