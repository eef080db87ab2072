//! The advertisements of nodes and stagers, while they count.

use cupola_protocol::{AppId, DeaId, Mebibytes, StagerId, dea, staging};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The nodes that could run instances.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    ads: Mutex<BTreeMap<DeaId, (dea::Advertise, Instant)>>,
    news: Notify,
}

impl Nodes {
    fn ads(&self) -> MutexGuard<'_, BTreeMap<DeaId, (dea::Advertise, Instant)>> {
        self.ads.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn advertise(&self, ad: dea::Advertise) {
        self.ads().insert(ad.id.clone(), (ad, Instant::now()));
        self.news.notify_waiters();
    }

    pub(crate) fn gone(&self, id: &DeaId) {
        self.ads().remove(id);
    }

    /// The advertisements that are not older than `ttl`; forgets the others.
    pub(crate) fn fresh(&self, ttl: Duration) -> Vec<dea::Advertise> {
        let mut ads = self.ads();
        ads.retain(|_, (_, at)| at.elapsed() <= ttl);
        ads.values().map(|(ad, _)| ad.clone()).collect()
    }

    /// Counts an instance that was just placed, until the node's next advertisement says it itself.
    pub(crate) fn reserve(&self, id: &DeaId, app: &AppId, memory: Mebibytes, disk: Mebibytes) {
        if let Some((ad, _)) = self.ads().get_mut(id) {
            ad.available_memory.0 = ad.available_memory.0.saturating_sub(memory.0);
            ad.available_disk.0 = ad.available_disk.0.saturating_sub(disk.0);
            *ad.app_id_to_count.entry(app.clone()).or_default() += 1;
        }
    }

    /// Waits for the next advertisement.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

/// The stagers.
#[derive(Debug, Default)]
pub(crate) struct Stagers {
    ads: Mutex<BTreeMap<StagerId, (staging::Advertise, Instant)>>,
    news: Notify,
}

impl Stagers {
    fn ads(&self) -> MutexGuard<'_, BTreeMap<StagerId, (staging::Advertise, Instant)>> {
        self.ads.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn advertise(&self, ad: staging::Advertise) {
        self.ads().insert(ad.id.clone(), (ad, Instant::now()));
        self.news.notify_waiters();
    }

    /// The advertisements that are not older than `ttl`; forgets the others.
    pub(crate) fn fresh(&self, ttl: Duration) -> Vec<staging::Advertise> {
        let mut ads = self.ads();
        ads.retain(|_, (_, at)| at.elapsed() <= ttl);
        ads.values().map(|(ad, _)| ad.clone()).collect()
    }

    /// Counts a staging that was just given out.
    pub(crate) fn reserve(&self, id: &StagerId, memory: Mebibytes, disk: Mebibytes) {
        if let Some((ad, _)) = self.ads().get_mut(id) {
            ad.available_memory.0 = ad.available_memory.0.saturating_sub(memory.0);
            // 0 means "does not say": never reached from a number.
            ad.available_disk.0 =
                ad.available_disk.0.saturating_sub(disk.0).max(u64::from(ad.available_disk.0 > 0));
        }
    }

    /// Waits for the next advertisement.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}
