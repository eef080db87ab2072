//! Asynchronous client of the warden socket.
