//! Service gateway, nodes and brokers.
