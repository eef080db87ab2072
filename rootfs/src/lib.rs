//! Builds, stores and describes stacks (base images).
