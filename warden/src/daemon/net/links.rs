//! Links made ready before anybody asks for one, numbers of networks, and what becomes of both.
//!
//! A namespace is used once. When its container is gone, the kernel takes namespace and links apart on its own time, so
//! nobody waits for that; a number is given out again when its link is gone and it has rested.

use super::firewall::Firewall;
use super::link::{self, LinkMaker};
use super::netlink::Netlink;
use super::{PoolNet, Subnet};
use crate::daemon::pool::{Pool, Resting};
use crate::daemon::{Error, lock};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long after a link was taken the next one is made: whoever took it is busy, and shall have the processors.
const CALM: Duration = Duration::from_millis(20);
/// How often links of containers that are gone are looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long the kernel may take for a link whose container is gone before it is deleted: something holds its namespace.
const DELETE_AFTER: Duration = Duration::from_secs(1);
/// How long a client waits for a network whose last link is not gone yet.
const WAIT: Duration = Duration::from_secs(5);
/// The pause after a link could not be made ready.
const RETRY: Duration = Duration::from_secs(1);

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Any network.
    Any,
    /// The network of this number.
    Number(u32),
    /// No network: a loopback link alone.
    Nothing,
}

/// A network namespace that is ready for a container.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Its addresses; `None` when it has a loopback link alone.
    pub(crate) subnet: Option<Subnet>,
    /// What holds it until a process does.
    pub(crate) namespace: OwnedFd,
}

/// Makes links, most of them ahead of time.
#[derive(Debug)]
pub(crate) struct Links {
    maker: LinkMaker,
    net: PoolNet,
    firewall: Arc<Firewall>,
    /// How many are kept ready.
    size: usize,
    state: Mutex<State>,
    /// Something of the state is another.
    changed: Condvar,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    numbers: Resting,
    ready: VecDeque<(u32, Ready)>,
    /// Namespaces without a network.
    bare: VecDeque<Ready>,
    /// How many of those are kept ready: none until somebody wants one.
    bare_size: usize,
    /// Numbers of containers that are gone, and since when.
    dying: Vec<(u32, Instant)>,
    /// When the next link may be made ready.
    calm_at: Instant,
    ending: bool,
}

/// What the thread does next.
enum Step {
    Make(u32),
    MakeBare,
    Look(Vec<(u32, Instant)>),
    End,
}

impl Links {
    /// A pool that makes nothing ready until [`Links::start`].
    pub(crate) fn new(
        maker: LinkMaker,
        net: PoolNet,
        firewall: Arc<Firewall>,
        size: usize,
        rest: Duration,
    ) -> Arc<Self> {
        let state = State {
            numbers: Resting::new(Pool::new(net.count()), rest),
            ready: VecDeque::new(),
            bare: VecDeque::new(),
            bare_size: 0,
            dying: Vec::new(),
            calm_at: Instant::now(),
            ending: false,
        };
        Arc::new(Links {
            maker,
            net,
            firewall,
            size,
            state: Mutex::new(state),
            changed: Condvar::new(),
            thread: Mutex::default(),
        })
    }

    /// Starts making links ready. To be called once, when the numbers of all containers have been claimed.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let failed =
            |source| Error::Net { action: "make network links ready", name: "thread".into(), source };
        let host = Netlink::open().map_err(failed)?;
        let links = self.clone();
        let thread = thread::Builder::new().name("links".to_owned());
        let started = thread.spawn(move || links.work(host)).map_err(failed)?;
        *lock(&self.thread) = Some(started);
        Ok(())
    }

    /// A number is a container's.
    pub(crate) fn claim(&self, subnet: Subnet) {
        if let Some(number) = self.net.number_of(subnet.first()) {
            lock(&self.state).numbers.take_exactly(number);
        }
    }

    /// A namespace for a container: one that is ready, else one that is made now.
    pub(crate) fn take(&self, wanted: Wanted) -> Result<Ready, Error> {
        let number = match wanted {
            Wanted::Nothing => {
                let mut state = lock(&self.state);
                state.bare_size = self.size;
                state.calm_at = Instant::now() + CALM;
                let ready = state.bare.pop_front();
                drop(state);
                self.changed.notify_all();
                return match ready {
                    Some(ready) => Ok(ready),
                    None => Ok(Ready { subnet: None, namespace: self.maker.make(None)? }),
                };
            }
            Wanted::Any | Wanted::Number(_) => match self.reserve(wanted)? {
                Reserved::Ready(ready) => return Ok(ready),
                Reserved::Number(number) => number,
            },
        };
        let subnet = self.net.subnet(number);
        let made = self.maker.make(Some(subnet)).and_then(|namespace| {
            self.firewall.prepare(subnet)?;
            Ok(Ready { subnet: Some(subnet), namespace })
        });
        made.inspect_err(|_| self.release_number(number))
    }

    /// A ready link, or a number that nobody has.
    fn reserve(&self, wanted: Wanted) -> Result<Reserved, Error> {
        let deadline = Instant::now() + WAIT;
        let mut state = lock(&self.state);
        loop {
            let at = match wanted {
                Wanted::Number(number) => state.ready.iter().position(|(ready, _)| *ready == number),
                _ => (!state.ready.is_empty()).then_some(0),
            };
            if let Some((_, ready)) = at.and_then(|at| state.ready.remove(at)) {
                state.calm_at = Instant::now() + CALM;
                self.changed.notify_all();
                return Ok(Reserved::Ready(ready));
            }
            let number = match wanted {
                Wanted::Number(number) => state.numbers.take_exactly(number).then_some(number),
                _ => state.numbers.take(Instant::now()),
            };
            if let Some(number) = number {
                return Ok(Reserved::Number(number));
            }
            // Only the link of a container that is gone is worth waiting for.
            let waits = match wanted {
                Wanted::Number(number) => state.dying.iter().any(|(dying, _)| *dying == number),
                _ => !state.dying.is_empty(),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if !waits || left.is_zero() {
                return Err(match wanted {
                    Wanted::Number(number) => Error::Invalid(format!(
                        "network {} is in use by another container",
                        self.net.subnet(number).first()
                    )),
                    _ => Error::Exhausted { what: "network", count: self.net.count(), key: "network.pool" },
                });
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes back a namespace that no process has been in.
    pub(crate) fn put_back(&self, ready: Ready) {
        match ready.subnet {
            None => lock(&self.state).bare.push_front(ready),
            Some(subnet) => {
                if let Some(number) = self.net.number_of(subnet.first()) {
                    lock(&self.state).ready.push_front((number, ready));
                }
            }
        }
    }

    /// The container that had these addresses is gone. Its number is free when its link is gone too.
    pub(crate) fn release(&self, subnet: Subnet) {
        if let Some(number) = self.net.number_of(subnet.first()) {
            self.release_number(number);
        }
    }

    fn release_number(&self, number: u32) {
        let mut state = lock(&self.state);
        if !state.dying.iter().any(|(dying, _)| *dying == number) {
            state.dying.push((number, Instant::now()));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Deletes links of this platform that belong to none of these addresses.
    pub(crate) fn sweep(&self, known: &[Subnet]) -> Result<(), Error> {
        let known: Vec<String> = known.iter().map(|subnet| self.maker.name(*subnet)).collect();
        let swept = Netlink::open().and_then(|mut host| {
            let mut left = self.maker.all(&mut host)?;
            left.retain(|(_, name)| !known.contains(name));
            for (_, name) in &left {
                tracing::info!(name, "removing a link that is nobody's");
            }
            link::delete(&mut host, &left.iter().map(|(index, _)| *index).collect::<Vec<_>>())
        });
        swept.map_err(|source| Error::Net {
            action: "remove links that are nobody's",
            name: format!("{}*", self.maker.prefix()),
            source,
        })
    }

    /// Leaves every link of this platform as it is, and takes their numbers.
    pub(crate) fn keep_all(&self) -> Result<(), Error> {
        for (address, name) in link::addresses_in(self.net)? {
            if name.starts_with(self.maker.prefix())
                && let Some(number) = self.net.number_of(address)
            {
                lock(&self.state).numbers.take_exactly(number);
            }
        }
        Ok(())
    }

    /// Makes nothing ready any more, and forgets what is. Waits until their links are gone; those of containers stay.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ending = true;
        let ready: Vec<(u32, Ready)> = state.ready.drain(..).collect();
        state.bare.clear();
        state.dying.extend(ready.iter().map(|(number, _)| (*number, Instant::now())));
        drop(state);
        for subnet in ready.iter().filter_map(|(_, ready)| ready.subnet) {
            if let Err(error) = self.firewall.remove(subnet) {
                tracing::warn!(error = error.chain(), "a link that was ready is left in the firewall");
            }
        }
        drop(ready);
        self.changed.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn work(&self, mut host: Netlink) {
        loop {
            match self.next() {
                Step::End => return,
                Step::MakeBare => match self.maker.make_here(&mut host, None) {
                    Ok(namespace) => self.keep(None, Ready { subnet: None, namespace }),
                    Err(error) => self.pause(self.maker.failed(None)(error)),
                },
                Step::Make(number) => match self.make(&mut host, self.net.subnet(number)) {
                    Ok(ready) => self.keep(Some(number), ready),
                    Err(error) => {
                        self.release_number(number);
                        self.pause(error);
                    }
                },
                Step::Look(dying) => self.look(&mut host, &dying),
            }
        }
    }

    fn make(&self, host: &mut Netlink, subnet: Subnet) -> Result<Ready, Error> {
        let made = self.maker.make_here(host, Some(subnet));
        let namespace = made.map_err(self.maker.failed(Some(subnet)))?;
        self.firewall.prepare(subnet)?;
        Ok(Ready { subnet: Some(subnet), namespace })
    }

    /// Waits until there is something to do.
    fn next(&self) -> Step {
        let mut state = lock(&self.state);
        let mut looked = false;
        loop {
            let now = Instant::now();
            if state.ending && state.dying.iter().all(|(_, since)| since.elapsed() > WAIT) {
                return Step::End;
            }
            if looked && !state.dying.is_empty() {
                return Step::Look(state.dying.clone());
            }
            let lacks = !state.ending && state.ready.len() < self.size;
            let bare_lacks = !state.ending && state.bare.len() < state.bare_size;
            let low = |has: usize| has * 2 < self.size;
            if lacks
                && (now >= state.calm_at || low(state.ready.len()))
                && let Some(number) = state.numbers.take(now)
            {
                return Step::Make(number);
            }
            if bare_lacks && (now >= state.calm_at || low(state.bare.len())) {
                return Step::MakeBare;
            }
            let wait = match (state.dying.is_empty(), lacks || bare_lacks) {
                (false, _) => LOOK,
                (true, true) => CALM,
                (true, false) => Duration::from_secs(3_600),
            };
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            looked = true;
        }
    }

    fn keep(&self, number: Option<u32>, ready: Ready) {
        let mut state = lock(&self.state);
        match number {
            // Nobody shall have it any more.
            _ if state.ending => {
                state.dying.extend(number.map(|number| (number, Instant::now())));
                drop(state);
                let removed = ready.subnet.map_or(Ok(()), |subnet| self.firewall.remove(subnet));
                if let Err(error) = removed {
                    tracing::warn!(error = error.chain(), "a link that was ready is left in the firewall");
                }
                return;
            }
            Some(number) => state.ready.push_back((number, ready)),
            None => state.bare.push_back(ready),
        }
        drop(state);
        self.changed.notify_all();
    }

    fn pause(&self, error: Error) {
        tracing::error!(error = error.chain(), "no network link could be made ready");
        lock(&self.state).calm_at = Instant::now() + RETRY;
        thread::sleep(RETRY);
    }

    /// Frees the numbers whose links are gone; deletes links that the kernel should have taken by now.
    fn look(&self, host: &mut Netlink, dying: &[(u32, Instant)]) {
        let mut gone = Vec::new();
        let mut late = Vec::new();
        for (number, since) in dying {
            match link::find(host, &self.maker.name(self.net.subnet(*number))) {
                Ok(None) => gone.push(*number),
                Ok(Some(index)) if since.elapsed() > DELETE_AFTER => late.push(index),
                Ok(Some(_)) => (),
                Err(error) => tracing::warn!(number, %error, "cannot look for a link"),
            }
        }
        if let Err(error) = link::delete(host, &late) {
            tracing::warn!(%error, count = late.len(), "links of containers that are gone cannot be deleted");
        }
        let mut state = lock(&self.state);
        state.dying.retain(|(number, _)| !gone.contains(number));
        for number in gone {
            state.numbers.give_back(number, Instant::now());
        }
        drop(state);
        self.changed.notify_all();
    }
}

enum Reserved {
    Ready(Ready),
    Number(u32),
}
