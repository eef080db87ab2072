//! Quotas of organizations and of spaces.

use super::{
    delete, find,
    organizations::{find_org, org_or_target, own_space},
};
use crate::{Error, api::Api, output};
use clap::Subcommand;
use cupola_protocol::{
    Mebibytes,
    api::{
        AppLimits, Limit, Named, Quota, QuotaChange, QuotaSides, RouteLimits, ServiceLimits, ToMany, ToOne,
    },
};
use reqwest::Method;

/// The limits of a quota. One that is not given is none for a new quota, and stays for another.
#[derive(Debug, clap::Args)]
pub struct Limits {
    /// Memory of all started instances together, such as 10G; -1 for no limit
    #[arg(short = 'm', value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory: Option<Option<u64>>,
    /// Memory of one instance, such as 1G; -1 for no limit
    #[arg(short = 'i', value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    instance_memory: Option<Option<u64>>,
    /// Started instances; -1 for no limit
    #[arg(short = 'a', value_name = "NUMBER", allow_hyphen_values = true, value_parser = number)]
    instances: Option<Option<u64>>,
    /// Routes; -1 for no limit
    #[arg(short = 'r', value_name = "NUMBER", allow_hyphen_values = true, value_parser = number)]
    routes: Option<Option<u64>>,
    /// Service instances; -1 for no limit
    #[arg(short = 's', value_name = "NUMBER", allow_hyphen_values = true, value_parser = number)]
    services: Option<Option<u64>>,
    /// Plans that cost something may be chosen
    #[arg(long, conflicts_with = "disallow_paid_service_plans")]
    allow_paid_service_plans: bool,
    /// They may not
    #[arg(long)]
    disallow_paid_service_plans: bool,
}

impl Limits {
    fn change(&self, name: Option<String>) -> QuotaChange {
        let paid = match (self.allow_paid_service_plans, self.disallow_paid_service_plans) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        QuotaChange {
            name,
            apps: AppLimits {
                total_memory_in_mb: self.memory,
                per_process_memory_in_mb: self.instance_memory,
                total_instances: self.instances,
                ..AppLimits::default()
            },
            services: ServiceLimits {
                paid_services_allowed: paid,
                total_service_instances: self.services,
                ..ServiceLimits::default()
            },
            routes: RouteLimits { total_routes: self.routes, ..RouteLimits::default() },
            ..QuotaChange::default()
        }
    }
}

fn size(text: &str) -> Result<Option<u64>, String> {
    if matches!(text, "-1" | "unlimited") {
        return Ok(None);
    }
    text.parse::<Mebibytes>().map(|size| Some(size.0)).map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<Option<u64>, String> {
    if matches!(text, "-1" | "unlimited") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "a number, or -1 for no limit".to_owned())
}

/// Quotas.
#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// The quotas of organizations
    #[command(visible_alias = "org-quotas")]
    Quotas,
    /// One quota
    #[command(visible_alias = "org-quota")]
    Quota {
        /// The quota
        name: String,
    },
    /// Make a quota for organizations
    #[command(visible_alias = "create-org-quota")]
    CreateQuota {
        /// The quota
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change a quota
    #[command(visible_alias = "update-org-quota")]
    UpdateQuota {
        /// The quota
        name: String,
        /// New name
        #[arg(short = 'n', value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Delete a quota that no organization has
    #[command(visible_alias = "delete-org-quota")]
    DeleteQuota {
        /// The quota
        name: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Give an organization a quota
    #[command(visible_alias = "set-org-quota")]
    SetQuota {
        /// Organization
        organization: String,
        /// The quota
        quota: String,
    },
    /// The quotas that spaces of the organization can have
    SpaceQuotas,
    /// One quota of spaces
    SpaceQuota {
        /// The quota
        name: String,
    },
    /// Make a quota for spaces of the organization
    CreateSpaceQuota {
        /// The quota
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change a quota of spaces
    UpdateSpaceQuota {
        /// The quota
        name: String,
        /// New name
        #[arg(short = 'n', value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Delete a quota of spaces; those that have it have none then
    DeleteSpaceQuota {
        /// The quota
        name: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Give a space a quota
    SetSpaceQuota {
        /// Space
        space: String,
        /// The quota
        quota: String,
    },
    /// Take a quota from a space
    UnsetSpaceQuota {
        /// Space
        space: String,
        /// The quota
        quota: String,
    },
}

impl QuotaCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut api = Api::open()?;
        match self {
            Self::Quotas => list(&mut api, "/v3/organization_quotas?order_by=name").await,
            Self::SpaceQuotas => {
                let org = org_or_target(&mut api, None).await?;
                list(&mut api, &format!("/v3/space_quotas?order_by=name&organization_guids={}", org.guid))
                    .await
            }
            Self::Quota { name } => show(&mut api, Of::Organizations, &name).await,
            Self::SpaceQuota { name } => show(&mut api, Of::Spaces, &name).await,
            Self::CreateQuota { name, limits } => create(&mut api, Of::Organizations, &name, &limits).await,
            Self::CreateSpaceQuota { name, limits } => create(&mut api, Of::Spaces, &name, &limits).await,
            Self::UpdateQuota { name, new_name, limits } => {
                update(&mut api, Of::Organizations, &name, new_name, &limits).await
            }
            Self::UpdateSpaceQuota { name, new_name, limits } => {
                update(&mut api, Of::Spaces, &name, new_name, &limits).await
            }
            Self::DeleteQuota { name, force } => remove(&mut api, Of::Organizations, &name, force).await,
            Self::DeleteSpaceQuota { name, force } => remove(&mut api, Of::Spaces, &name, force).await,
            Self::SetQuota { organization, quota } => {
                let quota = Of::Organizations.find(&mut api, &quota).await?;
                let org = find_org(&mut api, &organization).await?;
                let path = format!("/v3/organization_quotas/{}/relationships/organizations", quota.guid);
                apply(&mut api, &path, org.guid, &format!("organization {organization}"), &quota.name).await
            }
            Self::SetSpaceQuota { space, quota } => {
                let quota = Of::Spaces.find(&mut api, &quota).await?;
                let found = own_space(&mut api, &space).await?;
                let path = format!("/v3/space_quotas/{}/relationships/spaces", quota.guid);
                apply(&mut api, &path, found.guid, &format!("space {space}"), &quota.name).await
            }
            Self::UnsetSpaceQuota { space, quota } => {
                let quota = Of::Spaces.find(&mut api, &quota).await?;
                let found = own_space(&mut api, &space).await?;
                output::doing(&format!("Taking quota {} from space {space} ...", quota.name));
                let path = format!("/v3/space_quotas/{}/relationships/spaces/{}", quota.guid, found.guid);
                api.send_for_job(Method::DELETE, &path, |request| request).await?;
                output::ok();
                Ok(())
            }
        }
    }
}

/// Whose quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Organizations,
    Spaces,
}

impl Of {
    fn path(self) -> &'static str {
        match self {
            Self::Organizations => "/v3/organization_quotas",
            Self::Spaces => "/v3/space_quotas",
        }
    }

    async fn find(self, api: &mut Api, name: &str) -> Result<Quota, Error> {
        match self {
            Self::Organizations => {
                find(api, "/v3/organization_quotas?", "quota", name, "cupola quotas").await
            }
            Self::Spaces => {
                let org = org_or_target(api, None).await?;
                let list = format!("/v3/space_quotas?organization_guids={}&", org.guid);
                find(api, &list, "space quota", name, "cupola space-quotas").await
            }
        }
    }
}

fn limit(limit: Limit, unit: &str) -> String {
    limit.flatten().map_or("unlimited".to_owned(), |number| format!("{number}{unit}"))
}

fn paid(quota: &Quota) -> &'static str {
    if quota.services.paid_services_allowed == Some(false) { "not allowed" } else { "allowed" }
}

async fn list(api: &mut Api, path: &str) -> Result<(), Error> {
    let all: Vec<Quota> = api.list(path).await?;
    let row = |quota: Quota| {
        vec![
            limit(quota.apps.total_memory_in_mb, "M"),
            limit(quota.apps.per_process_memory_in_mb, "M"),
            limit(quota.apps.total_instances, ""),
            limit(quota.routes.total_routes, ""),
            limit(quota.services.total_service_instances, ""),
            paid(&quota).to_owned(),
            quota.name,
        ]
    };
    let rows: Vec<_> = all
        .into_iter()
        .map(row)
        .map(|mut cells| {
            cells.rotate_right(1);
            cells
        })
        .collect();
    let head = ["name", "total memory", "instance memory", "instances", "routes", "services", "paid plans"];
    output::table(&head, &rows);
    Ok(())
}

async fn show(api: &mut Api, of: Of, name: &str) -> Result<(), Error> {
    let quota = of.find(api, name).await?;
    let line = |word: &str, value: String| output::line(format_args!("{word:<17}{value}"));
    line("name", quota.name.clone());
    line("total memory", limit(quota.apps.total_memory_in_mb, "M"));
    line("instance memory", limit(quota.apps.per_process_memory_in_mb, "M"));
    line("instances", limit(quota.apps.total_instances, ""));
    line("routes", limit(quota.routes.total_routes, ""));
    line("services", limit(quota.services.total_service_instances, ""));
    line("paid plans", paid(&quota).to_owned());
    Ok(())
}

async fn create(api: &mut Api, of: Of, name: &str, limits: &Limits) -> Result<(), Error> {
    let mut wish = limits.change(Some(name.to_owned()));
    if of == Of::Spaces {
        let org = org_or_target(api, None).await?;
        wish.relationships = QuotaSides { organization: Some(ToOne::new(org.guid)), ..QuotaSides::default() };
    }
    output::doing(&format!("Making quota {name} ..."));
    let _: Quota = api.call(Method::POST, of.path(), &wish).await?;
    output::ok();
    Ok(())
}

async fn update(
    api: &mut Api,
    of: Of,
    name: &str,
    new_name: Option<String>,
    limits: &Limits,
) -> Result<(), Error> {
    let quota = of.find(api, name).await?;
    output::doing(&format!("Changing quota {name} ..."));
    let path = format!("{}/{}", of.path(), quota.guid);
    let _: Quota = api.call(Method::PATCH, &path, &limits.change(new_name)).await?;
    output::ok();
    Ok(())
}

async fn remove(api: &mut Api, of: Of, name: &str, force: bool) -> Result<(), Error> {
    let quota = of.find(api, name).await?;
    if !force && !delete::confirmed(&format!("the quota {name}"))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    output::doing(&format!("Deleting quota {name} ..."));
    delete::delete(api, &format!("{}/{}", of.path(), quota.guid), name).await?;
    output::ok();
    Ok(())
}

async fn apply(api: &mut Api, path: &str, to: String, what: &str, quota: &str) -> Result<(), Error> {
    output::doing(&format!("Giving {what} the quota {quota} ..."));
    let _: ToMany = api.call(Method::POST, path, &ToMany { data: vec![Named::new(to)] }).await?;
    output::ok();
    Ok(())
}
