//! Typed publish, subscribe and request over NATS.
