//! Open Service Broker API 2.17, in both directions: the controller calls brokers, and our gateway is one.
//!
//! - [`catalog`]: what a broker offers
//! - [`instance`]: provision, update, fetch, deprovision
//! - [`binding`]: bind, fetch, unbind
//! - [`operation`]: the state of what goes on in the background
//! - [`error`]: the body of a refusal, and the codes that have a meaning
//! - [`header`]: the names of the headers
//!
//! Reading is lenient where the specification asks platforms to be: unknown fields are ignored, and `null` stands for a
//! field that is absent. What a broker must send and does not, does not parse: then the answer is malformed, and the
//! platform has to mitigate (see the specification, "Orphan Mitigation"). Addresses of the API are made here alone.

pub mod binding;
pub mod catalog;
pub mod error;
pub mod instance;
pub mod operation;

pub use binding::{BindQuery, BindRequest, BindResource, BindResponse, Endpoint, UnbindQuery, VolumeMount};
pub use catalog::{Catalog, DashboardClient, Offering, Plan};
pub use error::{Code, Refusal};
pub use instance::{
    DeprovisionQuery, FetchInstanceResponse, MaintenanceInfo, PreviousValues, ProvisionQuery,
    ProvisionRequest, ProvisionResponse, UpdateRequest, UpdateResponse,
};
pub use operation::{Accepted, LastOperation, LastOperationQuery, OperationState};

use crate::{ServiceBindingId, ServiceInstanceId};
use serde::{Deserialize, Deserializer};

/// The version of the API that this is, as the header says it.
pub const API_VERSION: &str = "2.17";

/// The longest `operation` that a broker may answer with, in characters.
pub const MAX_OPERATION: usize = 10_000;

/// Names of headers.
pub mod header {
    /// Required of every request: `2.<minor>`. A broker that does not speak it answers 412.
    pub const API_VERSION: &str = "X-Broker-API-Version";
    /// Who asked the platform: `<platform> <base64 of a JSON object>`.
    pub const ORIGINATING_IDENTITY: &str = "X-Broker-API-Originating-Identity";
    /// An id for one request, which a broker may log and gives back.
    pub const REQUEST_IDENTITY: &str = "X-Broker-API-Request-Identity";
}

/// Path of the catalog.
pub const CATALOG_PATH: &str = "/v2/catalog";

/// Path of an instance. The id must be one that needs no escaping, as UUIDs are.
pub fn instance_path(instance: &ServiceInstanceId) -> String {
    format!("/v2/service_instances/{instance}")
}

/// Path of an instance's last operation.
pub fn instance_operation_path(instance: &ServiceInstanceId) -> String {
    format!("{}/last_operation", instance_path(instance))
}

/// Path of a binding.
pub fn binding_path(instance: &ServiceInstanceId, binding: &ServiceBindingId) -> String {
    format!("{}/service_bindings/{binding}", instance_path(instance))
}

/// Path of a binding's last operation.
pub fn binding_operation_path(instance: &ServiceInstanceId, binding: &ServiceBindingId) -> String {
    format!("{}/last_operation", binding_path(instance, binding))
}

/// `null` is read as the field's default: brokers in other languages write it for what they do not have.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
