//! What comes along with a page: `include=…` and `fields[…]=…`.

use crate::{
    api::{ApiError, input::Params},
    context::Context,
    store::{self, BrokerRow, Filter, OfferingRow, Selection},
};
use cupola_protocol::api::Page;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A page with what comes along, when something was asked for.
#[derive(Debug, Serialize)]
pub(super) struct WithIncluded<T> {
    #[serde(flatten)]
    pub page: Page<T>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub included: Map<String, Value>,
}

/// The words of `include`.
pub(super) fn wanted(params: &Params) -> Vec<String> {
    params.list("include").unwrap_or_default()
}

/// The fields that are asked for of something, such as `service_plan.service_offering`.
pub(super) fn fields(params: &Params, of: &str) -> Option<Vec<String>> {
    params.list(&format!("fields[{of}]"))
}

/// The rows of a table with these guids.
pub(super) async fn rows<T>(
    context: &Context,
    table: &'static str,
    guids: impl IntoIterator<Item = String>,
) -> Result<Vec<T>, ApiError>
where
    T: for<'r> sqlx::FromRow<'r, store::Row> + Send + Unpin,
{
    let guids: BTreeSet<String> = guids.into_iter().collect();
    if guids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter::new("guid IN (", guids.into_iter().collect(), ")");
    Ok(store::list(&context.pool, &Selection::all(table, vec![filter])).await?.1)
}

/// Offerings and brokers of plans, with the fields that are asked for.
pub(super) async fn offerings_and_brokers(
    context: &Context,
    included: &mut Map<String, Value>,
    offerings: impl IntoIterator<Item = String>,
    offering_fields: Option<Vec<String>>,
    broker_fields: Option<Vec<String>>,
) -> Result<(), ApiError> {
    if offering_fields.is_none() && broker_fields.is_none() {
        return Ok(());
    }
    let offerings: Vec<OfferingRow> = rows(context, "service_offerings", offerings).await?;
    if let Some(fields) = offering_fields {
        let shown = offerings.iter().map(|row| picked(&offering(row), &fields)).collect();
        included.insert("service_offerings".to_owned(), Value::Array(shown));
    }
    if let Some(fields) = broker_fields {
        let guids = offerings.into_iter().map(|row| row.broker_guid);
        let brokers: Vec<BrokerRow> = rows(context, "service_brokers", guids).await?;
        let shown =
            brokers.iter().map(|row| picked(&json!({"guid": row.guid, "name": row.name}), &fields)).collect();
        included.insert("service_brokers".to_owned(), Value::Array(shown));
    }
    Ok(())
}

fn offering(row: &OfferingRow) -> Value {
    let catalog = row.catalog();
    json!({
        "guid": row.guid,
        "name": row.name,
        "description": row.description,
        "documentation_url": catalog.metadata.get("documentationUrl"),
        "tags": catalog.tags,
        "relationships": {"service_broker": {"data": {"guid": row.broker_guid}}},
    })
}

/// The fields of something that are asked for; a field may be a path, as `relationships.service_broker`.
pub(super) fn picked(from: &Value, fields: &[String]) -> Value {
    let mut shown = Map::new();
    for field in fields {
        let (first, rest) = field.split_once('.').map_or((field.as_str(), None), |(a, b)| (a, Some(b)));
        let Some(value) = from.get(first) else { continue };
        match rest {
            None => drop(shown.insert(first.to_owned(), value.clone())),
            Some(rest) => {
                let Some(inner) = value.get(rest) else { continue };
                let outer = shown.entry(first).or_insert_with(|| json!({}));
                outer[rest] = inner.clone();
            }
        }
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_picked_by_their_paths() {
        let from = json!({"guid": "g", "name": "n", "relationships": {"a": 1, "b": 2}});
        let fields = ["name", "relationships.b", "other", "relationships.c"].map(str::to_owned);
        assert_eq!(picked(&from, &fields), json!({"name": "n", "relationships": {"b": 2}}));
    }
}
