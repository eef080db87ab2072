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
async fn passed(world: &mut World, operation: Operation) -> Vec<(String, u32)> {
    operation.prepare(world).await;
    let act = async |world: &mut World| operation.act(world).await.unwrap();
    let names = traced(world, act).await;
    operation.check(world, true, &format!("{operation:?}")).await;
    names
}

/// The points that are passed while something is done.
async fn traced(world: &mut World, act: impl AsyncFnOnce(&mut World)) -> Vec<(String, u32)> {
    let trace = world.trace();
    fs::write(&trace, "").unwrap();
    world.arm(&format!("trace {}", trace.display()));
    act(world).await;
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

/// What a daemon finds that is started after another has died.
#[derive(Debug, Clone, Copy)]
enum Left {
    /// A container that was being made.
    HalfMade,
    /// A container that was being destroyed.
    HalfGone,
    /// A container whose processes were being ended.
    HalfStopped,
}

const LEFTS: [Left; 3] = [Left::HalfMade, Left::HalfGone, Left::HalfStopped];

impl Left {
    /// Has a daemon die in the middle, and starts no other yet.
    async fn leave(self, world: &mut World) {
        let (operation, point) = match self {
            Left::HalfMade => (Operation::Create, "create.rules"),
            Left::HalfGone => (Operation::Destroy, "destroy.rules"),
            Left::HalfStopped => (Operation::Stop, "stop.asked"),
        };
        operation.prepare(world).await;
        world.arm(point);
        operation.act(world).await.expect_err("the daemon dies");
        world.warden.wait();
    }

    /// The next daemon has finished what was begun.
    async fn check(self, world: &World, what: &str) {
        if matches!(self, Left::HalfStopped) {
            Operation::Stop.check(world, true, what).await;
        }
    }
}

#[tokio::test]
async fn a_death_at_any_step_of_any_operation_leaves_nothing_and_loses_nothing() {
    let mut world = World::begin().await;
    let mut steps = Vec::new();
    for operation in ALL {
        for (name, times) in passed(&mut world, operation).await {
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

#[tokio::test]
async fn a_death_at_any_step_of_a_start_leaves_nothing_and_loses_nothing() {
    let mut world = World::begin().await;
    let (mut kills, begun) = (0, Instant::now());
    for left in LEFTS {
        left.leave(&mut world).await;
        let steps = traced(&mut world, async |world: &mut World| world.warden.restart().await).await;
        left.check(&world, &format!("{left:?}")).await;
        for (name, times) in steps {
            let what = format!("{left:?}, and the start killed at {name}:{times}");
            left.leave(&mut world).await;
            world.arm(&format!("{name}:{times}"));
            assert_eq!(who(&name), Who::Daemon, "{what}: a start builds no container");
            world.warden.start_to_die(&what);
            world.restart().await;
            left.check(&world, &what).await;
            world.bystanders().await;
            world.nothing_else(&what).await;
            kills += 2;
        }
    }
    println!("{kills} kills before and during a start, in {:.1} s", begun.elapsed().as_secs_f64());
    world.end().await;
}

#[tokio::test]
async fn every_point_of_the_table_is_passed_by_something() {
    let mut world = World::begin().await;
    let mut met = BTreeSet::new();
    for operation in ALL {
        met.extend(passed(&mut world, operation).await);
    }
    for left in LEFTS {
        left.leave(&mut world).await;
        met.extend(traced(&mut world, async |world: &mut World| world.warden.restart().await).await);
        left.check(&world, &format!("{left:?}")).await;
    }
    let met: BTreeSet<&str> = met.iter().map(|(name, _)| name.as_str()).collect();
    let never: Vec<_> = POINTS.iter().filter(|(name, _)| !met.contains(name)).collect();
    assert!(never.is_empty(), "no operation and no start comes to {never:?}");
    world.end().await;
}
