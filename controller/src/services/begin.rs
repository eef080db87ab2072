//! Begins what is to be asked of a broker: the row of the instance or binding, its operation and its job are written
//! together, and nothing was sent yet.

use super::{BrokerChange, Kind, Phase, Wish};
use crate::{
    api::ApiError,
    context::Context,
    quota,
    store::{self, BindingRow, BrokerRow, Change, InstanceRow, OperationRow, Origin, SpaceRow},
};
use cupola_protocol::osb;
use serde_json::{Map, Value, json};
use std::time::Duration;
use time::OffsetDateTime;

/// What was begun: the guid of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun(pub String);

/// A binding that is wished for.
#[derive(Clone)]
pub(crate) struct NewBinding {
    pub row: BindingRow,
    /// A failed binding that it replaces.
    pub instead_of: Option<String>,
    pub parameters: Option<Map<String, Value>>,
}

/// A time from now, as rows have it.
pub(crate) fn later(pause: Duration) -> String {
    store::stamp(OffsetDateTime::now_utc() + pause)
}

impl Context {
    /// The row of an operation that is due at once.
    pub(crate) fn operation(&self, kind: Kind, broker: &str, wish: &Wish, user: &str) -> OperationRow {
        let config = &self.config.services;
        let seconds = match wish.maximum_polling {
            _ if kind.cleans() => config.max_cleanup_seconds,
            Some(seconds) => seconds.min(config.max_poll_seconds),
            None => config.max_poll_seconds,
        };
        let now = store::now();
        OperationRow {
            guid: store::new_guid(),
            kind: kind.as_str().to_owned(),
            phase: if kind == Kind::Deprovision { Phase::Wait } else { Phase::Send }.as_str().to_owned(),
            broker_guid: broker.to_owned(),
            instance_guid: None,
            binding_guid: None,
            request: store::json(wish),
            job_guid: None,
            user_guid: user.to_owned(),
            broker_operation: None,
            tries: 0,
            begun_at: now.clone(),
            deadline_at: later(Duration::from_secs(seconds)),
            due_at: now,
            claim: String::new(),
            claimed_until: String::new(),
        }
    }

    async fn begun(
        &self,
        mut change: Change<'_>,
        mut row: OperationRow,
        job: String,
    ) -> Result<Begun, ApiError> {
        row.job_guid = Some(job.clone());
        store::insert_operation(&mut change, &row).await?;
        change.commit().await?;
        self.services.changed.notify_one();
        Ok(Begun(job))
    }

    /// Begins to make an instance.
    pub(crate) async fn begin_provision(
        &self,
        instance: &InstanceRow,
        origin: &Origin,
        parameters: Option<Map<String, Value>>,
        user: &str,
    ) -> Result<Begun, ApiError> {
        let plan = origin.plan.catalog();
        let body = osb::ProvisionRequest {
            service_id: origin.offering.catalog_id.as_str().into(),
            plan_id: origin.plan.catalog_id.as_str().into(),
            context: self.broker_context(&instance.space_guid, &instance.name).await?,
            organization_guid: self.organization_of(&instance.space_guid).await?,
            space_guid: instance.space_guid.clone(),
            parameters,
            maintenance_info: plan.maintenance_info.clone(),
        };
        let wish = Wish { body: json!(body), ..wish(origin) };
        let mut room = self.room(&instance.space_guid).await?;
        let fits = room.check_service(!plan.is_free()).await?;
        fits.map_err(|(owner, exceeded)| quota::refusal(owner, exceeded))?;
        let mut change = room.into_change();
        let job = store::insert_job(&mut change, "service_instance.create", user).await?;
        let inserted = store::insert_instance(&mut change, instance).await;
        inserted.map_err(|error| name_taken(error, &instance.name))?;
        let row = self.operation(Kind::Provision, &origin.broker.guid, &wish, user);
        let row = OperationRow { instance_guid: Some(instance.guid.clone()), ..row };
        self.begun(change, row, job).await
    }

    /// Begins to change an instance.
    pub(crate) async fn begin_update(
        &self,
        instance: &InstanceRow,
        origin: &Origin,
        wish: &Wish,
        user: &str,
    ) -> Result<Begun, ApiError> {
        let mut change = self.pool.begin().await?;
        let job = store::insert_job(&mut change, "service_instance.update", user).await?;
        if !store::begin_on_instance(&mut change, &instance.guid, "update").await? {
            return Err(busy_instance(&instance.name));
        }
        let row = self.operation(Kind::Update, &origin.broker.guid, wish, user);
        let row = OperationRow { instance_guid: Some(instance.guid.clone()), ..row };
        self.begun(change, row, job).await
    }

    /// Begins to delete an instance; `recursive` its bindings first.
    pub(crate) async fn begin_deprovision(
        &self,
        instance: &InstanceRow,
        origin: &Origin,
        recursive: bool,
        user: &str,
    ) -> Result<Begun, ApiError> {
        let wish = Wish { recursive, never_made: instance.never_made(), ..wish(origin) };
        let mut change = self.pool.begin().await?;
        let job = store::insert_job(&mut change, "service_instance.delete", user).await?;
        if !store::begin_on_instance(&mut change, &instance.guid, "delete").await? {
            return Err(busy_instance(&instance.name));
        }
        let row = self.operation(Kind::Deprovision, &origin.broker.guid, &wish, user);
        let row = OperationRow { instance_guid: Some(instance.guid.clone()), ..row };
        self.begun(change, row, job).await
    }

    /// Begins to make a binding.
    pub(crate) async fn begin_bind(
        &self,
        new: &NewBinding,
        instance: &InstanceRow,
        origin: &Origin,
        user: &str,
    ) -> Result<Begun, ApiError> {
        let app = new.row.app_guid.as_deref().map(Into::into);
        let body = osb::BindRequest {
            service_id: origin.offering.catalog_id.as_str().into(),
            plan_id: origin.plan.catalog_id.as_str().into(),
            context: self.broker_context(&instance.space_guid, &instance.name).await?,
            app_guid: app.clone(),
            bind_resource: app.map(|app| osb::BindResource { app_guid: Some(app), route: None }),
            parameters: new.parameters.clone(),
            predecessor_binding_id: None,
        };
        let asynchronous = origin.offering.catalog().bindings_retrievable;
        let wish = Wish { body: json!(body), asynchronous, ..wish(origin) };
        let mut change = self.pool.begin().await?;
        let job = store::insert_job(&mut change, "service_bindings.create", user).await?;
        self.insert_new_binding(&mut change, new).await?;
        let row = self.operation(Kind::Bind, &origin.broker.guid, &wish, user);
        let row = OperationRow {
            instance_guid: Some(instance.guid.clone()),
            binding_guid: Some(new.row.guid.clone()),
            ..row
        };
        self.begun(change, row, job).await
    }

    /// Writes a binding that no broker has to make.
    pub(crate) async fn bind_at_once(&self, new: &NewBinding) -> Result<(), ApiError> {
        let mut change = self.pool.begin().await?;
        self.insert_new_binding(&mut change, new).await?;
        Ok(change.commit().await?)
    }

    async fn insert_new_binding(&self, change: &mut Change<'_>, new: &NewBinding) -> Result<(), ApiError> {
        if let Some(old) = &new.instead_of {
            store::delete_binding(change, old).await?;
        }
        let row = &new.row;
        store::insert_binding(change, row).await.map_err(|error| {
            if !store::is_duplicate(&error) {
                error.into()
            } else if row.kind == "key" {
                key_taken(row.name.as_deref().unwrap_or_default())
            } else {
                already_bound()
            }
        })
    }

    /// Begins to delete a binding.
    pub(crate) async fn begin_unbind(
        &self,
        binding: &BindingRow,
        instance: &InstanceRow,
        origin: &Origin,
        user: &str,
    ) -> Result<Begun, ApiError> {
        let wish = Wish { never_made: binding.never_made(), ..wish(origin) };
        let mut change = self.pool.begin().await?;
        let job = store::insert_job(&mut change, "service_bindings.delete", user).await?;
        if !store::begin_unbinding(&mut change, &binding.guid).await? {
            return Err(busy_binding(&instance.name));
        }
        let row = OperationRow {
            instance_guid: Some(instance.guid.clone()),
            binding_guid: Some(binding.guid.clone()),
            ..self.operation(Kind::Unbind, &origin.broker.guid, &wish, user)
        };
        self.begun(change, row, job).await
    }

    /// The same for a deletion that waits for its bindings; nobody waits for a job. Says whether it could begin.
    pub(crate) async fn begin_unbind_first(
        &self,
        binding: &BindingRow,
        of: &OperationRow,
        wish: &Wish,
    ) -> Result<bool, ApiError> {
        let wish = Wish { never_made: binding.never_made(), recursive: false, ..wish.clone() };
        let mut change = self.pool.begin().await?;
        if !store::begin_unbinding(&mut change, &binding.guid).await? {
            return Ok(false);
        }
        let row = OperationRow {
            instance_guid: of.instance_guid.clone(),
            binding_guid: Some(binding.guid.clone()),
            ..self.operation(Kind::Unbind, &of.broker_guid, &wish, &of.user_guid)
        };
        store::insert_operation(&mut change, &row).await?;
        change.commit().await?;
        self.services.changed.notify_one();
        Ok(true)
    }

    /// Registers a broker, and begins to fetch its catalog.
    pub(crate) async fn begin_broker(&self, broker: &BrokerRow, user: &str) -> Result<Begun, ApiError> {
        let wish = Wish::of_broker(broker_change(broker, true));
        let mut change = self.pool.begin().await?;
        let job = store::insert_job(&mut change, "service_broker.catalog.synchronize", user).await?;
        store::insert_broker(&mut change, broker)
            .await
            .map_err(|error| if store::is_duplicate(&error) { broker_name_taken() } else { error.into() })?;
        let row = self.operation(Kind::Catalog, &broker.guid, &wish, user);
        self.begun(change, row, job).await
    }

    /// Begins to fetch the catalog of a broker that shall become this; it does once that has worked.
    pub(crate) async fn begin_catalog(&self, broker: &BrokerRow, user: &str) -> Result<Begun, ApiError> {
        let wish = Wish::of_broker(broker_change(broker, false));
        let mut change = self.pool.begin().await?;
        let job = store::insert_job(&mut change, "service_broker.update", user).await?;
        let row = self.operation(Kind::Catalog, &broker.guid, &wish, user);
        self.begun(change, row, job).await
    }

    /// What a broker is told of where an instance is.
    pub(crate) async fn broker_context(
        &self,
        space: &str,
        instance: &str,
    ) -> Result<Map<String, Value>, ApiError> {
        let space: Option<SpaceRow> = store::get(&self.pool, "spaces", space).await?;
        let space = space.ok_or_else(|| ApiError::not_found("Space"))?;
        let organization: Option<store::OrganizationRow> =
            store::get(&self.pool, "organizations", &space.organization_guid).await?;
        let organization = organization.ok_or_else(|| ApiError::not_found("Organization"))?;
        Ok([
            ("platform", "cloudfoundry"),
            ("organization_guid", &organization.guid),
            ("organization_name", &organization.name),
            ("space_guid", &space.guid),
            ("space_name", &space.name),
            ("instance_name", instance),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect())
    }

    async fn organization_of(&self, space: &str) -> Result<String, ApiError> {
        let space: Option<SpaceRow> = store::get(&self.pool, "spaces", space).await?;
        Ok(space.ok_or_else(|| ApiError::not_found("Space"))?.organization_guid)
    }

    /// Deletes the row of an app; brokers take back its bindings afterwards.
    pub(crate) async fn delete_app_row(&self, app: &str) -> Result<(), ApiError> {
        let mut cleanings = Vec::new();
        for binding in store::bindings_of_app(&self.pool, app).await? {
            cleanings.extend(self.cleaning_of_binding(&binding).await?);
        }
        let (sent, deadline) = self.cleaning_times();
        store::delete_app(&self.pool, app, &cleanings, &sent, &deadline).await?;
        self.services.changed.notify_one();
        Ok(())
    }

    /// What deletes a binding at its broker when its row is gone; nothing where the platform made it alone.
    async fn cleaning_of_binding(&self, binding: &BindingRow) -> Result<Option<OperationRow>, ApiError> {
        if binding.never_made() {
            return Ok(None);
        }
        let instance: Option<InstanceRow> =
            store::get(&self.pool, "service_instances", &binding.instance_guid).await?;
        let Some(plan) = instance.and_then(|instance| instance.plan_guid) else { return Ok(None) };
        let Some(origin) = store::origin(&self.pool, &plan).await? else { return Ok(None) };
        Ok(Some(OperationRow {
            instance_guid: Some(binding.instance_guid.clone()),
            binding_guid: Some(binding.guid.clone()),
            ..self.operation(Kind::CleanBinding, &origin.broker.guid, &wish(&origin), "")
        }))
    }

    /// Deletes what a space has of services; brokers take back their instances afterwards.
    pub(crate) async fn delete_services_of_space(&self, space: &str) -> Result<(), ApiError> {
        let (sent, deadline) = self.cleaning_times();
        for instance in store::instances_of_space(&self.pool, space).await? {
            let origin = match &instance.plan_guid {
                Some(plan) => store::origin(&self.pool, plan).await?,
                None => None,
            };
            match origin {
                Some(origin) if !instance.never_made() => {
                    let row = OperationRow {
                        instance_guid: Some(instance.guid.clone()),
                        ..self.operation(Kind::CleanInstance, &origin.broker.guid, &wish(&origin), "")
                    };
                    store::clean_instance(&self.pool, &row, &sent, &deadline).await?;
                }
                _ => self.forget_rows_of_instance(&instance).await?,
            }
        }
        self.services.changed.notify_one();
        Ok(())
    }

    /// Removes an instance that was never made, for another of its name. Should its broker have it after all, it is
    /// deleted there.
    pub(crate) async fn make_way(&self, old: &InstanceRow) -> Result<(), ApiError> {
        let cleaning = !store::operations_of_instance(&self.pool, &old.guid).await?.is_empty();
        let origin = match &old.plan_guid {
            Some(plan) if !cleaning => store::origin(&self.pool, plan).await?,
            _ => None,
        };
        let Some(origin) = origin else { return self.forget_rows_of_instance(old).await };
        let wish = Wish { never_made: true, ..wish(&origin) };
        let row = OperationRow {
            instance_guid: Some(old.guid.clone()),
            ..self.operation(Kind::CleanInstance, &origin.broker.guid, &wish, "")
        };
        let (sent, deadline) = self.cleaning_times();
        store::clean_instance(&self.pool, &row, &sent, &deadline).await?;
        self.services.changed.notify_one();
        Ok(())
    }

    /// Removes the rows of an instance without asking anyone. What still cleans up at its broker goes on.
    pub(crate) async fn forget_rows_of_instance(&self, instance: &InstanceRow) -> Result<(), ApiError> {
        let mut change = self.pool.begin().await?;
        for statement in [
            "DELETE FROM service_operations WHERE instance_guid = $1 AND kind NOT IN ('clean-instance', 'clean-binding')",
            "DELETE FROM service_bindings WHERE instance_guid = $1",
            "DELETE FROM service_instances WHERE guid = $1",
        ] {
            sqlx::query(statement).bind(&instance.guid).execute(&mut *change).await?;
        }
        Ok(change.commit().await?)
    }

    /// When nothing that is being sent to a broker now can arrive any more, and when cleaning up is given up.
    fn cleaning_times(&self) -> (String, String) {
        let config = &self.config.services;
        (
            later(config.broker_timeout() + Duration::from_secs(1)),
            later(Duration::from_secs(config.max_cleanup_seconds)),
        )
    }
}

/// About an instance of a plan.
pub(super) fn wish(origin: &Origin) -> Wish {
    let ids = (origin.offering.catalog_id.as_str().into(), origin.plan.catalog_id.as_str().into());
    Wish { maximum_polling: origin.plan.catalog().maximum_polling_duration, ..Wish::of(ids.0, ids.1) }
}

impl Wish {
    /// About an instance of a plan, with nothing to say yet.
    pub(crate) fn about(origin: &Origin) -> Self {
        wish(origin)
    }
}

fn broker_change(broker: &BrokerRow, is_new: bool) -> BrokerChange {
    BrokerChange {
        is_new,
        name: broker.name.clone(),
        url: broker.url.clone(),
        username: broker.username.clone(),
        password: broker.password.clone(),
    }
}

/// Whether an instance can be bound now.
pub(crate) fn check_bindable(instance: &InstanceRow, origin: Option<&Origin>) -> Result<(), ApiError> {
    if instance.in_progress() {
        return Err(busy_instance(&instance.name));
    }
    if instance.never_made() {
        return Err(ApiError::unprocessable(format!(
            "The service instance {} was never made, and cannot be bound: delete it and create it anew.",
            instance.name
        )));
    }
    let Some(origin) = origin else { return Ok(()) };
    if !origin.plan.catalog().is_bindable(&origin.offering.catalog()) {
        return Err(ApiError::unprocessable("Service plan does not allow bindings."));
    }
    if !(origin.plan.available && origin.offering.available) {
        return Err(ApiError::unprocessable("Service plan is not available."));
    }
    Ok(())
}

/// Tells that a name is taken from other failures.
pub(crate) fn name_taken(error: sqlx::Error, name: &str) -> ApiError {
    if store::is_duplicate(&error) {
        ApiError::unprocessable(format!("The service instance name is taken: {name}."))
    } else {
        error.into()
    }
}

pub(crate) fn broker_name_taken() -> ApiError {
    ApiError::unprocessable("Name must be unique: there is a service broker of this name.")
}

pub(crate) fn already_bound() -> ApiError {
    ApiError::unprocessable("The app is already bound to the service instance.")
}

pub(crate) fn key_taken(name: &str) -> ApiError {
    ApiError::unprocessable(format!(
        "The binding name is invalid. Key binding names must be unique. The service instance already has a key binding \
         with name '{name}'."
    ))
}

/// Something is going on with an instance.
pub(crate) fn busy_instance(name: &str) -> ApiError {
    let detail =
        format!("An operation for service instance {name} is in progress. Try again when it has ended.");
    ApiError::new(409, 60016, "CF-AsyncServiceInstanceOperationInProgress", detail)
}

/// Something is going on with a binding.
pub(crate) fn busy_binding(instance: &str) -> ApiError {
    let detail = format!(
        "An operation for a binding of service instance {instance} is in progress. Try again when it has ended."
    );
    ApiError::new(409, 90008, "CF-AsyncServiceBindingOperationInProgress", detail)
}
