//! The machine, by example and by random histories.

use super::*;
use proptest::prelude::*;

fn exit() -> Exit {
    Exit { status: 7, description: "why".to_owned() }
}

fn run(events: impl IntoIterator<Item = Event>) -> (State, Vec<Action>) {
    events.into_iter().fold((State::Born, vec![]), |(state, mut actions), event| {
        let (state, more) = state.on(event);
        actions.extend(more);
        (state, actions)
    })
}

fn running() -> [Event; 4] {
    [Event::Begin, Event::Fetched, Event::Prepared, Event::Healthy]
}

#[test]
fn an_instance_is_fetched_prepared_checked_and_registered() {
    let (state, actions) = run(running());
    assert_eq!(state, State::Running);
    let expected = [Action::Fetch, Action::Prepare, Action::Follow, Action::Check, Action::Register];
    assert_eq!(actions, expected);
}

#[test]
fn a_crash_is_told_before_the_container_is_cleaned_up() {
    let (state, actions) = run(running().into_iter().chain([Event::Ended(exit()), Event::Destroyed]));
    assert_eq!(state, State::Crashed(exit()));
    assert_eq!(actions[5..], [Action::Unregister, Action::TellCrash(exit()), Action::CleanUp]);
}

#[test]
fn a_stop_takes_the_routes_away_first() {
    let (state, actions) = run(running().into_iter().chain([Event::Stop, Event::Destroyed]));
    assert_eq!(state, State::Stopped);
    assert_eq!(actions[5..], [Action::Unregister, Action::StopContainer, Action::TellStop]);
}

#[test]
fn a_stop_during_the_preparation_waits_for_its_end() {
    let (state, actions) = run([Event::Begin, Event::Fetched, Event::Stop]);
    assert_eq!(state, State::Abandoning);
    assert_eq!(actions, [Action::Fetch, Action::Prepare]);
    let (state, actions) = state.on(Event::Prepared);
    assert_eq!((state, actions), (State::Stopping, vec![Action::StopContainer]));
}

#[test]
fn a_droplet_that_cannot_be_had_is_a_crash_without_container() {
    let (state, actions) = run([Event::Begin, Event::Failed(exit())]);
    assert_eq!(state, State::Crashed(exit()));
    assert_eq!(actions, [Action::Fetch, Action::TellCrash(exit())]);
}

#[test]
fn what_was_starting_at_a_restart_is_told_as_crashed() {
    let (state, actions) = State::restored(InstanceState::Starting, None);
    assert_eq!(state.on_the_bus(), InstanceState::Crashed);
    assert!(matches!(actions[..], [Action::TellCrash(_), Action::Destroy]));
}

#[test]
fn what_was_running_at_a_restart_is_looked_for() {
    let (state, actions) = State::restored(InstanceState::Running, None);
    assert_eq!(actions, [Action::Find]);
    let (state, actions) = state.on(Event::Found);
    assert_eq!((state, actions), (State::Running, vec![Action::Follow, Action::Register]));
}

fn events() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![
        Event::Begin,
        Event::Fetched,
        Event::Prepared,
        Event::Failed(exit()),
        Event::Healthy,
        Event::Unhealthy(exit()),
        Event::Ended(exit()),
        Event::Found,
        Event::Stop,
        Event::Destroyed,
    ])
}

/// What an action that takes time can end with.
fn outcomes(action: &Action) -> Vec<Event> {
    match action {
        Action::Fetch => vec![Event::Fetched, Event::Failed(exit())],
        Action::Prepare => vec![Event::Prepared, Event::Failed(exit())],
        Action::Follow => vec![Event::Ended(exit())],
        Action::Check => vec![Event::Healthy, Event::Unhealthy(exit())],
        Action::Find => vec![Event::Found, Event::Ended(exit())],
        Action::StopContainer | Action::CleanUp | Action::Destroy => vec![Event::Destroyed],
        Action::CancelFetch
        | Action::Register
        | Action::Unregister
        | Action::TellCrash(_)
        | Action::TellStop => vec![],
    }
}

proptest! {
    /// Any events, even those that cannot come: no panic, one end told at most, routes taken away before the end.
    #[test]
    fn no_history_tells_two_ends(history in prop::collection::vec(events(), 0..40)) {
        let mut state = State::Born;
        let (mut ends, mut registered, mut containers) = (0, false, 0i32);
        for event in history {
            let (next, actions) = state.on(event);
            for action in &actions {
                match action {
                    Action::TellCrash(_) => {
                        ends += 1;
                        prop_assert!(!registered, "crashed with routes");
                    }
                    Action::TellStop => prop_assert!(!registered, "stopped with routes"),
                    Action::Register => registered = true,
                    Action::Unregister => registered = false,
                    Action::Prepare => containers += 1,
                    Action::StopContainer | Action::CleanUp => containers -= 1,
                    _ => {}
                }
            }
            prop_assert!(ends <= 1);
            prop_assert!((0..=1).contains(&containers), "each container is destroyed once");
            state = next;
        }
        if matches!(state, State::Stopped | State::Crashed(_)) {
            prop_assert_eq!(containers, 0, "over, and a container is left");
        }
    }

    /// Whatever the operations come to, and whenever the stop comes: told to stop, it ends.
    #[test]
    fn every_instance_that_is_told_to_stop_ends(
        choices in prop::collection::vec(any::<prop::sample::Index>(), 40),
        stop_at in 0..20usize,
    ) {
        let mut state = State::Born;
        let mut pending: Vec<Action> = vec![];
        let mut stopped = false;
        for (step, choice) in choices.iter().enumerate() {
            let event = if step == 0 {
                Event::Begin
            } else if !stopped && step > stop_at {
                stopped = true;
                Event::Stop
            } else if pending.is_empty() {
                continue;
            } else {
                let action = pending.remove(choice.index(pending.len()));
                let outcomes = outcomes(&action);
                if outcomes.is_empty() {
                    continue;
                }
                outcomes[choice.index(outcomes.len())].clone()
            };
            let (next, actions) = state.on(event);
            state = next;
            pending.extend(actions.into_iter().filter(|action| !outcomes(action).is_empty()));
        }
        prop_assert_eq!(state, State::Stopped);
    }
}
