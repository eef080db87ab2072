//! Harness of the end-to-end, privileged and chaos tests.
