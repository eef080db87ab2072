//! Service brokers, offerings, plans, instances, bindings, and the operations that are not done yet.

mod bindings;
mod brokers;
mod ends;
mod instances;
mod operations;
mod rows;

pub(crate) use bindings::*;
pub(crate) use brokers::*;
pub(crate) use ends::*;
pub(crate) use instances::*;
pub(crate) use operations::*;
pub(crate) use rows::*;
