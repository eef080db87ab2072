//! Users, passwords, roles.

use super::{
    delete,
    organizations::{find_org, find_space, org_or_target},
};
use crate::{
    Error,
    api::{Api, escape},
    ask, output,
};
use clap::Subcommand;
use cupola_protocol::api::{
    ChangePassword, CreateRole, CreateScimUser, CreateUser, Role, RolePage, RoleSides, RoleUser,
    RoleUserName, ScimEmail, ScimGroup, ScimUser, ToOne, User,
};
use reqwest::Method;
use std::collections::BTreeMap;

/// Roles as people write them, and as the API does.
const ORGANIZATION_ROLES: [(&str, &str); 4] = [
    ("OrgManager", "organization_manager"),
    ("OrgAuditor", "organization_auditor"),
    ("BillingManager", "organization_billing_manager"),
    ("OrgUser", "organization_user"),
];
const SPACE_ROLES: [(&str, &str); 4] = [
    ("SpaceManager", "space_manager"),
    ("SpaceDeveloper", "space_developer"),
    ("SpaceAuditor", "space_auditor"),
    ("SpaceSupporter", "space_supporter"),
];

/// Users and their roles.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user
    #[command(visible_aliases = ["add-user", "register"])]
    CreateUser {
        /// The user's name
        name: String,
        /// Password; other users of this machine can see it here: better --password-stdin, or be asked
        #[arg(allow_hyphen_values = true, conflicts_with = "password_stdin")]
        password: Option<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// May do everything on the platform
        #[arg(long, conflicts_with = "admin_read_only")]
        admin: bool,
        /// May see everything on the platform
        #[arg(long)]
        admin_read_only: bool,
    },
    /// Delete a user
    DeleteUser {
        /// The user's name
        name: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// The users that you see
    Users,
    /// The users of an organization, with their roles
    OrgUsers {
        /// Organization [default: the targeted one]
        organization: Option<String>,
    },
    /// The users of a space, with their roles
    SpaceUsers {
        /// Organization
        organization: String,
        /// Space
        space: String,
    },
    /// Change your password, or as an administrator somebody's
    #[command(visible_alias = "pw")]
    Passwd {
        /// Whose, if not your own
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Read passwords from standard input, a line each: the one so far (for your own only), the new one
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give a user a role in an organization: OrgManager, OrgAuditor, BillingManager, OrgUser
    SetOrgRole {
        /// The user's name
        user: String,
        /// Organization
        organization: String,
        /// Role
        #[arg(value_parser = organization_role)]
        role: &'static str,
    },
    /// Take a role in an organization
    UnsetOrgRole {
        /// The user's name
        user: String,
        /// Organization
        organization: String,
        /// Role
        #[arg(value_parser = organization_role)]
        role: &'static str,
    },
    /// Give a user a role in a space: SpaceManager, SpaceDeveloper, SpaceAuditor, SpaceSupporter
    SetSpaceRole {
        /// The user's name
        user: String,
        /// Organization
        organization: String,
        /// Space
        space: String,
        /// Role
        #[arg(value_parser = space_role)]
        role: &'static str,
    },
    /// Take a role in a space
    UnsetSpaceRole {
        /// The user's name
        user: String,
        /// Organization
        organization: String,
        /// Space
        space: String,
        /// Role
        #[arg(value_parser = space_role)]
        role: &'static str,
    },
}

fn role_of(known: &[(&'static str, &'static str)], text: &str) -> Result<&'static str, String> {
    let found = known.iter().find(|(word, name)| word.eq_ignore_ascii_case(text) || *name == text);
    found.map(|(_, name)| *name).ok_or_else(|| {
        let all: Vec<_> = known.iter().map(|(word, _)| *word).collect();
        format!("a role here is one of {}", all.join(", "))
    })
}

fn organization_role(text: &str) -> Result<&'static str, String> {
    role_of(&ORGANIZATION_ROLES, text)
}

fn space_role(text: &str) -> Result<&'static str, String> {
    role_of(&SPACE_ROLES, text)
}

impl UserCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut api = Api::open()?;
        match self {
            Self::CreateUser { name, password, password_stdin, admin, admin_read_only } => {
                let password = match password {
                    Some(password) => password,
                    None if password_stdin => {
                        let [password] = ask::passwords_from_stdin()?;
                        password
                    }
                    None => ask::new_password()?,
                };
                let group = match (admin, admin_read_only) {
                    (true, _) => Some("cloud_controller.admin"),
                    (false, true) => Some("cloud_controller.admin_read_only"),
                    (false, false) => None,
                };
                create(&mut api, name, password, group).await
            }
            Self::DeleteUser { name, force } => remove(&mut api, &name, force).await,
            Self::Users => users(&mut api).await,
            Self::OrgUsers { organization } => {
                let org = org_or_target(&mut api, organization.as_deref()).await?;
                show_roles(&mut api, &format!("organization_guids={}", org.guid), &ORGANIZATION_ROLES).await
            }
            Self::SpaceUsers { organization, space } => {
                let org = find_org(&mut api, &organization).await?;
                let space = find_space(&mut api, &org.guid, &space).await?;
                show_roles(&mut api, &format!("space_guids={}", space.guid), &SPACE_ROLES).await
            }
            Self::Passwd { user, password_stdin } => passwd(&mut api, user, password_stdin).await,
            Self::SetOrgRole { user, organization, role } => {
                let org = find_org(&mut api, &organization).await?;
                output::doing(&format!("Giving {user} the role {role} in organization {organization} ..."));
                let sides = RoleSides { organization: Some(ToOne::new(org.guid)), ..RoleSides::default() };
                give(&mut api, &user, role, sides).await?;
                output::ok();
                Ok(())
            }
            Self::UnsetOrgRole { user, organization, role } => {
                let org = find_org(&mut api, &organization).await?;
                output::doing(&format!(
                    "Taking from {user} the role {role} in organization {organization} ..."
                ));
                take(&mut api, &user, role, &format!("organization_guids={}", org.guid)).await
            }
            Self::SetSpaceRole { user, organization, space, role } => {
                let org = find_org(&mut api, &organization).await?;
                let space = find_space(&mut api, &org.guid, &space).await?;
                output::doing(&format!("Giving {user} the role {role} in space {} ...", space.name));
                let side = |guid: String| Some(ToOne::new(guid));
                // Who is something in a space belongs to its organization.
                let member = RoleSides { organization: side(org.guid), ..RoleSides::default() };
                match give(&mut api, &user, "organization_user", member).await {
                    // A space's manager cannot, and need not when it is so already.
                    Ok(()) | Err(Error::Refused { status: 403, .. }) => {}
                    Err(error) => return Err(error),
                }
                let sides = RoleSides { space: side(space.guid), ..RoleSides::default() };
                give(&mut api, &user, role, sides).await?;
                output::ok();
                Ok(())
            }
            Self::UnsetSpaceRole { user, organization, space, role } => {
                let org = find_org(&mut api, &organization).await?;
                let space = find_space(&mut api, &org.guid, &space).await?;
                output::doing(&format!("Taking from {user} the role {role} in space {} ...", space.name));
                take(&mut api, &user, role, &format!("space_guids={}", space.guid)).await
            }
        }
    }
}

async fn find_user(api: &mut Api, name: &str) -> Result<User, Error> {
    let found: Vec<User> = api.list(&format!("/v3/users?usernames={}", escape(name))).await?;
    found.into_iter().next().ok_or_else(|| Error::Unknown {
        kind: "user",
        name: name.to_owned(),
        list: "cupola users",
    })
}

async fn create(
    api: &mut Api,
    name: String,
    password: String,
    group: Option<&'static str>,
) -> Result<(), Error> {
    output::doing(&format!("Making user {name} ..."));
    let wish = CreateScimUser {
        emails: vec![ScimEmail { value: name.clone(), primary: true }],
        password: Some(password),
        groups: group.into_iter().map(|display| ScimGroup { display: display.to_owned() }).collect(),
        origin: String::new(),
        user_name: name.clone(),
    };
    let made: ScimUser = api.call(Method::POST, "/Users", &wish).await?;
    let wish = CreateUser { guid: Some(made.id), ..CreateUser::default() };
    let _: User = api.call(Method::POST, "/v3/users", &wish).await?;
    output::ok();
    if group.is_none() {
        output::line(format_args!(
            "`cupola set-space-role {name} ORG SPACE SpaceDeveloper` lets {name} push"
        ));
    }
    Ok(())
}

async fn remove(api: &mut Api, name: &str, force: bool) -> Result<(), Error> {
    let user = find_user(api, name).await?;
    if !force && !delete::confirmed(&format!("the user {name}"))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    output::doing(&format!("Deleting user {name} ..."));
    delete::delete(api, &format!("/v3/users/{}", user.guid), name).await?;
    delete::delete(api, &format!("/Users/{}", user.guid), name).await?;
    output::ok();
    Ok(())
}

async fn users(api: &mut Api) -> Result<(), Error> {
    let all: Vec<User> = api.list("/v3/users").await?;
    let mut rows: Vec<_> =
        all.into_iter().map(|user| vec![user.presentation_name, user.created_at]).collect();
    rows.sort();
    output::table(&["name", "since"], &rows);
    Ok(())
}

/// The roles somewhere, with the names of who has them, page by page.
async fn roles(api: &mut Api, query: &str) -> Result<(Vec<Role>, BTreeMap<String, String>), Error> {
    let (mut all, mut names) = (Vec::new(), BTreeMap::new());
    let mut page = 1;
    loop {
        let path = format!("/v3/roles?include=user&per_page=1000&page={page}&{query}");
        let found: RolePage = api.get(&path).await?;
        all.extend(found.page.resources);
        let users = found.included.unwrap_or_default().users;
        names.extend(users.into_iter().map(|user| (user.guid, user.presentation_name)));
        if found.page.pagination.next.is_none() {
            return Ok((all, names));
        }
        page += 1;
    }
}

fn user_of(role: &Role) -> &str {
    role.relationships.get("user").and_then(ToOne::guid).unwrap_or_default()
}

async fn show_roles(api: &mut Api, query: &str, known: &[(&str, &str)]) -> Result<(), Error> {
    let (roles, names) = roles(api, query).await?;
    let mut by_user: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for role in &roles {
        let name = names.get(user_of(role)).map_or(user_of(role), String::as_str);
        let word =
            known.iter().find(|(_, name)| *name == role.kind).map_or(role.kind.as_str(), |(word, _)| word);
        by_user.entry(name).or_default().push(word);
    }
    let rows: Vec<_> =
        by_user.into_iter().map(|(name, roles)| vec![name.to_owned(), roles.join(", ")]).collect();
    output::table(&["name", "roles"], &rows);
    Ok(())
}

/// Gives a role; who has it already keeps it.
async fn give(api: &mut Api, user: &str, role: &str, sides: RoleSides) -> Result<(), Error> {
    let data = RoleUserName { username: Some(user.to_owned()), ..RoleUserName::default() };
    let wish =
        CreateRole { kind: role.to_owned(), relationships: RoleSides { user: RoleUser { data }, ..sides } };
    match api.call::<Role>(Method::POST, "/v3/roles", &wish).await {
        Ok(_) => Ok(()),
        Err(Error::Refused { status: 422, detail }) if detail.contains("already has") => Ok(()),
        Err(error) => Err(error),
    }
}

async fn take(api: &mut Api, user: &str, role: &str, query: &str) -> Result<(), Error> {
    let user = find_user(api, user).await?;
    let (roles, _) = roles(api, &format!("types={role}&user_guids={}&{query}", user.guid)).await?;
    for found in roles.iter().filter(|found| found.kind == role && user_of(found) == user.guid) {
        delete::delete(api, &format!("/v3/roles/{}", found.guid), "the role").await?;
    }
    output::ok();
    Ok(())
}

/// After its own password has changed, the session is logged in anew: every token ended with the old one.
async fn passwd(api: &mut Api, user: Option<String>, from_stdin: bool) -> Result<(), Error> {
    let own = api.session.user.clone().ok_or(Error::NotLoggedIn)?;
    let other = user.filter(|name| *name != own);
    let name = other.clone().unwrap_or_else(|| own.clone());
    let (old_password, password) = match (&other, from_stdin) {
        (None, true) => {
            let [old, new] = ask::passwords_from_stdin()?;
            (Some(old), new)
        }
        (None, false) => (Some(ask::password("password so far")?), ask::new_password()?),
        (Some(_), true) => {
            let [new] = ask::passwords_from_stdin()?;
            (None, new)
        }
        (Some(_), false) => (None, ask::new_password()?),
    };
    let user = find_user(api, &name).await?;
    output::doing(&format!("Changing the password of {name} ..."));
    let change = ChangePassword { old_password, password };
    let path = format!("/Users/{}/password", user.guid);
    let _: serde_json::Value = api.call(Method::PUT, &path, &change).await?;
    if other.is_none() {
        api.login(&own, &change.password).await?;
    }
    output::ok();
    Ok(())
}
