//! The developer's commands.
