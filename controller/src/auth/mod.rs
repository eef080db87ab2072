//! Users, tokens, signed addresses.

mod password;
mod signer;
mod tokens;
mod user;

pub(crate) use password::{hash_password, verify_password};
pub(crate) use signer::Signer;
pub(crate) use tokens::{Tokens, digest};
pub(crate) use user::{Seen, User};
