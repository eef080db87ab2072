//! What every answer is made of: pages, links, relationships, labels.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The id of a resource: a UUID as text, opaque to clients.
pub type Guid = String;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Where this page stands.
    pub pagination: Pagination,
    /// Its resources.
    pub resources: Vec<T>,
}

/// Where a page stands in its list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pagination {
    /// Resources on all pages.
    pub total_results: u64,
    /// Number of pages, at least 1.
    pub total_pages: u64,
    /// The first page.
    pub first: Link,
    /// The last page.
    pub last: Link,
    /// The next page, if any.
    pub next: Option<Link>,
    /// The page before, if any.
    pub previous: Option<Link>,
}

/// A link to another resource or action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Absolute address.
    pub href: String,
    /// Method, where it is not GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Facts about what is behind it, such as a version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
}

impl Link {
    /// A link that is followed by GET.
    pub fn get(href: impl Into<String>) -> Self {
        Self { href: href.into(), ..Self::default() }
    }

    /// A link that is followed by POST.
    pub fn post(href: impl Into<String>) -> Self {
        Self { href: href.into(), method: Some("POST".to_owned()), ..Self::default() }
    }
}

/// Links by name; `self` is the resource itself.
pub type Links = BTreeMap<String, Link>;

/// Names a resource by its guid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The guid.
    pub guid: Guid,
}

impl Named {
    /// Names the resource with this guid.
    pub fn new(guid: impl Into<Guid>) -> Self {
        Self { guid: guid.into() }
    }
}

/// A relationship to at most one resource: `{"data":{"guid":"…"}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToOne {
    /// The other side; none when there is none.
    pub data: Option<Named>,
}

impl ToOne {
    /// A relationship to the resource with this guid.
    pub fn new(guid: impl Into<Guid>) -> Self {
        Self { data: Some(Named::new(guid)) }
    }

    /// The guid of the other side.
    pub fn guid(&self) -> Option<&str> {
        self.data.as_ref().map(|named| named.guid.as_str())
    }
}

/// A relationship to any number of resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToMany {
    /// The other sides.
    pub data: Vec<Named>,
}

/// Relationships by name.
pub type Relationships = BTreeMap<String, ToOne>;

/// Labels and annotations that people put on a resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Short words to select by.
    #[serde(default)]
    pub labels: BTreeMap<String, Option<String>>,
    /// Free words.
    #[serde(default)]
    pub annotations: BTreeMap<String, Option<String>>,
}
