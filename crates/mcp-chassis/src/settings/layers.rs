//! Putting the layers on top of each other, and telling from which one a wrong value came.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use config::{File, Map, Source as _, Value, ValueKind};
use serde_json::Value as Json;

use super::{
    Error, Origin, ServiceConfig,
    values::{Text, json_of, pointer, typed, value_of},
};

/// What separates the segments of a key in the name of a variable.
const SEPARATOR: &str = "__";

/// The layers above the defaults. Later calls win over earlier ones within a layer.
#[derive(Debug, Clone)]
pub struct Sources {
    prefix: String,
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    generated: Vec<Text>,
    flags: Vec<Text>,
}

/// A layer that has been read: typed values, each with its origin.
#[derive(Debug, Clone)]
struct Layer(Vec<(String, Value, Origin)>);

impl Sources {
    /// No layer but the defaults. Variables of the environment are `MCP_<SERVICE>__…`.
    pub fn new(service: &str) -> Self {
        Self {
            prefix: format!("MCP_{}{SEPARATOR}", service.to_uppercase().replace('-', "_")),
            file: None,
            environment: Vec::new(),
            generated: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Reads a TOML or YAML file; which of the two, its extension says.
    #[must_use]
    pub fn file(mut self, path: Option<PathBuf>) -> Self {
        self.file = path;
        self
    }

    /// Reads variables; those without the prefix are left alone.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = variables.into_iter().collect();
        self
    }

    /// Adds a default that only this start has, for instance a random name.
    #[must_use]
    pub fn generated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.generated.push(Text { key: key.to_owned(), value: value.into(), origin: Origin::Default });
        self
    }

    /// Adds a flag: `flag` is how it was typed, for the error.
    #[must_use]
    pub fn flag(mut self, key: &str, value: impl Into<String>, flag: impl Into<String>) -> Self {
        self.flags.push(Text { key: key.to_owned(), value: value.into(), origin: Origin::Flag(flag.into()) });
        self
    }

    /// Puts the layers together and checks everything.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key and where it came from.
    pub fn load<C: ServiceConfig>(self) -> Result<C, Error> {
        let defaults = serde_json::to_value(C::default()).map_err(|error| Error::Representation(error.into()))?;
        let layers = [
            Layer::of_texts(&defaults, self.generated)?,
            Layer::of_file(self.file.as_deref())?,
            Layer::of_texts(&defaults, variables(&self.prefix, self.environment)?)?,
            Layer::of_texts(&defaults, self.flags)?,
        ];
        let origin_of = |key: &str| layers.iter().rev().find_map(|layer| layer.origin_of(key));
        let mut builder = config::Config::builder().add_source(Layer::of_defaults(&defaults));
        for layer in &layers {
            builder = builder.add_source(layer.clone());
        }
        let merged = builder.build().map_err(|error| Error::Representation(error.into()))?;
        let is_guess = |key: &str| {
            matches!(defaults.pointer(&pointer(key)), None | Some(Json::Null))
                && matches!(origin_of(key), Some(Origin::Environment(_) | Origin::Flag(_)))
        };
        let config: C = read(json_of(merged.cache), is_guess).map_err(|(key, reason)| {
            let origin = origin_of(&key).unwrap_or(Origin::Default);
            Error::Key { key, origin, reason }
        })?;
        validate(&config).map_err(|error| match error {
            Error::Invalid { key, reason } => match origin_of(&key) {
                Some(origin) => Error::Key { key, origin, reason },
                None => Error::Invalid { key, reason },
            },
            other => other,
        })?;
        Ok(config)
    }
}

fn validate<C: ServiceConfig>(config: &C) -> Result<(), Error> {
    config.service().validate()?;
    config.coord().validate()?;
    config.telemetry().validate()?;
    config.validate()
}

/// Reads the settings; the error is the key and what is wrong with it.
///
/// A text from the environment or a flag, whose default is no value, may stand for a number or a truth value: that
/// shows when the text itself does not fit.
fn read<C: ServiceConfig>(mut merged: Json, is_guess: impl Fn(&str) -> bool) -> Result<C, (String, String)> {
    loop {
        let error = match serde_path_to_error::deserialize(&merged) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let key = error.path().to_string();
        let slot = merged.pointer_mut(&pointer(&key)).filter(|_| is_guess(&key));
        let scalar = slot.as_deref().and_then(Json::as_str).and_then(|text| serde_json::from_str(text).ok());
        match (slot, scalar) {
            // Not a text any more, so this happens once for a key at most.
            (Some(slot), Some(scalar @ (Json::Number(_) | Json::Bool(_)))) => *slot = scalar,
            _ => return Err((key, error.inner().to_string())),
        }
    }
}

/// The variables with the prefix, as keys: `MCP_X__SERVICE__LISTEN` is `service.listen`.
fn variables(prefix: &str, environment: Vec<(OsString, OsString)>) -> Result<Vec<Text>, Error> {
    let mut texts = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else { continue };
        let origin = Origin::Environment(name.to_owned());
        let Ok(value) = value.into_string() else {
            return Err(Error::Malformed { origin, reason: "its value is not UTF-8".to_owned() });
        };
        let key = name[prefix.len()..].to_lowercase().replace(SEPARATOR, ".");
        texts.push(Text { key, value, origin });
    }
    // The environment has no order; ours must not depend on it.
    texts.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(texts)
}

impl Layer {
    fn of_defaults(defaults: &Json) -> Self {
        let sections = defaults.as_object().into_iter().flatten();
        Self(sections.map(|(key, json)| (key.clone(), value_of(json), Origin::Default)).collect())
    }

    fn of_texts(defaults: &Json, texts: Vec<Text>) -> Result<Self, Error> {
        texts.into_iter().map(|text| typed(defaults, text)).collect::<Result<_, _>>().map(Self)
    }

    fn of_file(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self(Vec::new())) };
        let sections = File::from(path)
            .required(true)
            .collect()
            .map_err(|source| Error::File { path: path.to_owned(), source })?;
        let origin = Origin::File(path.to_owned());
        Ok(Self(sections.into_iter().map(|(key, value)| (key, value, origin.clone())).collect()))
    }

    /// Where `key` was set in this layer: itself, a part of it, or something that it is a part of.
    fn origin_of(&self, key: &str) -> Option<Origin> {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let found = self.0.iter().rev().find(|(set, value, _)| {
            within(set, key) || (within(key, set) && holds(value, key[set.len()..].trim_start_matches('.')))
        });
        found.map(|(.., origin)| origin.clone())
    }
}

/// True when `value` has something at `path`, or is itself what the path leads into.
fn holds(value: &Value, path: &str) -> bool {
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    match &value.kind {
        ValueKind::Table(table) if !head.is_empty() => table.get(head).is_some_and(|value| holds(value, rest)),
        _ => true,
    }
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.iter().map(|(key, value, _)| (key.clone(), value.clone())).collect())
    }
}

/// The settings as TOML, each section under its name; keys without a value are left out.
///
/// # Errors
/// [`Error::Representation`] when the type cannot be TOML.
pub fn to_toml<C: ServiceConfig>(config: &C) -> Result<String, Error> {
    toml::to_string_pretty(config).map_err(|error| Error::Representation(error.into()))
}
