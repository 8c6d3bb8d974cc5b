//! Ids of runs and tasks.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let hex = format!("{:032x}", self.0);
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                f.write_str(&parts.join("-"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                parse(&text).map(Self).ok_or_else(|| de::Error::custom(format!("`{text}` is not a UUID")))
            }
        }
    };
}

id! {
    /// A run of a workflow: the workflow's id, a UUID as a number. Ids sort by submit time.
    RunId
}
id! {
    /// A task, a UUID as a number.
    TaskId
}

fn parse(text: &str) -> Option<u128> {
    let hex: String = text.chars().filter(|letter| *letter != '-').collect();
    (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_a_uuid_and_read_back() {
        let id = RunId(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc);
        assert_eq!(id.to_string(), "01923456-789a-7bcd-8ef0-123456789abc");
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<RunId>(&text).unwrap(), id);
        assert!(serde_json::from_str::<TaskId>("\"01923456\"").is_err());
    }
}
