//! Properties: names and values that clients keep with a container.

use super::engine::Engine;
use super::record::Phase;
use super::{Error, lock};
use cupola_protocol::warden::{Property, SetPropertyRequest, SetPropertyResponse};
use std::collections::BTreeMap;

/// Longest name, in bytes.
const NAME: usize = 256;
/// Longest value, in bytes.
const VALUE: usize = 64 * 1024;

/// The properties of a container.
pub(crate) type Properties = BTreeMap<String, String>;

impl Engine {
    /// Sets or removes a property.
    pub(crate) fn set_property(&self, request: SetPropertyRequest) -> Result<SetPropertyResponse, Error> {
        let container = self.find(&request.handle)?;
        let _turn = lock(&container.turn);
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        let mut properties = container.record().properties.clone();
        match request.value {
            Some(value) => {
                check(&request.name, &value)?;
                properties.insert(request.name, value);
            }
            None => {
                if properties.remove(&request.name).is_none() {
                    return Err(Error::Invalid(format!("there is no property {:?}", request.name)));
                }
            }
        }
        self.check_properties(&properties)?;
        container.change(&self.journal, |record| record.properties = properties)?;
        Ok(SetPropertyResponse {})
    }

    /// The properties of a request.
    pub(crate) fn properties(&self, given: Vec<Property>) -> Result<Properties, Error> {
        let mut properties = Properties::new();
        for Property { name, value } in given {
            check(&name, &value)?;
            if properties.contains_key(&name) {
                return Err(Error::Invalid(format!("property {name:?} is given twice")));
            }
            properties.insert(name, value);
        }
        self.check_properties(&properties)?;
        Ok(properties)
    }

    fn check_properties(&self, properties: &Properties) -> Result<(), Error> {
        let bytes: usize = properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        match bytes > self.config.properties_bytes {
            true => Err(Error::Invalid(format!(
                "properties of {bytes} bytes are more than a container may have, {}; raise `properties_bytes`",
                self.config.properties_bytes
            ))),
            false => Ok(()),
        }
    }

    /// Handles of the containers that have all of these properties, sorted.
    pub(crate) fn list(&self, wanted: &[Property]) -> Vec<String> {
        let all = self.all();
        let fits = |properties: &Properties| {
            wanted.iter().all(|property| properties.get(&property.name) == Some(&property.value))
        };
        all.iter()
            .filter(|container| fits(&container.record().properties))
            .map(|container| container.handle.clone())
            .collect()
    }
}

/// Properties as the protocol has them.
pub(crate) fn message(properties: &Properties) -> Vec<Property> {
    properties.iter().map(|(name, value)| Property { name: name.clone(), value: value.clone() }).collect()
}

fn check(name: &str, value: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME {
        return Err(Error::Invalid(format!("a property's name has 1 to {NAME} bytes, not {}", name.len())));
    }
    if value.len() > VALUE {
        let length = value.len();
        return Err(Error::Invalid(format!(
            "the value of property {name:?} has {length} bytes, more than {VALUE}"
        )));
    }
    Ok(())
}
