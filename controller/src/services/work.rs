//! Carries operations out: claims those that are due, asks their brokers, and writes what came of it.

use super::{
    Answer, BrokerChange, Call, Kind, Phase, Wish,
    begin::later,
    catalog,
    config::LONGEST_PAUSE,
    decide,
    decide::{Done, Next},
    requests,
};
use crate::{
    api::ApiError,
    context::Shared,
    store::{self, BindingRow, BrokerRow, Follow, OperationRow},
};
use cupola_protocol::{api::ErrorItem, osb};
use std::{future::Future, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How long nobody looks for work at most: another controller may have died.
const LONGEST_IDLE: Duration = Duration::from_secs(5);
/// How long at least, so that a row which nobody can take up does not make a loop hot.
const SHORTEST_IDLE: Duration = Duration::from_millis(20);
/// The pause of a deletion that waits for its bindings, and of a step that the database did not take.
const WAIT: Duration = Duration::from_millis(500);

/// Takes up operations as they become due, until shutdown.
pub(crate) async fn work(context: Shared) {
    loop {
        let pause = match take_up(&context).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "cannot read what is to be asked of service brokers");
                LONGEST_IDLE
            }
        };
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = context.services.changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Claims what is due and begins to carry it out; gives the pause until there may be more.
async fn take_up(context: &Shared) -> store::Result<Duration> {
    let free = context.services.slots.available_permits();
    if free == 0 {
        return Ok(LONGEST_IDLE);
    }
    let config = &context.config.services;
    for mut row in store::due_operations(&context.pool, free as i64).await? {
        let claim = store::new_guid();
        let sending = row.phase == Phase::Send.as_str();
        let until = later(config.claim());
        if !store::claim_operation(&context.pool, &row, &claim, &until, sending).await? {
            continue;
        }
        row.claim = claim;
        row.tries += i64::from(sending);
        let context = context.clone();
        context.tasks.clone().spawn(async move {
            let Ok(_slot) = context.services.slots.acquire().await else { return };
            carry_out(&context, row).await;
            context.services.changed.notify_one();
        });
    }
    let next = store::next_due(&context.pool).await?;
    let pause = next.and_then(|at| OffsetDateTime::parse(&at, &Rfc3339).ok()).map_or(LONGEST_IDLE, |at| {
        Duration::try_from(at - OffsetDateTime::now_utc()).unwrap_or(Duration::ZERO)
    });
    Ok(pause.clamp(SHORTEST_IDLE, LONGEST_IDLE))
}

/// Carries out one step of an operation that is ours.
async fn carry_out(context: &Shared, row: OperationRow) {
    let stepped = held(context, &row, step(context, &row)).await;
    if let Some(Err(error)) = stepped {
        // Such as a transaction that the database gave up for another one: the step is done again soon.
        tracing::warn!(operation = ?row, error = error.detail(), "could not carry out what was to be asked of a broker");
        tokio::select! {
            () = context.shutdown.cancelled() => {}
            () = tokio::time::sleep(WAIT) => {}
        }
        if let Err(error) = store::release_claim(&context.pool, &row.guid, &row.claim).await {
            tracing::debug!(%error, "could not give a claim back: it ends by itself");
        }
    }
}

/// Does some work while the claim is renewed; nothing when it is lost or the controller ends, and then the work is
/// dropped where it stands.
async fn held<T>(context: &Shared, row: &OperationRow, work: impl Future<Output = T>) -> Option<T> {
    let lease = context.config.services.claim();
    let mut renew = tokio::time::interval(lease / 3);
    renew.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            () = context.shutdown.cancelled() => {
                if let Err(error) = store::release_claim(&context.pool, &row.guid, &row.claim).await {
                    tracing::debug!(%error, "could not give a claim back: it ends by itself");
                }
                return None;
            }
            _ = renew.tick() => {
                match store::renew_claim(&context.pool, &row.guid, &row.claim, &later(lease)).await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => tracing::warn!(%error, "could not renew a claim"),
                }
            }
        }
    }
}

async fn step(context: &Shared, row: &OperationRow) -> Result<(), ApiError> {
    let broken = || ApiError::unprocessable(format!("The row of operation {} cannot be read.", row.guid));
    let kind = Kind::read(&row.kind).ok_or_else(broken)?;
    let phase = Phase::read(&row.phase).ok_or_else(broken)?;
    let wish: Wish = serde_json::from_str(&row.request).map_err(|_| broken())?;
    // A broker that is deleted takes its operations with it.
    let Some(broker) = store::get::<BrokerRow>(&context.pool, "service_brokers", &row.broker_guid).await?
    else {
        return Ok(());
    };
    if let (Kind::Catalog, Some(change)) = (kind, &wish.broker) {
        return fetch_catalog(context, row, broker, change).await;
    }
    let late = row.deadline_at <= store::now();
    if phase == Phase::Wait {
        return wait_for_bindings(context, row, &broker, &wish, late).await;
    }
    let call = requests::call(kind, phase, row, &wish);
    let answer = context.services.brokers.call(&broker, call, &row.user_guid, &row.guid).await;
    let next = match (phase, &answer) {
        (Phase::Send, Answer::Said { status: 404, .. }) if wish.never_made && kind.deletes() => {
            Next::Done(Done::Gone)
        }
        (Phase::Poll, _) => decide::after_poll(kind, &answer),
        (Phase::Fetch, _) => decide::after_fetch(&answer),
        _ => decide::after_send(kind, &answer, row.tries > 1),
    };
    let next = match next {
        Next::Poll { description, .. } if late => {
            decide::too_late(kind, &description.map_or(String::new(), |text| format!("said: {text}")))
        }
        Next::Again(why) if late => decide::too_late(kind, &why),
        Next::Anew(why) if late => decide::too_late(kind, &why),
        next => next,
    };
    apply(context, row, &broker, kind, phase, &wish, next).await
}

/// Writes what came of a step.
async fn apply(
    context: &Shared,
    row: &OperationRow,
    broker: &BrokerRow,
    kind: Kind,
    phase: Phase,
    wish: &Wish,
    next: Next,
) -> Result<(), ApiError> {
    let pool = &context.pool;
    let config = &context.config.services;
    let ours = match next {
        Next::Done(done) => finish(context, row, kind, wish, done).await?,
        Next::Poll { operation, description, after } => {
            let first = phase == Phase::Send;
            let due = later(config.poll().max(after.unwrap_or_default()).min(LONGEST_PAUSE));
            let broker_operation = if first { operation } else { row.broker_operation.clone() };
            let row = OperationRow { broker_operation, ..row.clone() };
            store::go_on(pool, &row, Phase::Poll.as_str(), &due, description.as_deref(), first).await?
        }
        Next::Fetch => store::go_on(pool, row, Phase::Fetch.as_str(), &store::now(), None, false).await?,
        Next::Again(why) => {
            tracing::info!(operation = ?row, broker = broker.name, why, "asks a service broker again");
            store::go_on(pool, row, phase.as_str(), &later(config.poll()), None, false).await?
        }
        Next::Anew(why) => {
            tracing::warn!(operation = ?row, broker = broker.name, why, tries = row.tries, "cleaning up fails for now");
            let due = later(config.backoff(row.tries));
            store::go_on(pool, row, Phase::Send.as_str(), &due, None, false).await?
        }
        Next::Failed { why, .. } if kind.cleans() => {
            tracing::error!(operation = ?row, broker = broker.name, why, "gave up cleaning up: look for it at the broker");
            store::cleaned(pool, row).await?
        }
        Next::Failed { why, mitigate } => {
            let why = format!("Service broker {} {why}", broker.name);
            tracing::warn!(operation = ?row, why, mitigate, "a service broker failed");
            let follow = kind.mitigation().filter(|_| mitigate).map(|kind| Follow {
                kind: kind.as_str(),
                deadline: later(Duration::from_secs(config.max_cleanup_seconds)),
            });
            let errors = errors(&format!("{} could not be completed: {why}", kind.as_str()));
            store::operation_failed(pool, row, &why, &errors, follow.as_ref()).await?
        }
    };
    if !ours {
        tracing::info!(operation = ?row, "another has taken over what was asked of a broker");
    }
    Ok(())
}

async fn finish(
    context: &Shared,
    row: &OperationRow,
    kind: Kind,
    wish: &Wish,
    done: Done,
) -> Result<bool, ApiError> {
    let pool = &context.pool;
    Ok(match (kind, done) {
        (Kind::Update, Done::Instance(dashboard)) => {
            let change = wish.instance.clone().unwrap_or_default();
            match store::updated(pool, row, &change, dashboard.as_deref()).await {
                Err(error) if store::is_duplicate(&error) => {
                    let why = format!("the service instance name is taken: {}", change.name);
                    store::operation_failed(pool, row, &why, &errors(&why), None).await?
                }
                other => other?,
            }
        }
        (_, Done::Instance(dashboard)) => store::provisioned(pool, row, dashboard.as_deref()).await?,
        (_, Done::Binding(binding)) => store::bound(pool, row, &binding).await?,
        (Kind::Deprovision, Done::Gone) => store::deprovisioned(pool, row).await?,
        (Kind::Unbind, Done::Gone) => store::unbound(pool, row).await?,
        (_, Done::Gone) => store::cleaned(pool, row).await?,
    })
}

/// A deletion goes on when its bindings are gone, and when every broker's cleaning up was tried once.
async fn wait_for_bindings(
    context: &Shared,
    row: &OperationRow,
    broker: &BrokerRow,
    wish: &Wish,
    late: bool,
) -> Result<(), ApiError> {
    let pool = &context.pool;
    let instance = row.instance_guid.as_deref().unwrap_or_default();
    let mut waits = store::operations_of_instance(pool, instance).await?.iter().any(|other| {
        Kind::read(&other.kind) == Some(Kind::CleanBinding) && other.tries == 0 && other.guid != row.guid
    });
    for binding in store::bindings_of_instance(pool, instance).await? {
        let tried = binding.operation == "delete" && binding.operation_created_at >= row.begun_at;
        if tried && !binding.in_progress() {
            let why = binding.operation_description.unwrap_or_default();
            let why = format!("A binding of it could not be deleted: {why}");
            let errors = errors(&format!("deprovision could not be completed: {why}"));
            store::operation_failed(pool, row, &why, &errors, None).await?;
            return Ok(());
        }
        waits = true;
        if !binding.in_progress() {
            unbind_first(context, &binding, row, wish).await?;
        }
    }
    if waits && late {
        let next = decide::too_late(Kind::Deprovision, "");
        return apply(context, row, broker, Kind::Deprovision, Phase::Wait, wish, next).await;
    }
    let (phase, due) = if waits { (Phase::Wait, later(WAIT)) } else { (Phase::Send, store::now()) };
    store::go_on(pool, row, phase.as_str(), &due, None, false).await?;
    Ok(())
}

async fn unbind_first(
    context: &Shared,
    binding: &BindingRow,
    row: &OperationRow,
    wish: &Wish,
) -> Result<(), ApiError> {
    context.begin_unbind_first(binding, row, wish).await.map(drop)
}

/// Fetches a catalog, checks it, and takes it in; the broker becomes what was wished with it.
async fn fetch_catalog(
    context: &Shared,
    row: &OperationRow,
    mut broker: BrokerRow,
    change: &BrokerChange,
) -> Result<(), ApiError> {
    broker.name.clone_from(&change.name);
    broker.url.clone_from(&change.url);
    broker.username.clone_from(&change.username);
    broker.password.clone_from(&change.password);
    let call = Call::get(osb::CATALOG_PATH);
    let answer = context.services.brokers.call(&broker, call, &row.user_guid, &row.guid).await;
    let pool = &context.pool;
    let why = match catalog_of(&answer) {
        Ok(catalog) => {
            broker.available = true;
            match store::catalog_taken(pool, row, &broker, &catalog).await {
                Err(error) if store::is_duplicate(&error) => "has a name that is taken".to_owned(),
                other => {
                    let ours = other?;
                    tracing::debug!(broker = broker.name, ours, "took a catalog in");
                    return Ok(());
                }
            }
        }
        Err(why) => why,
    };
    let why = format!("Service broker {} {why}", broker.name);
    tracing::warn!(why, "could not take a catalog in");
    let item = ErrorItem { code: 270_012, title: "CF-ServiceBrokerCatalogInvalid".to_owned(), detail: why };
    store::catalog_refused(pool, row, change.is_new, &store::json(&[item])).await?;
    Ok(())
}

/// The catalog of an answer, or what is wrong with it.
fn catalog_of(answer: &Answer) -> Result<osb::Catalog, String> {
    let catalog: osb::Catalog = match answer {
        Answer::Unreached(why) => return Err(format!("could not be reached: {why}")),
        Answer::Silent(why) => return Err(why.clone()),
        Answer::Said { status: 200, body, .. } => {
            decide::read(body).map_err(|why| format!("has a catalog that cannot be read: {why}"))?
        }
        Answer::Said { status, body, .. } => return Err(decide::refusal(*status, body)),
    };
    let problems = catalog::problems(&catalog);
    if problems.is_empty() {
        Ok(catalog)
    } else {
        Err(format!("has an invalid catalog: {}", problems.join("; ")))
    }
}

/// The errors of a job that has failed.
fn errors(detail: &str) -> String {
    let title = "CF-UnableToPerform".to_owned();
    store::json(&[ErrorItem { code: 10009, title, detail: detail.to_owned() }])
}
