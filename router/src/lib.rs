//! Keeps the route table from the bus and forwards HTTP.
