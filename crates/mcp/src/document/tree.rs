//! What a file says, with the line where it says it.

use serde_json::Value;

/// A value of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// The value.
    pub(super) kind: Kind,
    /// The line it begins in, from 1.
    pub(super) line: usize,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Null, a truth value or a number that was not put into quotes, and how it was written.
    Plain(Value, String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Fields, in the order of the file; no name comes twice.
    Map(Vec<Field>),
}

/// A field of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    /// The line its name stands in, from 1.
    pub(super) line: usize,
    /// Its value.
    pub(super) value: Node,
}

/// One step on the way from a value to one inside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The field of this name.
    Field(String),
    /// The item at this index.
    Item(usize),
}

impl Node {
    /// Text.
    pub(super) fn text(text: impl Into<String>, line: usize) -> Self {
        Self { kind: Kind::Text(text.into()), line }
    }

    /// A map.
    pub(super) fn map(fields: Vec<Field>, line: usize) -> Self {
        Self { kind: Kind::Map(fields), line }
    }

    /// True for a null that was not put into quotes, and for nothing at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Plain(Value::Null, _))
    }

    /// The fields of a map.
    pub(super) fn fields_mut(&mut self) -> Option<&mut Vec<Field>> {
        match &mut self.kind {
            Kind::Map(fields) => Some(fields),
            Kind::Plain(..) | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    /// The value of the field with one of these names.
    pub(super) fn get_mut(&mut self, names: &[&str]) -> Option<&mut Node> {
        let fields = self.fields_mut()?;
        fields.iter_mut().find(|field| names.contains(&field.name.as_str())).map(|field| &mut field.value)
    }

    /// Takes the field with one of these names out.
    pub(super) fn take(&mut self, names: &[&str]) -> Option<Field> {
        let fields = self.fields_mut()?;
        let at = fields.iter().position(|field| names.contains(&field.name.as_str()))?;
        Some(fields.remove(at))
    }

    /// The JSON value.
    pub(super) fn into_json(self) -> Value {
        match self.kind {
            Kind::Plain(value, _) => value,
            Kind::Text(text) => Value::String(text),
            Kind::List(items) => items.into_iter().map(Self::into_json).collect(),
            Kind::Map(fields) => {
                Value::Object(fields.into_iter().map(|field| (field.name, field.value.into_json())).collect())
            }
        }
    }

    /// The line of what `way` leads to, or of the last on the way that is there. Names may be in either form, `forEach`
    /// or `for_each`.
    pub(super) fn line_of(&self, way: &[Step]) -> usize {
        let (mut node, mut line) = (self, self.line);
        for step in way {
            let next = match (step, &node.kind) {
                (Step::Field(name), Kind::Map(fields)) => {
                    let field = fields.iter().find(|field| snake(&field.name) == snake(name));
                    field.map(|field| (&field.value, field.line))
                }
                (Step::Item(index), Kind::List(items)) => items.get(*index).map(|item| (item, item.line)),
                _ => None,
            };
            match next {
                Some(next) => (node, line) = next,
                None => break,
            }
        }
        line
    }
}

/// The steps of a path as errors write it: `steps[3].task.process`.
pub(super) fn way(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, items) = part.split_once('[').unwrap_or((part, ""));
        if !name.is_empty() {
            steps.push(Step::Field(name.to_owned()));
        }
        let items = items.split(['[', ']']).filter_map(|item| item.parse().ok());
        steps.extend(items.map(Step::Item));
    }
    steps
}

/// `forEach` as `for_each`.
pub(super) fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Step, way};
    use crate::document::yaml::parse;

    #[test]
    fn paths_lead_to_lines() {
        let text = "name: x\nsteps:\n  - name: a\n  - name: b\n    forEach:\n      - 1\n      - 2\n";
        let node = parse(text).unwrap();
        for (path, line) in [
            ("", 1),
            ("name", 1),
            ("steps", 2),
            ("steps[0]", 3),
            ("steps[1].name", 4),
            ("steps[1].for_each[1]", 7),
            ("steps[1].forEach[9]", 5),
            ("steps[1].task.process.argv", 4),
            ("nothing", 1),
        ] {
            assert_eq!(node.line_of(&way(path)), line, "{path}");
        }
    }

    #[test]
    fn paths_are_read() {
        let field = |name: &str| Step::Field(name.to_owned());
        assert_eq!(way("steps[3].depends_on[0]"), [field("steps"), Step::Item(3), field("depends_on"), Step::Item(0)]);
        assert_eq!(way("a[1][2]"), [field("a"), Step::Item(1), Step::Item(2)]);
        assert_eq!(way("."), []);
    }
}
