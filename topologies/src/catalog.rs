//! Names and factories of all topologies: where those who compose by name begin.
