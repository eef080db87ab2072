//! Runs droplets as instances on one node.
