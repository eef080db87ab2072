//! Ids as types. On the wire each is a plain string.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares one id: a string that cannot be mistaken for another kind of id.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a string that came from outside.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// Makes a new id that nobody else has: a random UUID.
            pub fn generate() -> Self {
                Self(uuid::Uuid::new_v4().to_string())
            }

            /// The id as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }
    };
}

id!(
    /// An app, by its guid in the controller. The historic messages call it `droplet`.
    AppId
);
id!(
    /// The version of an app's desired state. Instances of another version are extra.
    Version
);
id!(
    /// One running (or crashed) instance of an app.
    InstanceId
);
id!(
    /// One node agent; made anew at each first start of a data directory.
    DeaId
);
id!(
    /// One stager.
    StagerId
);
id!(
    /// One staging: the guid of the build in the controller.
    TaskId
);
id!(
    /// One router process.
    RouterId
);
id!(
    /// A service instance, by its guid in the platform that asked for it.
    ServiceInstanceId
);
id!(
    /// A service binding, by its guid in the platform that asked for it.
    ServiceBindingId
);
id!(
    /// A service offering in a broker's catalog: any text that the broker chose.
    OfferingId
);
id!(
    /// A plan in a broker's catalog: any text that the broker chose.
    PlanId
);
id!(
    /// One service node of one engine.
    ServiceNodeId
);
