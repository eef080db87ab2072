//! The endpoints of the Open Service Broker API.

use super::{
    broker::Broker,
    catalog,
    record::{BindingPhase, Instance, Phase},
    rules::{self, Refused, Step},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cupola_protocol::{
    ServiceBindingId, ServiceInstanceId,
    osb::{
        self, Accepted, BindQuery, BindRequest, BindResponse, Catalog, DeprovisionQuery, Endpoint,
        FetchInstanceResponse, LastOperation, LastOperationQuery, OperationState, ProvisionQuery,
        ProvisionRequest, ProvisionResponse, Refusal, UnbindQuery, UpdateRequest, UpdateResponse,
    },
    services::BindingCredentials,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;

type Answer = Result<Response, Refused>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// Who may ask.
pub(crate) struct Door {
    /// Digest of `user:password`: comparing digests tells nothing of how much was right.
    digest: [u8; 32],
}

impl Door {
    pub(crate) fn new(username: &str, password: &str) -> Self {
        Door { digest: Sha256::digest(format!("{username}:{password}")).into() }
    }

    fn opens(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| {
            let (scheme, code) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(code.trim()).ok())?
        });
        given.is_some_and(|given| <[u8; 32]>::from(Sha256::digest(given)) == self.digest)
    }
}

/// Everything that the gateway answers.
pub(crate) fn router(broker: Arc<Broker>, door: Door) -> Router {
    let instance = "/v2/service_instances/{instance}";
    let binding = format!("{instance}/service_bindings/{{binding}}");
    Router::new()
        .route(osb::CATALOG_PATH, get(offer))
        .route(instance, get(fetch).put(provision).patch(update).delete(deprovision))
        .route(&format!("{instance}/last_operation"), get(last_operation))
        .route(&binding, get(fetch_binding).put(bind).delete(unbind))
        .route(&format!("{binding}/last_operation"), get(last_binding_operation))
        .fallback(|| async { Refused::new(404, "no such endpoint of the Open Service Broker API") })
        .method_not_allowed_fallback(|| async { Refused::new(405, "this endpoint has no such method") })
        .with_state(broker)
        .layer(from_fn_with_state(Arc::new(door), check))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        answer(self.status, &self.refusal)
    }
}

fn answer(status: u16, body: &impl Serialize) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}

/// Lets those in who know the password and speak our version; gives the request's identity back.
async fn check(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let identity = request.headers().get(osb::header::REQUEST_IDENTITY).cloned();
    let version = request.headers().get(osb::header::API_VERSION).and_then(|value| value.to_str().ok());
    let speaks = version.is_some_and(|version| {
        let (major, minor) = version.trim().split_once('.').unwrap_or((version, ""));
        major == "2" && minor.parse::<u32>().is_ok()
    });
    let mut response = if !door.opens(request.headers()) {
        let refusal = Refusal::described("user or password is wrong, or missing");
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"service broker\"")];
        (StatusCode::UNAUTHORIZED, challenge, Json(refusal)).into_response()
    } else if !speaks {
        let why =
            format!("this is version {} of the API: say {}: 2.x", osb::API_VERSION, osb::header::API_VERSION);
        answer(412, &Refusal::described(why))
    } else {
        next.run(request).await
    };
    if let Some(identity) = identity {
        response.headers_mut().insert(osb::header::REQUEST_IDENTITY, identity);
    }
    response
}

fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refused::new(400, format!("the body is not what was expected: {error}")))
}

fn query<T>(query: Asked<T>) -> Result<T, Refused> {
    query.map(|Query(query)| query).map_err(|error| Refused::new(400, error.body_text()))
}

async fn offer(State(broker): State<Arc<Broker>>) -> Json<Catalog> {
    Json(catalog::catalog(&broker.config))
}

async fn provision(
    State(broker): State<Arc<Broker>>,
    Path(id): Path<ServiceInstanceId>,
    asked: Asked<ProvisionQuery>,
    bytes: Bytes,
) -> Answer {
    let accepts = query(asked)?.accepts_incomplete.unwrap_or(false);
    let request: ProvisionRequest = body(&bytes)?;
    let (step, operation) = broker.provision(&id, &request, accepts).await?;
    let response = |operation| ProvisionResponse { operation, ..ProvisionResponse::default() };
    Ok(match step {
        Step::Done => answer(200, &response(None)),
        Step::GoesOn(operation) => answer(202, &response(Some(operation))),
        Step::Begin { background: true } => answer(202, &response(operation)),
        Step::Begin { background: false } | Step::Gone => answer(201, &response(None)),
    })
}

/// No plan can be changed to another yet; a new context alone changes nothing here.
async fn update(
    State(broker): State<Arc<Broker>>,
    Path(id): Path<ServiceInstanceId>,
    bytes: Bytes,
) -> Answer {
    let request: UpdateRequest = body(&bytes)?;
    let known = broker.instance(&id);
    let instance = rules::fetch(known.as_ref())?;
    if instance.service_id != request.service_id {
        return Err(Refused::new(400, "service_id is not that of the instance"));
    }
    if request.plan_id.as_ref().is_some_and(|plan| *plan != instance.plan_id) {
        return Err(Refused::new(422, "an instance keeps its plan: make another one, and move the data"));
    }
    if request.parameters.is_some_and(|parameters| !parameters.is_empty()) {
        return Err(Refused::new(400, "instances of this plan take no parameters"));
    }
    Ok(answer(200, &UpdateResponse::default()))
}

async fn fetch(State(broker): State<Arc<Broker>>, Path(id): Path<ServiceInstanceId>) -> Answer {
    let known = broker.instance(&id);
    let instance = rules::fetch(known.as_ref())?;
    let response = FetchInstanceResponse {
        service_id: Some(instance.service_id.clone()),
        plan_id: Some(instance.plan_id.clone()),
        parameters: instance.parameters.clone(),
        ..FetchInstanceResponse::default()
    };
    Ok(answer(200, &response))
}

async fn deprovision(
    State(broker): State<Arc<Broker>>,
    Path(id): Path<ServiceInstanceId>,
    asked: Asked<DeprovisionQuery>,
) -> Answer {
    let asked = query(asked)?;
    same_ids(broker.instance(&id).as_ref(), &asked.service_id, &asked.plan_id)?;
    let (step, operation) = broker.deprovision(&id, asked.accepts_incomplete.unwrap_or(false)).await?;
    Ok(match step {
        Step::Gone => answer(410, &Accepted::default()),
        Step::GoesOn(operation) => answer(202, &Accepted { operation: Some(operation) }),
        Step::Begin { background: true } => answer(202, &Accepted { operation }),
        Step::Begin { background: false } | Step::Done => answer(200, &Accepted::default()),
    })
}

fn same_ids(
    known: Option<&Instance>,
    service: &cupola_protocol::OfferingId,
    plan: &cupola_protocol::PlanId,
) -> Result<(), Refused> {
    match known {
        Some(instance) if instance.service_id != *service || instance.plan_id != *plan => {
            Err(Refused::new(400, "service_id or plan_id are not those of the instance"))
        }
        _ => Ok(()),
    }
}

async fn last_operation(
    State(broker): State<Arc<Broker>>,
    Path(id): Path<ServiceInstanceId>,
    asked: Asked<LastOperationQuery>,
) -> Answer {
    query(asked)?;
    let Some(instance) = broker.instance(&id) else { return Ok(answer(410, &Accepted::default())) };
    let failed = instance.operation.state == OperationState::Failed;
    let response = LastOperation {
        state: instance.operation.state,
        description: instance.operation.description,
        instance_usable: failed.then_some(instance.phase == Phase::Ready),
        update_repeatable: None,
    };
    Ok(answer(200, &response))
}

async fn bind(
    State(broker): State<Arc<Broker>>,
    Path((id, binding)): Path<(ServiceInstanceId, ServiceBindingId)>,
    asked: Asked<BindQuery>,
    bytes: Bytes,
) -> Answer {
    query(asked)?;
    let request: BindRequest = body(&bytes)?;
    let (step, credentials) = broker.bind(&id, &binding, &request).await?;
    let status = if step == Step::Done { 200 } else { 201 };
    Ok(answer(status, &bound(&credentials, None)?))
}

/// Credentials as the platform gets them, and the address that its apps must be able to reach for them.
fn bound(
    credentials: &BindingCredentials,
    parameters: Option<Map<String, Value>>,
) -> Result<BindResponse, Refused> {
    let value = serde_json::to_value(credentials);
    let Ok(Value::Object(map)) = value else { return Err(Refused::new(500, "the credentials are damaged")) };
    Ok(BindResponse {
        credentials: Some(map),
        endpoints: vec![Endpoint {
            host: credentials.host.clone(),
            ports: vec![credentials.port.to_string()],
            protocol: Some("tcp".to_owned()),
        }],
        parameters,
        ..BindResponse::default()
    })
}

async fn fetch_binding(
    State(broker): State<Arc<Broker>>,
    Path((id, binding)): Path<(ServiceInstanceId, ServiceBindingId)>,
) -> Answer {
    let known = broker.instance(&id);
    let instance = rules::fetch(known.as_ref())?;
    let binding = instance.bindings.get(&binding).filter(|binding| binding.phase == BindingPhase::Bound);
    match binding.and_then(|binding| Some((binding, binding.credentials.as_ref()?))) {
        Some((binding, credentials)) => Ok(answer(200, &bound(credentials, binding.parameters.clone())?)),
        None => Err(Refused::new(404, "there is no such binding")),
    }
}

async fn unbind(
    State(broker): State<Arc<Broker>>,
    Path((id, binding)): Path<(ServiceInstanceId, ServiceBindingId)>,
    asked: Asked<UnbindQuery>,
) -> Answer {
    let asked = query(asked)?;
    same_ids(broker.instance(&id).as_ref(), &asked.service_id, &asked.plan_id)?;
    let step = broker.unbind(&id, &binding).await?;
    Ok(answer(if step == Step::Gone { 410 } else { 200 }, &Accepted::default()))
}

/// Bindings are made while the platform waits: what is there has succeeded, and what is not is gone.
async fn last_binding_operation(
    State(broker): State<Arc<Broker>>,
    Path((id, binding)): Path<(ServiceInstanceId, ServiceBindingId)>,
    asked: Asked<LastOperationQuery>,
) -> Answer {
    query(asked)?;
    let phase = broker.instance(&id).and_then(|instance| Some(instance.bindings.get(&binding)?.phase));
    let state = match phase {
        None => return Ok(answer(410, &Accepted::default())),
        Some(BindingPhase::Bound) => OperationState::Succeeded,
        Some(BindingPhase::Failed) => OperationState::Failed,
        Some(BindingPhase::Binding | BindingPhase::Unbinding) => OperationState::InProgress,
    };
    let response = LastOperation { state, description: None, instance_usable: None, update_repeatable: None };
    Ok(answer(200, &response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_opens() {
        let door = Door::new("u", "p:with:colons");
        let opens = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            door.opens(&headers)
        };
        let encoded = |text: &str| STANDARD.encode(text);
        assert!(opens(&format!("Basic {}", encoded("u:p:with:colons"))));
        assert!(opens(&format!("basic {}", encoded("u:p:with:colons"))));
        for wrong in ["u:p", "u:", ":p", "", "u:p:with:colons "] {
            assert!(!opens(&format!("Basic {}", encoded(wrong))), "{wrong}");
        }
        assert!(!opens("Bearer x") && !opens("Basic ???") && !opens("Basic"));
        assert!(!door.opens(&HeaderMap::new()));
    }
}
