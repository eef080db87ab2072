//! `warden properties`.

use super::{Doing, Error, output, parse, view};
use warden_client::Client;
use warden_client::message::Property;

/// Sets and removes properties of a container, then shows those that it has.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
    /// Set one
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::property)]
    set: Vec<Property>,
    /// Remove one
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let Arguments { handle, set, remove, json } = arguments;
    for Property { name, value } in set {
        let done = client.set_property(&handle, &name, Some(&value)).await;
        done.doing(|| format!("set the property {name} of {handle}"))?;
    }
    for name in remove {
        let done = client.set_property(&handle, &name, None).await;
        done.doing(|| format!("remove the property {name} of {handle}"))?;
    }
    let info = client.info(&handle).await.doing(|| format!("ask how {handle} is"))?;
    if json {
        output::json(&view::properties(&info.properties));
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        info.properties.into_iter().map(|property| vec![property.name, property.value]).collect();
    output::write(&output::table(&["NAME", "VALUE"], &rows));
    Ok(())
}
