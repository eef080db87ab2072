//! Whatever dies or runs out: nothing leaks, and nothing is lost. Needs what the other privileged tests need.
//!
//! The suite is short by default; `make test-chaos` makes it long:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `CUPOLA_KILLS` | kills of the walk over every step; it goes round until there were so many | one round |
//! | `CUPOLA_OPERATIONS` | random operations | 300 |
//! | `CUPOLA_SEED` | seed of the random operations, to repeat a run | printed |

#[path = "chaos/kill.rs"]
mod kill;
#[path = "chaos/operation.rs"]
mod operation;
#[allow(dead_code, reason = "shared with the other tests, which use other parts of it")]
#[path = "outside/scene.rs"]
mod scene;
#[path = "chaos/world.rs"]
mod world;
