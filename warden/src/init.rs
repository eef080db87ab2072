//! PID 1 of a container: runs jobs, keeps their output and their ends in files, reaps, and packs and unpacks tar streams.

pub mod client;
