//! Binds apps to the service instances that their manifests name.

use super::{NewBinding, busy_binding, check_bindable};
use crate::{
    api::ApiError,
    context::Context,
    store::{self, BindingRow, InstanceRow, Origin, SpaceRow},
};
use cupola_protocol::api::ManifestService;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::Instant;

/// How long a manifest waits for its bindings beyond the time that a broker has to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A service instance that a manifest names, checked.
pub(crate) struct PlannedBinding {
    instance: InstanceRow,
    origin: Option<Origin>,
    name: Option<String>,
    parameters: Option<Map<String, Value>>,
}

impl Context {
    /// Checks the service instances that a manifest names for an app, which may not be there yet. What it is bound to
    /// already is left out.
    pub(crate) async fn planned_bindings(
        &self,
        space: &SpaceRow,
        app: Option<&str>,
        wishes: &[ManifestService],
    ) -> Result<Vec<PlannedBinding>, ApiError> {
        let mut planned: Vec<PlannedBinding> = Vec::new();
        for wish in wishes {
            let name = wish.name();
            let instance = store::instance_named(&self.pool, &space.guid, name).await?;
            let instance = instance.ok_or_else(|| {
                ApiError::unprocessable(format!(
                    "Service instance '{name}' not found: create it first, or remove it from the manifest."
                ))
            })?;
            let bound = match app {
                Some(app) => store::binding_of(&self.pool, &instance.guid, app).await?,
                None => None,
            };
            let twice = planned.iter().any(|other| other.instance.guid == instance.guid);
            if twice || bound.is_some_and(|row| row.is_made() && row.operation == "create") {
                continue;
            }
            let origin = match &instance.plan_guid {
                Some(plan) => store::origin(&self.pool, plan).await?,
                None => None,
            };
            check_bindable(&instance, origin.as_ref())?;
            let (name, parameters) = match wish {
                ManifestService::Name(_) => (None, None),
                ManifestService::Detailed { parameters, binding_name, .. } => {
                    (binding_name.clone(), parameters.clone())
                }
            };
            if parameters.is_some() && origin.is_none() {
                return Err(ApiError::unprocessable(
                    "Binding parameters are not supported for user-provided service instances.",
                ));
            }
            planned.push(PlannedBinding { instance, origin, name, parameters });
        }
        Ok(planned)
    }

    /// Binds an app, and waits until its brokers have done it.
    pub(crate) async fn bind_planned(
        &self,
        app: &str,
        planned: Vec<PlannedBinding>,
        user: &str,
    ) -> Result<(), ApiError> {
        let mut begun = Vec::new();
        for one in planned {
            let _lock = self.locks.app(app).await?;
            let old = store::binding_of(&self.pool, &one.instance.guid, app).await?;
            let instead_of = match old {
                Some(old) if old.never_made() => Some(old.guid),
                Some(old) if old.operation == "delete" => return Err(busy_binding(&one.instance.name)),
                Some(old) => {
                    begun.push((old.guid, one.instance.name));
                    continue;
                }
                None => None,
            };
            let row = BindingRow::new(&one.instance, Some(app.to_owned()), one.name);
            let guid = row.guid.clone();
            let new = NewBinding { row, instead_of, parameters: one.parameters };
            match &one.origin {
                Some(origin) => drop(self.begin_bind(&new, &one.instance, origin, user).await?),
                None => self.bind_at_once(&new).await?,
            }
            begun.push((guid, one.instance.name));
        }
        let deadline = Instant::now() + self.config.services.broker_timeout() + PATIENCE;
        for (guid, instance) in begun {
            self.until_bound(&guid, &instance, deadline).await?;
        }
        Ok(())
    }

    async fn until_bound(&self, guid: &str, instance: &str, deadline: Instant) -> Result<(), ApiError> {
        loop {
            let row: Option<BindingRow> = store::get(&self.pool, "service_bindings", guid).await?;
            match row {
                Some(row) if row.in_progress() && Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Some(row) if row.in_progress() => {
                    return Err(ApiError::unprocessable(format!(
                        "Binding service instance {instance} goes on for long: apply the manifest again when it is done."
                    )));
                }
                Some(row) if row.is_made() => return Ok(()),
                other => {
                    let why = other.and_then(|row| row.operation_description).unwrap_or_default();
                    let detail = format!("Service instance {instance} could not be bound: {why}.");
                    return Err(ApiError::unprocessable(detail));
                }
            }
        }
    }
}
