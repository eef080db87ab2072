//! What is sent to a broker for an operation.

use super::{Call, Kind, Phase};
use crate::store::OperationRow;
use cupola_protocol::{
    OfferingId, PlanId, ServiceBindingId, ServiceInstanceId,
    osb::{self, binding_operation_path, binding_path, instance_operation_path, instance_path},
};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What an operation is to bring about: what to send, and what to write when it is done. JSON in a row.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// The offering's id at the broker.
    pub service_id: OfferingId,
    /// The plan's.
    pub plan_id: PlanId,
    /// Body of PUT and PATCH.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
    /// Whether the broker may go on by itself.
    #[serde(default)]
    pub asynchronous: bool,
    /// Seconds for which the plan wants to be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_polling: Option<u64>,
    /// What to write of an instance when it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceChange>,
    /// What to write of a broker when its catalog was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerChange>,
    /// Bindings go with the instance.
    #[serde(default)]
    pub recursive: bool,
    /// Its making failed: that the broker knows nothing of it is as good as that it is gone.
    #[serde(default)]
    pub never_made: bool,
}

impl fmt::Debug for Wish {
    /// Without body and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish").field("plan_id", &self.plan_id).finish_non_exhaustive()
    }
}

impl Wish {
    /// About an instance of this plan, with nothing to say yet.
    pub(crate) fn of(service_id: OfferingId, plan_id: PlanId) -> Self {
        Self {
            service_id,
            plan_id,
            body: Value::Null,
            asynchronous: true,
            maximum_polling: None,
            instance: None,
            broker: None,
            recursive: false,
            never_made: false,
        }
    }

    /// About the catalog of a broker that shall become this.
    pub(crate) fn of_broker(broker: BrokerChange) -> Self {
        Self { broker: Some(broker), ..Self::of("".into(), "".into()) }
    }
}

/// What an instance becomes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceChange {
    pub name: String,
    /// JSON array.
    pub tags: String,
    pub plan_guid: Option<String>,
    /// JSON object.
    pub maintenance_info: Option<String>,
}

/// What a broker becomes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BrokerChange {
    /// It was registered just now: when its catalog cannot be taken, it goes again.
    pub is_new: bool,
    pub name: String,
    pub url: String,
    pub username: String,
    pub password: String,
}

impl fmt::Debug for BrokerChange {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerChange")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The request of an operation in a phase.
pub(crate) fn call(kind: Kind, phase: Phase, row: &OperationRow, wish: &Wish) -> Call {
    let instance = ServiceInstanceId::new(row.instance_guid.clone().unwrap_or_default());
    let binding = ServiceBindingId::new(row.binding_guid.clone().unwrap_or_default());
    let of_binding = kind.is_of_binding();
    let path = if of_binding { binding_path(&instance, &binding) } else { instance_path(&instance) };
    let ids = || vec![("service_id", wish.service_id.to_string()), ("plan_id", wish.plan_id.to_string())];
    let accepts = || ("accepts_incomplete", wish.asynchronous.to_string());
    match phase {
        _ if kind == Kind::Catalog => Call::get(osb::CATALOG_PATH),
        Phase::Poll => {
            let path = match of_binding {
                true => binding_operation_path(&instance, &binding),
                false => instance_operation_path(&instance),
            };
            let mut query = ids();
            query.extend(row.broker_operation.clone().map(|operation| ("operation", operation)));
            Call { query, ..Call::get(path) }
        }
        Phase::Fetch => Call { query: ids(), ..Call::get(path) },
        Phase::Wait | Phase::Send if kind.deletes() => {
            let mut query = ids();
            query.push(accepts());
            Call { method: Method::DELETE, path, query, body: None }
        }
        Phase::Wait | Phase::Send => {
            let method = if kind == Kind::Update { Method::PATCH } else { Method::PUT };
            Call { method, path, query: vec![accepts()], body: Some(wish.body.clone()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(binding: Option<&str>) -> OperationRow {
        OperationRow {
            guid: "o".into(),
            kind: String::new(),
            phase: String::new(),
            broker_guid: "b".into(),
            instance_guid: Some("i1".into()),
            binding_guid: binding.map(str::to_owned),
            request: String::new(),
            job_guid: None,
            user_guid: "u".into(),
            broker_operation: Some("task 7&x".into()),
            tries: 1,
            begun_at: String::new(),
            deadline_at: String::new(),
            due_at: String::new(),
            claim: String::new(),
            claimed_until: String::new(),
        }
    }

    fn shown(kind: Kind, phase: Phase) -> String {
        let wish = Wish { body: serde_json::json!({"a": 1}), ..Wish::of("s".into(), "p".into()) };
        let call = call(kind, phase, &row(kind.is_of_binding().then_some("b1")), &wish);
        let query: Vec<_> = call.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = call.body.map(|body| format!(" {body}")).unwrap_or_default();
        format!("{} {}?{}{body}", call.method, call.path, query.join("&"))
    }

    #[test]
    fn each_operation_asks_what_the_specification_has_for_it() {
        let lines: Vec<_> = [
            (Kind::Catalog, Phase::Send),
            (Kind::Provision, Phase::Send),
            (Kind::Update, Phase::Send),
            (Kind::Deprovision, Phase::Send),
            (Kind::CleanInstance, Phase::Send),
            (Kind::Provision, Phase::Poll),
            (Kind::Bind, Phase::Send),
            (Kind::Bind, Phase::Poll),
            (Kind::Bind, Phase::Fetch),
            (Kind::Unbind, Phase::Send),
            (Kind::CleanBinding, Phase::Send),
        ]
        .map(|(kind, phase)| shown(kind, phase))
        .into();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        GET /v2/catalog?
        PUT /v2/service_instances/i1?accepts_incomplete=true {"a":1}
        PATCH /v2/service_instances/i1?accepts_incomplete=true {"a":1}
        DELETE /v2/service_instances/i1?service_id=s&plan_id=p&accepts_incomplete=true
        DELETE /v2/service_instances/i1?service_id=s&plan_id=p&accepts_incomplete=true
        GET /v2/service_instances/i1/last_operation?service_id=s&plan_id=p&operation=task 7&x
        PUT /v2/service_instances/i1/service_bindings/b1?accepts_incomplete=true {"a":1}
        GET /v2/service_instances/i1/service_bindings/b1/last_operation?service_id=s&plan_id=p&operation=task 7&x
        GET /v2/service_instances/i1/service_bindings/b1?service_id=s&plan_id=p
        DELETE /v2/service_instances/i1/service_bindings/b1?service_id=s&plan_id=p&accepts_incomplete=true
        DELETE /v2/service_instances/i1/service_bindings/b1?service_id=s&plan_id=p&accepts_incomplete=true
        "#);
    }
}
