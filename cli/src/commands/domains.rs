//! `domains`, `create-shared-domain`, `delete-shared-domain`.

use super::delete::{confirmed, delete};
use crate::{
    Error,
    api::{Api, escape},
    output,
};
use clap::Subcommand;
use cupola_protocol::api::Domain;
use reqwest::Method;
use serde_json::json;

/// Domains of the platform.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// The domains that routes can be made under
    Domains,
    /// Make a domain that every organization may use (as an administrator)
    #[command(visible_alias = "create-domain")]
    CreateSharedDomain {
        /// Its name, such as apps.example.com
        domain: String,
    },
    /// Delete a domain that every organization may use (as an administrator)
    #[command(visible_alias = "delete-domain")]
    DeleteSharedDomain {
        /// Its name
        domain: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
}

impl DomainCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut api = Api::open()?;
        match self {
            Self::Domains => {
                let domains: Vec<Domain> = api.list("/v3/domains").await?;
                let kind = |domain: &Domain| match domain.relationships.organization.guid() {
                    Some(_) => "private",
                    None => "shared",
                };
                let rows: Vec<_> =
                    domains.iter().map(|domain| vec![domain.name.clone(), kind(domain).to_owned()]).collect();
                output::table(&["domain", "kind"], &rows);
            }
            Self::CreateSharedDomain { domain } => {
                let _: Domain = api.call(Method::POST, "/v3/domains", &json!({"name": domain})).await?;
                output::ok();
            }
            Self::DeleteSharedDomain { domain, force } => {
                let path = format!("/v3/domains?names={}", escape(&domain));
                let Some(found) = api.list::<Domain>(&path).await?.into_iter().next() else {
                    return Err(Error::Unknown { kind: "domain", name: domain, list: "cupola domains" });
                };
                if !force && !confirmed(&format!("the domain {domain}"))? {
                    output::line("nothing was deleted");
                    return Ok(());
                }
                delete(&mut api, &format!("/v3/domains/{}", found.guid), &domain).await?;
                output::ok();
            }
        }
        Ok(())
    }
}
