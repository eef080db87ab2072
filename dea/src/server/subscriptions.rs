//! Everything that an agent hears, as one stream.

use cupola_bus::{Bus, Error, Incoming, Subscription};
use cupola_protocol::{
    DeaId,
    dea::{FindDroplet, Locate, Start, StatusRequest, Stop, Update, start_subject},
    health, router,
};

/// One thing heard.
pub(super) enum News {
    Start(Box<Incoming<Start>>),
    Stop(Stop),
    Update(Update),
    Find(Incoming<FindDroplet>),
    Status(Incoming<StatusRequest>),
    Locate,
    RouterStart(router::Start),
    HealthManagerStarted,
}

pub(super) struct Subscriptions {
    starts: Subscription<Start>,
    stops: Subscription<Stop>,
    updates: Subscription<Update>,
    finds: Subscription<FindDroplet>,
    statuses: Subscription<StatusRequest>,
    locates: Subscription<Locate>,
    routers: Subscription<router::Start>,
    health_managers: Subscription<health::Started>,
}

impl Subscriptions {
    pub(super) async fn new(bus: &Bus, id: &DeaId) -> Result<Self, Error> {
        Ok(Self {
            starts: bus.subscribe_to(&start_subject(id)).await?,
            stops: bus.subscribe().await?,
            updates: bus.subscribe().await?,
            finds: bus.subscribe().await?,
            statuses: bus.subscribe().await?,
            locates: bus.subscribe().await?,
            routers: bus.subscribe().await?,
            health_managers: bus.subscribe().await?,
        })
    }

    /// The next thing; `None` when the connection is closed for good. Stops come before starts: what is to be
    /// replaced must free its room first.
    pub(super) async fn next(&mut self) -> Option<News> {
        Some(tokio::select! {
            biased;
            stop = self.stops.next() => News::Stop(stop?.message),
            start = self.starts.next() => News::Start(Box::new(start?)),
            update = self.updates.next() => News::Update(update?.message),
            find = self.finds.next() => News::Find(find?),
            status = self.statuses.next() => News::Status(status?),
            locate = self.locates.next() => { locate?; News::Locate }
            start = self.routers.next() => News::RouterStart(start?.message),
            started = self.health_managers.next() => { started?; News::HealthManagerStarted }
        })
    }
}
