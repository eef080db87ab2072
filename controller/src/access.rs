//! Who may do what: the table of roles and actions, and how it is asked. Pure; `auth::User` asks it of the roles in
//! the database, `api::endpoints` for every request.
//!
//! An action is asked for at a place: the platform, an organization, a space. Who may not even see the place is told
//! that it does not exist; who sees it is told that the action is not his.

use std::fmt;

/// What a user is somewhere. The first two hold for the whole platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May do everything, also where an organization is suspended.
    Administrator,
    /// Sees everything, secrets too; changes nothing.
    ReadOnlyAdministrator,
    /// Rules an organization, its spaces and who is in them; runs no apps.
    OrganizationManager,
    /// Sees the organization.
    OrganizationAuditor,
    /// Sees the organization, for its bills.
    OrganizationBillingManager,
    /// Belongs to the organization.
    OrganizationUser,
    /// Rules a space and who is in it; runs no apps.
    SpaceManager,
    /// Runs apps, routes and services, and knows their secrets.
    SpaceDeveloper,
    /// Sees what is in the space, without secrets.
    SpaceAuditor,
    /// Keeps apps going: restarts, scales, stages, maps routes. Pushes nothing, and sees no credentials.
    SpaceSupporter,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Administrator,
        Self::ReadOnlyAdministrator,
        Self::OrganizationManager,
        Self::OrganizationAuditor,
        Self::OrganizationBillingManager,
        Self::OrganizationUser,
        Self::SpaceManager,
        Self::SpaceDeveloper,
        Self::SpaceAuditor,
        Self::SpaceSupporter,
    ];

    /// How the API spells it; the administrators' are names of scopes, and no roles that can be given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "cloud_controller.admin",
            Self::ReadOnlyAdministrator => "cloud_controller.admin_read_only",
            Self::OrganizationManager => "organization_manager",
            Self::OrganizationAuditor => "organization_auditor",
            Self::OrganizationBillingManager => "organization_billing_manager",
            Self::OrganizationUser => "organization_user",
            Self::SpaceManager => "space_manager",
            Self::SpaceDeveloper => "space_developer",
            Self::SpaceAuditor => "space_auditor",
            Self::SpaceSupporter => "space_supporter",
        }
    }

    /// A role that can be given, by how the API spells it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| !role.is_of_platform() && role.name() == name)
    }

    /// Whether it holds for the whole platform.
    pub fn is_of_platform(self) -> bool {
        matches!(self, Self::Administrator | Self::ReadOnlyAdministrator)
    }

    /// Whether it is held in a space.
    pub fn is_of_space(self) -> bool {
        matches!(self, Self::SpaceManager | Self::SpaceDeveloper | Self::SpaceAuditor | Self::SpaceSupporter)
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// On the platform: see what only those see who run it.
    ReadPlatform,
    /// On the platform: make and remove organizations, users, shared domains, quotas, brokers.
    Administer,
    /// On an organization: see it.
    ReadOrganization,
    /// On an organization: rename it.
    UpdateOrganization,
    /// On an organization: make and remove spaces, and the quotas that spaces get.
    ManageSpaces,
    /// On an organization: give and take its roles.
    ManageOrganizationRoles,
    /// On a space: see it and what is in it (apps, routes, services, logs), without secrets.
    ReadSpace,
    /// On a space: rename it.
    UpdateSpace,
    /// On a space: remove it with all that is in it.
    DeleteSpace,
    /// On a space: give and take its roles.
    ManageSpaceRoles,
    /// On a space: see the variables that developers set for apps.
    ReadVariables,
    /// On a space: see credentials of services, files of instances, the bits of packages and droplets.
    ReadSecrets,
    /// On a space: start, stop, restart, scale and stage apps.
    OperateApps,
    /// On a space: make, change, push and remove apps.
    WriteApps,
    /// On a space: make, map and remove routes.
    WriteRoutes,
    /// On a space: make, bind, share and remove services.
    WriteServices,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 16] = [
        Self::ReadPlatform,
        Self::Administer,
        Self::ReadOrganization,
        Self::UpdateOrganization,
        Self::ManageSpaces,
        Self::ManageOrganizationRoles,
        Self::ReadSpace,
        Self::UpdateSpace,
        Self::DeleteSpace,
        Self::ManageSpaceRoles,
        Self::ReadVariables,
        Self::ReadSecrets,
        Self::OperateApps,
        Self::WriteApps,
        Self::WriteRoutes,
        Self::WriteServices,
    ];

    /// Whether it leaves everything as it is.
    pub fn reads(self) -> bool {
        matches!(
            self,
            Self::ReadPlatform
                | Self::ReadOrganization
                | Self::ReadSpace
                | Self::ReadVariables
                | Self::ReadSecrets
        )
    }

    /// What one must be allowed to know that there is anything to act on; none for the platform, which all know.
    pub fn seeing(self) -> Option<Self> {
        match self {
            Self::ReadPlatform | Self::Administer => None,
            Self::ReadOrganization
            | Self::UpdateOrganization
            | Self::ManageSpaces
            | Self::ManageOrganizationRoles => Some(Self::ReadOrganization),
            Self::ReadSpace
            | Self::UpdateSpace
            | Self::DeleteSpace
            | Self::ManageSpaceRoles
            | Self::ReadVariables
            | Self::ReadSecrets
            | Self::OperateApps
            | Self::WriteApps
            | Self::WriteRoutes
            | Self::WriteServices => Some(Self::ReadSpace),
        }
    }
}

/// The table. A role counts where it is held: an organization's in the organization and all its spaces, a space's in
/// that space.
pub fn allows(role: Role, action: Action) -> bool {
    use Action as A;
    use Role as R;
    match role {
        R::Administrator => true,
        R::ReadOnlyAdministrator => action.reads(),
        R::OrganizationManager => matches!(
            action,
            A::ReadOrganization
                | A::UpdateOrganization
                | A::ManageSpaces
                | A::ManageOrganizationRoles
                | A::ReadSpace
                | A::UpdateSpace
                | A::DeleteSpace
                | A::ManageSpaceRoles
        ),
        R::OrganizationAuditor | R::OrganizationBillingManager | R::OrganizationUser => {
            matches!(action, A::ReadOrganization)
        }
        R::SpaceManager => matches!(action, A::ReadSpace | A::UpdateSpace | A::ManageSpaceRoles),
        R::SpaceDeveloper => matches!(
            action,
            A::ReadSpace
                | A::ReadVariables
                | A::ReadSecrets
                | A::OperateApps
                | A::WriteApps
                | A::WriteRoutes
                | A::WriteServices
        ),
        R::SpaceAuditor => matches!(action, A::ReadSpace),
        R::SpaceSupporter => {
            matches!(action, A::ReadSpace | A::ReadVariables | A::OperateApps | A::WriteRoutes)
        }
    }
}

/// Where an action is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Everywhere.
    Platform,
    /// In an organization.
    Organization {
        /// Which one.
        organization: String,
        /// Whether only administrators may change it.
        suspended: bool,
    },
    /// In a space.
    Space {
        /// Which one.
        space: String,
        /// Where that is.
        organization: String,
        /// Whether only administrators may change its organization.
        suspended: bool,
    },
}

/// A role and where it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub role: Role,
    /// In which organization; for a role in a space, where the space is. Empty for the platform's.
    pub organization: String,
    /// In which space, for a role in a space.
    pub space: Option<String>,
}

/// The roles that count at a place. Whoever is something in a space belongs to its organization.
pub fn roles_at(held: &[Held], place: &Place) -> Vec<Role> {
    let counts = |one: &Held| match (place, &one.space) {
        _ if one.role.is_of_platform() => Some(one.role),
        (Place::Platform, _) => None,
        (Place::Organization { organization, .. }, space) if one.organization == *organization => {
            Some(if space.is_none() { one.role } else { Role::OrganizationUser })
        }
        (Place::Space { organization, .. }, None) if one.organization == *organization => Some(one.role),
        (Place::Space { space, .. }, Some(held)) if held == space => Some(one.role),
        (Place::Organization { .. } | Place::Space { .. }, _) => None,
    };
    held.iter().filter_map(counts).collect()
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// As if it did not exist.
    Hidden,
    /// It exists; it is not for this user.
    Refused,
    /// It would be, were the organization not suspended.
    Suspended,
}

/// Decides about an action at a place, by the roles held.
pub fn decide(held: &[Held], place: &Place, action: Action) -> Verdict {
    let roles = roles_at(held, place);
    let may = |action| roles.iter().any(|role| allows(*role, action));
    let suspended = match place {
        Place::Platform => false,
        Place::Organization { suspended, .. } | Place::Space { suspended, .. } => *suspended,
    };
    if action.seeing().is_some_and(|seeing| !may(seeing)) {
        Verdict::Hidden
    } else if !may(action) {
        Verdict::Refused
    } else if suspended && !action.reads() && !roles.contains(&Role::Administrator) {
        Verdict::Suspended
    } else {
        Verdict::Allowed
    }
}

/// A kind of resource that lies in an organization or a space, and that paths name by its guid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An organization.
    Organization,
    /// A space.
    Space,
    /// An app.
    App,
    /// A process, which has the guid of its app.
    Process,
    /// A package.
    Package,
    /// A build.
    Build,
    /// A droplet.
    Droplet,
    /// A route.
    Route,
    /// A service instance.
    ServiceInstance,
    /// A service binding, of an app or a key.
    ServiceBinding,
    /// A quota of spaces.
    SpaceQuota,
}

impl fmt::Display for Kind {
    /// As refusals name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organization => "Organization",
            Self::Space => "Space",
            Self::App => "App",
            Self::Process => "Process",
            Self::Package => "Package",
            Self::Build => "Build",
            Self::Droplet => "Droplet",
            Self::Route => "Route",
            Self::ServiceInstance => "Service instance",
            Self::ServiceBinding => "Service credential binding",
            Self::SpaceQuota => "Space quota",
        })
    }
}

/// Whom an endpoint serves. Each is registered with one, and is asked before its handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without logging in.
    Public,
    /// Who brings credentials of another kind (a signed address, the bulk password): the handler checks them.
    Credentials,
    /// Every user; nothing in the answer belongs to a tenant, or all of it to the user.
    User,
    /// Every user; the handler lists only what the user sees (`User::seen`).
    Listed,
    /// Who may act on the platform.
    Platform(Action),
    /// Who may act on what the first parameter of the path names.
    On(Kind, Action),
    /// The body names what is acted on: the handler asks (`User::may_named`).
    Named(Kind, Action),
    /// Who may depends on more: the handler asks, and the tenancy test has a rule for the endpoint.
    Handler,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole table, as a reader of the documentation would draw it: a row per action, a column per role.
    #[test]
    fn the_table_is_this() {
        let mut drawn = String::new();
        for action in Action::ALL {
            let marks = Role::ALL.map(|role| if allows(role, action) { 'x' } else { '.' });
            drawn.push_str(&format!("{:<24}{}\n", format!("{action:?}"), marks.iter().collect::<String>()));
        }
        // Administrator, read-only; organization manager, auditor, billing manager, user; space manager, developer,
        // auditor, supporter.
        let wanted = "\
ReadPlatform            xx........
Administer              x.........
ReadOrganization        xxxxxx....
UpdateOrganization      x.x.......
ManageSpaces            x.x.......
ManageOrganizationRoles x.x.......
ReadSpace               xxx...xxxx
UpdateSpace             x.x...x...
DeleteSpace             x.x.......
ManageSpaceRoles        x.x...x...
ReadVariables           xx.....x.x
ReadSecrets             xx.....x..
OperateApps             x......x.x
WriteApps               x......x..
WriteRoutes             x......x.x
WriteServices           x......x..
";
        assert_eq!(drawn, wanted, "\n{drawn}");
    }

    fn held(role: Role) -> Held {
        Held { role, organization: "o".to_owned(), space: role.is_of_space().then(|| "s".to_owned()) }
    }

    fn space(space: &str, organization: &str, suspended: bool) -> Place {
        Place::Space { space: space.to_owned(), organization: organization.to_owned(), suspended }
    }

    fn organization(name: &str, suspended: bool) -> Place {
        Place::Organization { organization: name.to_owned(), suspended }
    }

    #[test]
    fn roles_count_where_they_are_held() {
        for role in Role::ALL.into_iter().filter(|role| !role.is_of_platform()) {
            let roles = [held(role)];
            for action in Action::ALL.into_iter().filter(|action| action.seeing().is_some()) {
                assert_eq!(decide(&roles, &space("t", "other", false), action), Verdict::Hidden);
                assert_eq!(decide(&roles, &organization("other", false), action), Verdict::Hidden);
                assert_eq!(decide(&roles, &Place::Platform, Action::Administer), Verdict::Refused);
            }
            // A role in one space opens no other space of the organization, and shows the organization.
            let elsewhere = decide(&roles, &space("t", "o", false), Action::ReadSpace);
            let wanted = if role == Role::OrganizationManager { Verdict::Allowed } else { Verdict::Hidden };
            assert_eq!(elsewhere, wanted, "{role:?}");
            assert_eq!(decide(&roles, &organization("o", false), Action::ReadOrganization), Verdict::Allowed);
        }
        // A space's manager does not rule the organization.
        let manager = [held(Role::SpaceManager)];
        for action in [Action::ManageOrganizationRoles, Action::ManageSpaces, Action::UpdateOrganization] {
            assert_eq!(decide(&manager, &organization("o", false), action), Verdict::Refused);
        }
    }

    #[test]
    fn only_administrators_change_what_is_suspended() {
        for role in Role::ALL {
            for action in Action::ALL {
                let roles = [held(role)];
                let (before, after) = (
                    decide(&roles, &space("s", "o", false), action),
                    decide(&roles, &space("s", "o", true), action),
                );
                let stopped = before == Verdict::Allowed && !action.reads() && role != Role::Administrator;
                assert_eq!(after, if stopped { Verdict::Suspended } else { before }, "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn names_of_roles_are_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), (!role.is_of_platform()).then_some(role));
        }
        assert_eq!(Role::named("space_king"), None);
    }

    proptest! {
        /// More roles never allow less, and what is allowed can be seen.
        #[test]
        fn roles_only_add(roles in proptest::collection::vec(0..Role::ALL.len(), 0..5), more in 0..Role::ALL.len(),
                          action in 0..Action::ALL.len(), in_space: bool) {
            let action = Action::ALL[action];
            let place = if in_space { space("s", "o", false) } else { organization("o", false) };
            let mut roles: Vec<_> = roles.into_iter().map(|index| held(Role::ALL[index])).collect();
            let before = decide(&roles, &place, action);
            roles.push(held(Role::ALL[more]));
            let after = decide(&roles, &place, action);
            if before == Verdict::Allowed {
                prop_assert_eq!(after, Verdict::Allowed);
                if let Some(seeing) = action.seeing() {
                    prop_assert_eq!(decide(&roles, &place, seeing), Verdict::Allowed);
                }
            }
            prop_assert!(before == Verdict::Hidden || after != Verdict::Hidden);
        }
    }
}
