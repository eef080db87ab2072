//! The table of endpoints. Each is registered with whom it serves, and the router asks that before the handler runs:
//! what is not in the table is not served, and what is cannot forget to ask.

use super::ApiError;
use crate::{access::Access, auth::User, context::Shared};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, RawPathParams, Request, State},
    handler::Handler,
    http::Method,
    middleware::{self, Next},
    response::Response,
    routing::{MethodFilter, MethodRouter, on},
};

/// A method and a path that are served, and whom they serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The method; a GET serves HEAD too.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Whom it serves.
    pub access: Access,
}

/// Endpoints with their handlers, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Endpoints(Vec<(Endpoint, MethodRouter<Shared>)>);

impl Endpoints {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn get<H: Handler<T, Shared>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.add(Method::GET, path, access, on(MethodFilter::GET, handler))
    }

    pub(super) fn post<H: Handler<T, Shared>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.add(Method::POST, path, access, on(MethodFilter::POST, handler))
    }

    #[allow(dead_code, reason = "a method like the others")]
    pub(super) fn put<H: Handler<T, Shared>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.add(Method::PUT, path, access, on(MethodFilter::PUT, handler))
    }

    pub(super) fn patch<H: Handler<T, Shared>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.add(Method::PATCH, path, access, on(MethodFilter::PATCH, handler))
    }

    pub(super) fn delete<H: Handler<T, Shared>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.add(Method::DELETE, path, access, on(MethodFilter::DELETE, handler))
    }

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        handler: MethodRouter<Shared>,
    ) -> Self {
        self.0.push((Endpoint { method, path, access }, handler));
        self
    }

    /// Lets the endpoint that was added last take a body of any size: its handler counts.
    pub(super) fn any_body(mut self) -> Self {
        if let Some((endpoint, handler)) = self.0.pop() {
            self.0.push((endpoint, handler.route_layer(DefaultBodyLimit::disable())));
        }
        self
    }

    /// Both.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The table without its handlers.
    pub(super) fn table(self) -> Vec<Endpoint> {
        self.0.into_iter().map(|(endpoint, _)| endpoint).collect()
    }

    /// The router, in which each handler has its guard.
    pub(super) fn router(self, context: &Shared) -> Router<Shared> {
        self.0.into_iter().fold(Router::new(), |router, (endpoint, handler)| {
            let guard = middleware::from_fn_with_state((context.clone(), endpoint.access), guard);
            router.route(endpoint.path, handler.route_layer(guard))
        })
    }
}

/// Finds out who asks, and whether that user may; hands both on to the handler as its `User`.
async fn guard(
    State((context, access)): State<(Shared, Access)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if matches!(access, Access::Public | Access::Credentials) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let user = User::of(&parts.headers, &context).await?;
    match access {
        Access::Platform(action) => user.may_on_platform(action)?,
        Access::On(kind, action) => {
            let params = RawPathParams::from_request_parts(&mut parts, &context).await;
            let params = params.map_err(|_| ApiError::not_found(&kind.to_string()))?;
            let guid = params.iter().next().map(|(_, value)| value).unwrap_or_default();
            user.may(&context, action, kind, guid).await?;
        }
        Access::Public
        | Access::Credentials
        | Access::User
        | Access::Listed
        | Access::Named(..)
        | Access::Handler => {}
    }
    parts.extensions.insert(user);
    Ok(next.run(Request::from_parts(parts, body)).await)
}
