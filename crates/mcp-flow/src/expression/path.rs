//! The parts of a run that expressions see, and the ways to them.

use std::{borrow::Cow, fmt};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::Value;

/// What a path starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    /// The workflow's input.
    Input,
    /// The workflow's id, as text.
    WorkflowId,
    /// The workflow's name.
    WorkflowName,
    /// The item of a step with `for_each`.
    Item,
    /// Which item it is, from 0.
    Index,
    /// A step's output.
    Output(u32),
    /// A step's state.
    State(u32),
    /// A step's error.
    Error(u32),
}

impl Root {
    /// Whether it differs from item to item.
    pub(super) const fn is_of_item(self) -> bool {
        matches!(self, Self::Item | Self::Index)
    }

    /// The step it belongs to.
    pub(crate) const fn step(self) -> Option<u32> {
        match self {
            Self::Output(step) | Self::State(step) | Self::Error(step) => Some(step),
            Self::Input | Self::WorkflowId | Self::WorkflowName | Self::Item | Self::Index => None,
        }
    }
}

/// What a run gives to its expressions.
pub(crate) trait Facts: Sync {
    /// The value behind `root`. None when there is none: a step's output or error, an item where there are none.
    fn value(&self, root: Root) -> Option<Cow<'_, Value>>;
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// A field of an object.
    Field(String),
    /// An element of a list.
    Element(i64),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "{name}"),
            Self::Element(index) => write!(f, "{index}"),
        }
    }
}

/// A value that an expression names: `steps.count.output.lines[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) keys: Vec<Key>,
    /// How it is written, for messages.
    text: String,
}

/// The names by which expressions find their values.
pub(crate) trait Names {
    /// The number of a step.
    fn step(&self, name: &str) -> Option<u32>;
    /// Whether there are `item` and `index` here.
    fn has_item(&self) -> bool;
}

/// A path in words: its first name and its keys.
pub(super) struct Words {
    pub(super) first: String,
    keys: Vec<Key>,
}

impl Words {
    /// The words of an expression that is nothing but names, fields, and elements by a literal.
    pub(super) fn of(expression: &IdedExpr) -> Option<Self> {
        let mut keys = Vec::new();
        let mut expression = expression;
        loop {
            match &expression.expr {
                Expr::Ident(name) => {
                    keys.reverse();
                    return Some(Self { first: name.clone(), keys });
                }
                Expr::Select(select) if !select.test => {
                    keys.push(Key::Field(select.field.clone()));
                    expression = &select.operand;
                }
                Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                    let (of, key) = element(call)?;
                    keys.push(key);
                    expression = of;
                }
                _ => return None,
            }
        }
    }

    /// Adds a field.
    pub(super) fn push(&mut self, field: &str) {
        self.keys.push(Key::Field(field.to_owned()));
    }

    fn text(&self) -> String {
        let mut text = self.first.clone();
        for key in &self.keys {
            match key {
                Key::Field(name) => text.extend([".", name]),
                Key::Element(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    /// The path they mean, or what is wrong with them.
    pub(super) fn resolve(mut self, names: &dyn Names) -> Result<Path, String> {
        let text = self.text();
        let root = match self.first.as_str() {
            "input" => Root::Input,
            "item" if names.has_item() => Root::Item,
            "index" if names.has_item() => Root::Index,
            "item" | "index" => {
                return Err(format!("`{}` is there only in the task of a step with `for_each`", self.first));
            }
            "workflow" => match self.take_field().as_deref() {
                Some("id") => Root::WorkflowId,
                Some("name") => Root::WorkflowName,
                _ => return Err("`workflow` has the fields `id` and `name`".to_owned()),
            },
            "steps" => self.step(names)?,
            other => return Err(unknown(other)),
        };
        Ok(Path { root, keys: self.keys, text })
    }

    fn take_field(&mut self) -> Option<String> {
        match self.keys.first() {
            Some(Key::Field(_)) => match self.keys.remove(0) {
                Key::Field(name) => Some(name),
                Key::Element(_) => None,
            },
            _ => None,
        }
    }

    fn step(&mut self, names: &dyn Names) -> Result<Root, String> {
        let Some(name) = self.take_field() else {
            return Err("`steps` must be followed by the name of a step, as in `steps.fetch.output`".to_owned());
        };
        let Some(step) = names.step(&name) else { return Err(format!("there is no step `{name}`")) };
        match self.take_field().as_deref() {
            Some("output") => Ok(Root::Output(step)),
            Some("state") => Ok(Root::State(step)),
            Some("error") => Ok(Root::Error(step)),
            _ => Err(format!("`steps.{name}` must be followed by `output`, `state` or `error`")),
        }
    }
}

fn unknown(name: &str) -> String {
    format!("`{name}` is not known; there are `input`, `steps`, `workflow`, and `item` and `index` in a `for_each`")
}

fn element(call: &CallExpr) -> Option<(&IdedExpr, Key)> {
    let [of, key] = call.args.as_slice() else { return None };
    let Expr::Literal(literal) = &key.expr else { return None };
    let key = match literal {
        LiteralValue::String(name) => Key::Field(name.inner().to_owned()),
        LiteralValue::Int(index) => Key::Element(*index.inner()),
        _ => return None,
    };
    Some((of, key))
}

impl Path {
    /// What it leads to, or what is missing on the way.
    pub(super) fn find<'a>(&self, facts: &'a dyn Facts) -> Result<Cow<'a, Value>, String> {
        let Some(value) = facts.value(self.root) else { return self.find_nothing() };
        let Cow::Borrowed(mut value) = value else {
            return self.keys.first().map_or(Ok(value), |key| Err(self.missing(key)));
        };
        for key in &self.keys {
            value = get(value, key).ok_or_else(|| self.missing(key))?;
        }
        Ok(Cow::Borrowed(value))
    }

    /// Whether there is something: the answer to `has()`.
    pub(super) fn test(&self, facts: &dyn Facts) -> Result<bool, String> {
        let Some(value) = facts.value(self.root) else { return Ok(false) };
        let Some((last, before)) = self.keys.split_last() else { return Ok(true) };
        let Cow::Borrowed(mut value) = value else { return Ok(false) };
        for key in before {
            value = get(value, key).ok_or_else(|| self.missing(key))?;
        }
        Ok(get(value, last).is_some())
    }

    /// A step that has no output has `null`, and one without an error an empty message.
    fn find_nothing<'a>(&self) -> Result<Cow<'a, Value>, String> {
        match (self.root, self.keys.as_slice()) {
            (Root::Error(_), [Key::Field(name)]) if name == "message" => Ok(Cow::Owned(Value::String(String::new()))),
            (_, []) => Ok(Cow::Owned(Value::Null)),
            (_, [key, ..]) => Err(self.missing(key)),
        }
    }

    fn missing(&self, key: &Key) -> String {
        format!("`{}`: there is no `{key}`", self.text)
    }
}

fn get<'a>(value: &'a Value, key: &Key) -> Option<&'a Value> {
    match key {
        Key::Field(name) => value.as_object()?.get(name),
        Key::Element(index) => value.as_array()?.get(usize::try_from(*index).ok()?),
    }
}
