//! System calls that nix does not wrap, and every `unsafe` block of the project.
//!
//! Each function here is safe to call: what its `unsafe` needs is either checked in it or given by its types. The one
//! promise that a caller keeps is that [`process::fork`] and [`process::clone_into`] are called in single-threaded
//! processes only (the spawner and the init; both check it when they start).
#![allow(unsafe_code)]

pub mod fd;
