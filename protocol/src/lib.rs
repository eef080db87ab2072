//! Messages, subjects, ids, sizes and HTTP types that the components share.
