//! The laws, of every topology there is.

#![cfg(all(
    feature = "full-mesh",
    feature = "chord",
    feature = "kademlia",
    feature = "pastry",
    feature = "tapestry",
    feature = "symphony",
    feature = "one-hop",
    feature = "hyparview-plumtree",
    feature = "scribe",
    feature = "polyring"
))]

use polymorph_core::engine::settings::{Lookup, Overlay};
use polymorph_sim::conformance;
use polymorph_topologies::hybrid::polyring::{self, Polyring};
use polymorph_topologies::mesh::HyParViewPlumtree;
use polymorph_topologies::mesh::full_mesh::FullMesh;
use polymorph_topologies::ring::chord::Chord;
use polymorph_topologies::ring::kademlia::Kademlia;
use polymorph_topologies::ring::one_hop::OneHop;
use polymorph_topologies::ring::pastry::Pastry;
use polymorph_topologies::ring::symphony::Symphony;
use polymorph_topologies::ring::tapestry::Tapestry;
use polymorph_topologies::tree::scribe::ScribeOn;

mod full_mesh {
    use super::*;
    conformance!(FullMesh);
}

mod chord {
    use super::*;
    conformance!(Chord);
}

/// As the catalog has it.
fn iterative() -> Overlay {
    Overlay { lookup: Lookup::Iterative, ..Overlay::default() }
}

mod kademlia {
    use super::*;
    conformance!(Kademlia, Default::default(), iterative());
}

mod pastry {
    use super::*;
    conformance!(Pastry);
}

mod tapestry {
    use super::*;
    conformance!(Tapestry);
}

mod symphony {
    use super::*;
    conformance!(Symphony);
}

mod one_hop {
    use super::*;
    conformance!(OneHop);
}

mod hyparview_plumtree {
    use super::*;
    conformance!(HyParViewPlumtree);
}

mod scribe_on_chord {
    use super::*;
    conformance!(ScribeOn<Chord>);
}

mod scribe_on_kademlia {
    use super::*;
    conformance!(ScribeOn<Kademlia>, Default::default(), iterative());
}

mod polyring_of_one_ring {
    use super::*;
    conformance!(Polyring);
}

mod polyring_of_small_rings {
    use super::*;
    conformance!(Polyring, polyring::Config { width: 4, depth: 3, cluster: 1 });
}
