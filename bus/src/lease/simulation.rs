//! Contenders against a store that behaves like JetStream's, on a network that loses, delays and cuts, with clocks
//! that run at different rates, processes that die and pause, and a store that stops, loses its data or comes back
//! older. At no moment may two of them act; and when all is well again, one does.

use super::contender::{Contender, Entry, Moment, Step, Times};
use proptest::prelude::*;
use std::time::Duration;

/// One millisecond of true time.
const TICK: u64 = 1;
const TERM: Duration = Duration::from_millis(400);
/// How long faults go on, and how long the world then has to get well.
const FAULTS: u64 = 6_000;
const RECOVERY: u64 = 2_500;

/// The store: one key.
#[derive(Debug, Clone, Default)]
struct Store {
    entry: Option<Entry>,
    revision: u64,
    up: bool,
    backup: (Option<Entry>, u64),
    /// Which start of the store this is: a connection lasts for one.
    start: u64,
}

#[derive(Debug, Clone)]
enum Asked {
    Look,
    Claim { replaces: u64, id: String },
    Release { revision: u64 },
}

#[derive(Debug, Clone)]
enum Answer {
    Seen(Entry),
    Written(u64),
    Refused,
}

impl Store {
    fn serve(&mut self, asked: &Asked) -> Answer {
        let entry = self.entry.clone().unwrap_or(Entry::Absent);
        let there = match &entry {
            Entry::Absent => 0,
            Entry::Released { revision } | Entry::Held { revision, .. } => *revision,
        };
        match asked {
            Asked::Look => Answer::Seen(entry),
            Asked::Claim { replaces, id } if *replaces == there => {
                self.revision += 1;
                self.entry = Some(Entry::Held { revision: self.revision, by: id.clone() });
                Answer::Written(self.revision)
            }
            Asked::Release { revision } if *revision == there => {
                self.revision += 1;
                self.entry = Some(Entry::Released { revision: self.revision });
                Answer::Written(self.revision)
            }
            Asked::Claim { .. } | Asked::Release { .. } => Answer::Refused,
        }
    }
}

/// A message on its way; lost ones are never made.
#[derive(Debug, Clone)]
enum Flying {
    ToStore { from: usize, life: u64, number: u64, start: u64, asked: Asked },
    ToContender { to: usize, life: u64, number: u64, answer: Answer },
}

/// One process.
struct Process {
    contender: Contender,
    /// Which start of the process this is.
    life: u64,
    alive: bool,
    paused_until: u64,
    /// Local time per true time, in percent, and what the clock showed at the beginning.
    rate: u64,
    offset: u64,
    cut: bool,
    /// The start of the store that its connection belongs to.
    connection: u64,
    /// The question that is open: its number, when it was sent, when it is given up.
    open: Option<(u64, Moment, Moment)>,
}

impl Process {
    fn clock(&self, now: u64) -> Moment {
        Duration::from_micros(self.offset * 1000 + now * self.rate * 10)
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
enum Fault {
    Cut(usize),
    Heal(usize),
    Kill(usize),
    Start(usize),
    Pause(usize, u64),
    GiveUp(usize),
    Slow(u64),
    Lossy(u64),
    Stop,
    Resume,
    Wipe,
    Save,
    Restore,
}

fn fault() -> impl Strategy<Value = Fault> {
    let who = || 0usize..3;
    prop_oneof![
        3 => who().prop_map(Fault::Cut),
        3 => who().prop_map(Fault::Heal),
        2 => who().prop_map(Fault::Kill),
        3 => who().prop_map(Fault::Start),
        2 => (who(), 0..1000u64).prop_map(|(who, time)| Fault::Pause(who, time)),
        2 => who().prop_map(Fault::GiveUp),
        1 => (0..120u64).prop_map(Fault::Slow),
        1 => (0..60u64).prop_map(Fault::Lossy),
        1 => Just(Fault::Stop),
        2 => Just(Fault::Resume),
        1 => Just(Fault::Wipe),
        1 => Just(Fault::Save),
        1 => Just(Fault::Restore),
    ]
}

struct World {
    now: u64,
    store: Store,
    processes: Vec<Process>,
    flying: Vec<(u64, Flying)>,
    slow: u64,
    lossy: u64,
    chance: u64,
    number: u64,
}

impl World {
    fn new(rates: &[u64], chance: u64) -> Self {
        let processes = rates
            .iter()
            .enumerate()
            .map(|(place, rate)| Process {
                contender: Contender::new(format!("{place}-0"), Times::of(TERM)),
                life: 0,
                alive: true,
                paused_until: 0,
                rate: *rate,
                offset: 7919 * place as u64,
                cut: false,
                connection: 0,
                open: None,
            })
            .collect();
        let store = Store { up: true, ..Store::default() };
        let (slow, lossy, number) = (2, 0, 0);
        Self { now: 0, store, processes, flying: Vec::new(), slow, lossy, chance, number }
    }

    /// A number below `below`, from a simple generator: the seed is proptest's.
    fn draw(&mut self, below: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % below.max(1)
    }

    fn send(&mut self, who: usize, flying: Flying) {
        if self.processes[who].cut || !self.store.up || self.draw(100) < self.lossy {
            return;
        }
        let slow = self.slow;
        let at = self.now + 1 + self.draw(slow + 1);
        self.flying.push((at, flying));
    }

    fn ask(&mut self, who: usize, asked: Asked) {
        self.number += 1;
        let (number, now) = (self.number, self.now);
        let process = &mut self.processes[who];
        let (life, start, clock) = (process.life, process.connection, process.clock(now));
        process.open = Some((number, clock, clock + Times::of(TERM).answer));
        self.send(who, Flying::ToStore { from: who, life, number, start, asked });
    }

    fn happen(&mut self, fault: &Fault) {
        match *fault {
            Fault::Cut(who) => self.processes[who].cut = true,
            Fault::Heal(who) => self.processes[who].cut = false,
            Fault::Kill(who) => self.processes[who].alive = false,
            Fault::Start(who) => {
                let process = &mut self.processes[who];
                if !process.alive {
                    process.life += 1;
                    process.alive = true;
                    process.open = None;
                    process.contender = Contender::new(format!("{who}-{}", process.life), Times::of(TERM));
                }
            }
            Fault::Pause(who, time) => self.processes[who].paused_until = self.now + time,
            Fault::GiveUp(who) => {
                let process = &mut self.processes[who];
                let revision = process.contender.held_revision().filter(|_| process.alive);
                process.contender.give_up();
                process.alive = false;
                if let Some(revision) = revision {
                    self.ask(who, Asked::Release { revision });
                }
            }
            Fault::Slow(slow) => self.slow = slow,
            Fault::Lossy(lossy) => self.lossy = lossy,
            Fault::Stop => self.store.up = false,
            Fault::Resume => self.store.up = true,
            Fault::Wipe => {
                self.store.start += 1;
                (self.store.entry, self.store.revision) = (None, 0);
            }
            Fault::Save => self.store.backup = (self.store.entry.clone(), self.store.revision),
            Fault::Restore => {
                self.store.start += 1;
                (self.store.entry, self.store.revision) = self.store.backup.clone();
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.flying).into_iter().partition(|(at, _)| *at <= now);
        self.flying = later;
        for (_, flying) in due {
            match flying {
                Flying::ToStore { from, life, number, start, asked } => {
                    if self.store.up && self.store.start == start {
                        let answer = self.store.serve(&asked);
                        self.send(from, Flying::ToContender { to: from, life, number, answer });
                    }
                }
                Flying::ToContender { to, life, number, answer } => {
                    let process = &mut self.processes[to];
                    let clock = process.clock(now);
                    let Some((open, sent, _)) = process.open else { continue };
                    if process.life != life || open != number || !process.alive {
                        continue;
                    }
                    process.open = None;
                    match answer {
                        Answer::Seen(entry) => process.contender.looked(entry, clock),
                        Answer::Written(revision) => process.contender.claimed(revision, sent, clock),
                        Answer::Refused => process.contender.refused(clock),
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.deliver();
        for who in 0..self.processes.len() {
            let now = self.now;
            let process = &mut self.processes[who];
            let clock = process.clock(now);
            if !process.alive || now < process.paused_until {
                continue;
            }
            let reconnects = !process.cut && self.store.up && process.connection != self.store.start;
            if let Some((_, _, limit)) = process.open {
                if clock < limit && !reconnects {
                    continue;
                }
                process.open = None;
                process.contender.unanswered(clock);
            }
            if reconnects {
                process.connection = self.store.start;
                process.contender.reconnected(clock);
            }
            match process.contender.step(clock) {
                Step::Wait(_) => {}
                Step::Look => self.ask(who, Asked::Look),
                Step::Claim { replaces } => {
                    let id = format!("{who}-{}", self.processes[who].life);
                    self.ask(who, Asked::Claim { replaces, id });
                }
            }
        }
    }

    /// Who would act if it were asked to now. A paused process counts: it may wake at any moment.
    fn acting(&self) -> Vec<usize> {
        (0..self.processes.len())
            .filter(|who| {
                let process = &self.processes[*who];
                process.alive && process.contender.holds(process.clock(self.now))
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn never_two_act_and_in_the_end_one_does(
        faults in prop::collection::vec((0..FAULTS, fault()), 0..40),
        rates in prop::collection::vec(93..107u64, 3),
        chance: u64,
    ) {
        let mut world = World::new(&rates, chance);
        let mut faults = faults;
        faults.sort_by_key(|(at, _)| *at);
        let mut next = faults.iter().peekable();
        while world.now < FAULTS + RECOVERY {
            while let Some((_, fault)) = next.next_if(|(at, _)| *at <= world.now) {
                world.happen(fault);
            }
            if world.now == FAULTS {
                for who in 0..3 {
                    world.happen(&Fault::Heal(who));
                    world.happen(&Fault::Start(who));
                    world.happen(&Fault::Pause(who, 0));
                }
                world.happen(&Fault::Resume);
                world.happen(&Fault::Slow(2));
                world.happen(&Fault::Lossy(0));
            }
            world.tick();
            let acting = world.acting();
            prop_assert!(acting.len() <= 1, "at {} ms {acting:?} act", world.now);
        }
        prop_assert_eq!(world.acting().len(), 1, "nobody acts though all is well");
    }
}

/// Runs a world without faults until somebody acts and the others have seen it.
fn with_a_holder() -> (World, usize) {
    let mut world = World::new(&[100, 100, 100], 1);
    while world.acting().is_empty() {
        assert!(world.now < 10_000, "nobody takes the lease");
        world.tick();
    }
    for _ in 0..100 {
        world.tick();
    }
    let holder = world.acting()[0];
    (world, holder)
}

#[test]
fn a_holder_that_is_well_keeps_the_lease() {
    let (mut world, holder) = with_a_holder();
    for _ in 0..20_000 {
        world.tick();
        assert_eq!(world.acting(), [holder], "at {} ms", world.now);
    }
}

#[test]
fn what_is_given_up_is_taken_at_once_and_what_is_lost_after_a_term() {
    for (fault, limit) in [(Fault::GiveUp as fn(usize) -> Fault, 60), (Fault::Kill, 500)] {
        let (mut world, holder) = with_a_holder();
        world.happen(&fault(holder));
        let from = world.now;
        while world.acting().is_empty() {
            world.tick();
        }
        let took = world.now - from;
        assert!(took <= limit, "{took} ms of simulated time");
        assert_ne!(world.acting(), [holder]);
    }
}

#[test]
fn a_holder_that_is_cut_off_stops_before_another_begins() {
    let (mut world, holder) = with_a_holder();
    world.happen(&Fault::Cut(holder));
    let mut alone = 0;
    while world.acting() == [holder] {
        world.tick();
    }
    while world.acting().is_empty() {
        alone += 1;
        world.tick();
    }
    assert!(alone > 50, "only {alone} ms between two holders");
}

#[test]
fn a_store_that_lost_its_data_makes_no_second_holder() {
    let (mut world, holder) = with_a_holder();
    world.happen(&Fault::Cut(holder));
    world.happen(&Fault::Wipe);
    for _ in 0..5_000 {
        world.tick();
        assert!(world.acting().len() <= 1, "at {} ms {:?} act", world.now, world.acting());
    }
    assert_eq!(world.acting().len(), 1);
}
