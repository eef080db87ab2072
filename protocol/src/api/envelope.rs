//! Reading logs: `GET /api/v1/info`, `GET /api/v1/read/:source`.

use crate::logs::{LogLine, Stream};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /api/v1/info`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCacheInfo {
    /// Version of the API.
    pub version: String,
    /// Seconds that it has been up, as text.
    #[serde(default)]
    pub vm_uptime: String,
}

/// `GET /api/v1/read/:source`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadLogs {
    /// The envelopes.
    pub envelopes: EnvelopeBatch,
}

/// Envelopes, oldest first unless the newest were asked for first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnvelopeBatch {
    /// The envelopes.
    #[serde(default)]
    pub batch: Vec<Envelope>,
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// When, in nanoseconds since 1970, as text.
    #[serde(with = "text")]
    pub timestamp: i64,
    /// Guid of the app.
    pub source_id: String,
    /// Instance index.
    #[serde(default)]
    pub instance_id: String,
    /// `source_type` says who wrote it: `APP/PROC/WEB`, `STG`, `API`, `RTR`, `CELL`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The line; none for envelopes of another kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<EnvelopeLog>,
}

/// The line of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeLog {
    /// The line in base64.
    #[serde(default)]
    pub payload: String,
    /// Which output.
    #[serde(rename = "type", default = "out")]
    pub stream: Stream,
}

fn out() -> Stream {
    Stream::Out
}

impl Envelope {
    /// The envelope of a line on the bus.
    pub fn of(line: &LogLine) -> Self {
        let tags = BTreeMap::from([("source_type".to_owned(), line.source_type.as_str().to_owned())]);
        Self {
            timestamp: line.timestamp,
            source_id: line.app.as_str().to_owned(),
            instance_id: line.instance_id.clone(),
            tags,
            log: Some(EnvelopeLog { payload: STANDARD.encode(&line.message), stream: line.stream }),
        }
    }

    /// Who wrote the line; empty when nobody said.
    pub fn source_type(&self) -> &str {
        self.tags.get("source_type").map_or("", String::as_str)
    }

    /// The line, with what is not UTF-8 replaced; none for envelopes of another kind or a payload that is not
    /// base64.
    pub fn text(&self) -> Option<String> {
        let bytes = STANDARD.decode(&self.log.as_ref()?.payload).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A number that travels as text.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppId, logs::Source};

    #[test]
    fn an_envelope_has_the_shape_that_log_cache_clients_read() {
        let line = LogLine {
            app: AppId::new("a"),
            instance_id: "1".to_owned(),
            source_type: Source::Staging,
            stream: Stream::Err,
            timestamp: 1_795_374_162_399_211_781,
            message: "hé".to_owned(),
        };
        let envelope = Envelope::of(&line);
        let json = serde_json::to_value(&envelope).unwrap();
        let expected = serde_json::json!({
            "timestamp": "1795374162399211781", "source_id": "a", "instance_id": "1",
            "tags": {"source_type": "STG"}, "log": {"payload": "aMOp", "type": "ERR"},
        });
        assert_eq!(json, expected);
        let back: Envelope = serde_json::from_value(json).unwrap();
        assert_eq!(back.text().as_deref(), Some("hé"));
        assert_eq!(back.source_type(), "STG");
    }
}
