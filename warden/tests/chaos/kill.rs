//! Every step of every operation is the last one of a process, in turn. What each operation passes is found by looking;
//! then it is done again, with a death at each of those points.

use crate::operation::{ALL, Operation};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};
use warden::fault::{POINTS, Who};

/// A point that is passed many times within one operation is fatal at its first times only.
const TIMES: u32 = 3;

fn who(name: &str) -> Who {
    let found = POINTS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("{name} is not in the table of points")).1
}

/// The points that an operation passes, in order, each with how many times it was passed by then.
async fn passed(world: &World, operation: Operation) -> Vec<(String, u32)> {
    operation.prepare(world).await;
    let names = traced(world, async || operation.act(world).await.unwrap()).await;
    operation.check(world, true, &format!("{operation:?}")).await;
    names
}

/// The points that are passed while something is done.
async fn traced(world: &World, act: impl AsyncFnOnce()) -> Vec<(String, u32)> {
    let trace = world.trace();
    fs::write(&trace, "").unwrap();
    world.arm(&format!("trace {}", trace.display()));
    act().await;
    world.disarm();
    let mut times = BTreeMap::<String, u32>::new();
    let text = fs::read_to_string(trace).unwrap();
    let count = |name: &str| {
        let times = times.entry(name.to_owned()).or_default();
        *times += 1;
        (name.to_owned(), *times)
    };
    text.lines().map(count).filter(|(_, times)| *times <= TIMES).collect()
}

/// Does an operation in which a process dies at a point, and looks at everything.
async fn kill_at(world: &mut World, operation: Operation, name: &str, times: u32) {
    let what = format!("{operation:?}, killed at {name}:{times}");
    operation.prepare(world).await;
    world.arm(&format!("{name}:{times}"));
    let result = operation.act(world).await;
    match who(name) {
        Who::Daemon => {
            // What comes after the answer may still be under way.
            let deadline = Instant::now() + Duration::from_secs(20);
            while !world.warden.is_dead() {
                assert!(Instant::now() < deadline, "{what}: nobody died: {result:?}\n{}", world.warden.log());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.restart().await;
        }
        // The daemon goes on; what it was doing fails, and nothing else does.
        Who::Spawner | Who::First => {
            world.disarm();
            assert!(!world.warden.is_dead(), "{what}: the daemon is dead, too\n{}", world.warden.log());
        }
    }
    operation.check(world, result.is_ok(), &what).await;
    world.bystanders().await;
    world.nothing_else(&what).await;
}

/// How many kills there shall be; one round of every step when nothing is said.
fn wanted() -> usize {
    std::env::var("CUPOLA_KILLS").map_or(0, |text| text.parse().expect("CUPOLA_KILLS is a number"))
}

#[tokio::test]
async fn a_death_at_any_step_of_any_operation_leaves_nothing_and_loses_nothing() {
    let mut world = World::begin().await;
    let mut steps = Vec::new();
    for operation in ALL {
        for (name, times) in passed(&world, operation).await {
            steps.push((operation, name, times));
        }
    }
    // A daemon that has had nothing to trace has the trace not open.
    world.restart().await;
    world.nothing_else("every operation, without a death").await;
    let (mut kills, begun) = (0, Instant::now());
    while kills == 0 || kills < wanted() {
        for (operation, name, times) in &steps {
            kill_at(&mut world, *operation, name, *times).await;
            kills += 1;
        }
    }
    let names: BTreeSet<&str> = steps.iter().map(|(_, name, _)| name.as_str()).collect();
    println!(
        "{kills} kills at {} steps of {} operations, {} points, in {:.1} s",
        steps.len(),
        ALL.len(),
        names.len(),
        begun.elapsed().as_secs_f64()
    );
    world.end().await;
}
