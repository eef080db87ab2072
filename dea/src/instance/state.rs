//! The life of an instance.
//!
//! ```text
//!  Born ──► Fetching ──► Preparing ──► Checking ──► Running      Resuming (after a restart of the agent)
//!   │          │  │         │  │         │  │         │  │          │   │
//!   │     stop │  │fail     │  │fail     │  │end,     │  │end       │   │lost
//!   │          │  │     stop│  │     stop│  │unhealthy│  │          │   │
//!   ▼          ▼  │         ▼  │         │  │     stop│  │          │   └─► Crashing
//!  Stopped ◄──────┼─── Abandoning         │  │         │  │          └─► Running
//!   ▲             ▼         │  ▼         ▼  ▼         ▼  ▼
//!   │          Crashed ◄────┼─ Crashing ◄───┘  ┌──────┘  └─► Crashing
//!   │             │         ▼                  ▼
//!   └─────────────┴───── Stopping ◄────────────┘
//! ```
//!
//! - `Born`: accepted, nothing done yet.
//! - `Fetching`: the droplet is on its way; there is no container.
//! - `Preparing`: the container is being made, the droplet unpacked, the process started.
//! - `Checking`: the process is there and not healthy yet.
//! - `Running`: healthy, its routes are registered.
//! - `Resuming`: its container should still be there; the warden has not said so yet.
//! - `Abandoning`: told to stop while the container was being made: that is waited for, then it is destroyed.
//! - `Stopping`: the processes are being ended and the container destroyed, as told.
//! - `Crashing`: it has ended by itself; its container is being destroyed.
//! - `Crashed`: it has ended by itself and holds nothing any more but the news.
//! - `Stopped`: over.

use super::Exit;
use cupola_protocol::dea::InstanceState;

/// Where an instance is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Born,
    Fetching,
    Preparing,
    Checking,
    Running,
    Resuming,
    Abandoning,
    Stopping,
    Crashing(Exit),
    Crashed(Exit),
    Stopped,
}

/// What can happen to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its life begins.
    Begin,
    /// The droplet is there.
    Fetched,
    /// The container is there and the process started.
    Prepared,
    /// The droplet or the container could not be had.
    Failed(Exit),
    /// The process is healthy.
    Healthy,
    /// The process was not healthy in time.
    Unhealthy(Exit),
    /// The process has ended, or its container is gone.
    Ended(Exit),
    /// The warden still has the container.
    Found,
    /// It is told to stop.
    Stop,
    /// The container is destroyed.
    Destroyed,
}

/// What is to be done about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Get the droplet; ends with `Fetched` or `Failed`.
    Fetch,
    /// Give up getting the droplet.
    CancelFetch,
    /// Make the container and start the process; ends with `Prepared` or `Failed`.
    Prepare,
    /// Pass on the output; ends with `Ended`.
    Follow,
    /// Watch the health; ends with `Healthy` or `Unhealthy`.
    Check,
    /// Ask whether the container is still there; ends with `Found` or `Ended`.
    Find,
    /// Tell the routers.
    Register,
    /// Tell the routers that it is gone.
    Unregister,
    /// Tell everybody that it has crashed.
    TellCrash(Exit),
    /// Tell everybody that it has stopped.
    TellStop,
    /// End the processes and destroy the container; ends with `Destroyed`.
    StopContainer,
    /// Keep its log files and destroy the container; ends with `Destroyed`.
    CleanUp,
    /// Destroy what may be left of the container; ends with `Destroyed`.
    Destroy,
}

impl State {
    /// The state and first action of an instance that an earlier agent has left behind.
    pub(crate) fn restored(state: InstanceState, exit: Option<Exit>) -> (Self, Vec<Action>) {
        match state {
            InstanceState::Running | InstanceState::Resuming | InstanceState::Evacuating => {
                (Self::Resuming, vec![Action::Find])
            }
            // Nobody knows how far it came; as STARTING the health manager would wait for it (dea_ng#152).
            InstanceState::Born | InstanceState::Starting => {
                let exit = Exit::without_status("the node agent was restarted while the instance started");
                (Self::Crashing(exit.clone()), vec![Action::TellCrash(exit), Action::Destroy])
            }
            InstanceState::Crashed => {
                let exit = exit.unwrap_or_else(|| Exit::without_status("crashed"));
                (Self::Crashing(exit), vec![Action::Destroy])
            }
            InstanceState::Stopping | InstanceState::Stopped => (Self::Stopping, vec![Action::StopContainer]),
        }
    }

    /// The state as the bus spells it.
    pub(crate) fn on_the_bus(&self) -> InstanceState {
        match self {
            Self::Born => InstanceState::Born,
            Self::Fetching | Self::Preparing | Self::Checking => InstanceState::Starting,
            Self::Running => InstanceState::Running,
            Self::Resuming => InstanceState::Resuming,
            Self::Abandoning | Self::Stopping => InstanceState::Stopping,
            Self::Crashing(_) | Self::Crashed(_) => InstanceState::Crashed,
            Self::Stopped => InstanceState::Stopped,
        }
    }

    /// Whether nothing will happen any more.
    pub(crate) fn is_over(&self) -> bool {
        *self == Self::Stopped
    }

    /// What an event leads to. An event that has no meaning in a state changes nothing.
    pub(crate) fn on(self, event: Event) -> (Self, Vec<Action>) {
        match (self, event) {
            (Self::Born, Event::Begin) => (Self::Fetching, vec![Action::Fetch]),
            (Self::Fetching, Event::Fetched) => (Self::Preparing, vec![Action::Prepare]),
            (Self::Fetching, Event::Failed(exit)) => {
                (Self::Crashed(exit.clone()), vec![Action::TellCrash(exit)])
            }
            (Self::Preparing, Event::Prepared) => (Self::Checking, vec![Action::Follow, Action::Check]),
            (Self::Checking, Event::Healthy) => (Self::Running, vec![Action::Register]),
            (Self::Resuming, Event::Found) => (Self::Running, vec![Action::Follow, Action::Register]),

            (Self::Preparing, Event::Failed(exit))
            | (Self::Checking, Event::Unhealthy(exit) | Event::Ended(exit)) => {
                (Self::Crashing(exit.clone()), vec![Action::TellCrash(exit), Action::CleanUp])
            }
            (Self::Running | Self::Resuming, Event::Ended(exit)) => (
                Self::Crashing(exit.clone()),
                vec![Action::Unregister, Action::TellCrash(exit), Action::CleanUp],
            ),
            (Self::Crashing(exit), Event::Destroyed) => (Self::Crashed(exit), vec![]),

            (Self::Born, Event::Stop) => (Self::Stopped, vec![Action::TellStop]),
            (Self::Fetching, Event::Stop) => (Self::Stopped, vec![Action::CancelFetch, Action::TellStop]),
            (Self::Preparing, Event::Stop) => (Self::Abandoning, vec![]),
            (Self::Abandoning, Event::Prepared | Event::Failed(_)) => {
                (Self::Stopping, vec![Action::StopContainer])
            }
            (Self::Checking, Event::Stop) => (Self::Stopping, vec![Action::StopContainer]),
            (Self::Running | Self::Resuming, Event::Stop) => {
                (Self::Stopping, vec![Action::Unregister, Action::StopContainer])
            }
            // Its destruction is under way, and told as a crash already.
            (Self::Crashing(_), Event::Stop) => (Self::Stopping, vec![]),
            (Self::Crashed(_), Event::Stop) => (Self::Stopped, vec![]),
            (Self::Stopping, Event::Destroyed) => (Self::Stopped, vec![Action::TellStop]),

            (state, _) => (state, vec![]),
        }
    }
}

#[cfg(test)]
mod tests;
