//! Following a container's init: its notes become the progress of jobs.

use super::container::Container;
use super::engine::Engine;
use super::job::{End, Job};
use super::{Error, lock};
use crate::init::client::Events;
use crate::wire::Event;
use std::io;
use std::sync::Arc;

/// What a job that wrote too much leaves in the container's events.
const TOO_MUCH: &str = "command exceeded maximum output";

impl Engine {
    /// Follows the notes of an init that has just been started.
    pub(crate) fn follow_own(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), Error> {
        let events = container.init()?.subscribe_own().map_err(Error::init("follow the container's init"))?;
        self.follow_events(container, events);
        Ok(())
    }

    /// Takes the jobs that the init knows of, and follows its notes from then on.
    pub(crate) fn follow(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), Error> {
        let (states, events) =
            container.init()?.subscribe().map_err(Error::init("follow the container's init"))?;
        for state in states {
            let directory = container.job_directory(u32::try_from(state.id).unwrap_or_default());
            if let Some(job) = Job::known(state, directory) {
                lock(&container.jobs).insert(job.id, Arc::new(job));
            }
        }
        self.follow_events(container, events);
        Ok(())
    }

    fn follow_events(self: &Arc<Self>, container: &Arc<Container>, events: Events) {
        self.watch_memory_of(container);
        let (engine, container) = (self.clone(), container.clone());
        self.runtime.spawn(async move {
            if let Err(error) = engine.notes(&container, events).await {
                tracing::warn!(handle = container.handle, %error, "lost the container's init");
            }
            // Whatever has not ended by now: nobody will ever say how.
            for job in lock(&container.jobs).values() {
                job.ended(End::Lost);
            }
        });
    }

    /// Until the init is gone.
    async fn notes(self: &Arc<Self>, container: &Arc<Container>, events: Events) -> io::Result<()> {
        let mut events = crate::sys::watch::events(events)?;
        loop {
            let mut ready = events.readable_mut().await?;
            match ready.try_io(|events| events.get_mut().try_next()) {
                Err(_would_block) => (),
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => (),
                Ok(note) => match note? {
                    Some(note) => self.note(container, note),
                    None => return Ok(()),
                },
            }
        }
    }

    fn note(self: &Arc<Self>, container: &Arc<Container>, note: Event) {
        let find = |id: u64| u32::try_from(id).ok().and_then(|id| lock(&container.jobs).get(&id).cloned());
        match note {
            Event::Output { job, offset } => {
                if let Some(job) = find(job) {
                    job.wrote(offset);
                }
            }
            Event::Ended { job, end } => {
                let Some(job) = find(job) else { return };
                // Before anybody hears of the end: whoever hears of it may ask for the events.
                if end.output_limit {
                    container.event(&self.journal, TOO_MUCH);
                }
                self.check_memory(container, Some((job.id, &end)));
                job.wrote(end.offset);
                job.ended(End::Known(end));
            }
        }
    }
}
