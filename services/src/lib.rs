//! Services for apps: the gateway (an Open Service Broker), the nodes that run PostgreSQL and Redis in containers,
//! and the broker. Nothing of it is built yet: docs/STATUS.md. The crate stands here so that its place in the table
//! of docs/ARCHITECTURE.md is held.
