//! YAML 1.2, and with it JSON, into a tree that knows its lines.
//!
//! Plain values are read by YAML's core schema: `yes` and `2026-11-21` are text. Anchors and aliases are taken; tags, merge
//! keys and a second document are not. Depth and size are bounded, whatever aliases make of a small file.

use std::collections::{HashMap, HashSet};

use serde_json::{Number, Value};
use yaml_rust2::{
    Event,
    parser::{Parser, Tag},
    scanner::{Marker, ScanError, TScalarStyle},
};

use super::{
    Fault,
    tree::{Field, Kind, Node},
};

/// Deepest nesting of a file.
const DEPTH_MAX: usize = 64;
/// Most values of a file, those of aliases counted each time.
const NODES_MAX: usize = 2_000_000;

/// Reads the one document of a file.
///
/// # Errors
/// Where it is not YAML, or more than is taken.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut documents = parse_all(text)?.into_iter();
    let first = documents.next().ok_or_else(|| Fault::at(1, "the file is empty"))?;
    match documents.next() {
        None => Ok(first),
        Some(second) => Err(Fault::at(second.line, "more than one document")),
    }
}

/// Reads every document of a file; at least one.
///
/// # Errors
/// Where it is not YAML, or more than is taken.
pub(super) fn parse_all(text: &str) -> Result<Vec<Node>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut parser, mut builder) = (Parser::new_from_str(text), Builder::default());
    loop {
        // One event at a time: the parser's own `load` recurses, and a file could make it overflow the stack.
        let (event, mark) = parser.next_token().map_err(|error| of_scanner(&error))?;
        if event == Event::StreamEnd {
            break;
        }
        builder.event(event, mark)?;
    }
    if builder.documents.is_empty() { Err(Fault::at(1, "the file is empty")) } else { Ok(builder.documents) }
}

fn of_scanner(error: &ScanError) -> Fault {
    Fault::at(error.marker().line(), format!("not YAML: {} (column {})", error.info(), error.marker().col() + 1))
}

/// What is open while a file is read.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<Frame>,
    /// Values with an anchor, and how many values each of them holds.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    /// Documents that are complete.
    documents: Vec<Node>,
}

/// A list or map that is not complete.
#[derive(Debug)]
struct Frame {
    line: usize,
    anchor: usize,
    /// How many values there were before it.
    nodes_before: usize,
    items: Items,
}

#[derive(Debug)]
enum Items {
    List(Vec<Node>),
    Map { fields: Vec<Field>, names: HashSet<String>, name: Option<(String, usize)> },
}

impl Builder {
    fn event(&mut self, event: Event, mark: Marker) -> Result<(), Fault> {
        let line = mark.line();
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart => {
                self.anchors.clear(); // they are known within their document
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                no_tag(tag.as_ref(), line)?;
                let kind = if style == TScalarStyle::Plain { plain(text) } else { Kind::Text(text) };
                self.complete(Node { kind, line }, anchor, 1)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).map(|(node, nodes)| (node.clone(), *nodes));
                let (node, nodes) = known.ok_or_else(|| Fault::at(line, "an alias inside of what it stands for"))?;
                self.complete(node, 0, nodes)
            }
            Event::SequenceStart(anchor, tag) => {
                no_tag(tag.as_ref(), line)?;
                self.begin(line, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(tag.as_ref(), line)?;
                self.begin(line, anchor, Items::Map { fields: Vec::new(), names: HashSet::new(), name: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, items: Items) -> Result<(), Fault> {
        if let Some(Frame { items: Items::Map { name: None, .. }, .. }) = self.open.last() {
            return Err(Fault::at(line, "the name of a field must be text"));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(Fault::at(line, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(Frame { line, anchor, nodes_before: self.nodes, items });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let frame = self.open.pop().expect("the parser ends what it began");
        let kind = match frame.items {
            Items::List(items) => Kind::List(items),
            Items::Map { fields, .. } => Kind::Map(fields),
        };
        let inside = self.nodes - frame.nodes_before;
        self.nodes = frame.nodes_before; // counted again with the whole
        self.complete(Node { kind, line: frame.line }, frame.anchor, inside + 1)
    }

    /// Puts a value that is complete where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(Fault::at(node.line, format!("more than {NODES_MAX} values")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        let Some(frame) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match &mut frame.items {
            Items::List(items) => items.push(node),
            Items::Map { fields, name: name @ Some(_), .. } => {
                let (name, line) = name.take().expect("just matched");
                fields.push(Field { name, line, value: node });
            }
            Items::Map { names, name, .. } => {
                let text = match node.kind {
                    Kind::Text(text) | Kind::Plain(_, text) => text,
                    Kind::List(_) | Kind::Map(_) => {
                        return Err(Fault::at(node.line, "the name of a field must be text"));
                    }
                };
                if text == "<<" {
                    return Err(Fault::at(node.line, "merge keys (`<<`) are not taken: write the fields out"));
                }
                if !names.insert(text.clone()) {
                    return Err(Fault::at(node.line, format!("the field `{text}` is there twice")));
                }
                *name = Some((text, node.line));
            }
        }
        Ok(())
    }
}

fn no_tag(tag: Option<&Tag>, line: usize) -> Result<(), Fault> {
    match tag {
        None => Ok(()),
        Some(tag) => {
            Err(Fault::at(line, format!("tags (`{}{}`) are not taken: put text into quotes", tag.handle, tag.suffix)))
        }
    }
}

/// A value without quotes, by the core schema.
fn plain(text: String) -> Kind {
    let value = match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        text => number(text).map(Value::Number),
    };
    match value {
        Some(value) => Kind::Plain(value, text),
        None => Kind::Text(text),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+')).map(Number::from);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if !is_number {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DEPTH_MAX, parse};

    fn read(text: &str) -> Value {
        parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}")).into_json()
    }

    #[test]
    fn plain_values_are_those_of_the_core_schema() {
        for (text, value) in [
            ("~", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("12", json!(12)),
            ("+12", json!(12)),
            ("-0.5", json!(-0.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("0x1f", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.2.3", json!("1.2.3")),
            ("2026-11-21", json!("2026-11-21")),
            ("5m", json!("5m")),
            ("- 1\n- '1'", json!([1, "1"])),
            (".", json!(".")),
            ("1e999", json!("1e999")),
        ] {
            assert_eq!(read(text), value, "{text}");
        }
    }

    #[test]
    fn json_is_yaml() {
        let text = "{\n\t\"a\": [1, 2.5, \"x\\ny\", null, true],\n\t\"b\": {\"c\": \"\\u00e9\"}}";
        assert_eq!(read(text), json!({"a": [1, 2.5, "x\ny", null, true], "b": {"c": "é"}}));
    }

    #[test]
    fn blocks_and_aliases_are_read() {
        let text = "script: |\n  echo a\n  echo b\nretry: &r {max_attempts: 5}\nother: *r\n";
        let value = json!({"script": "echo a\necho b\n", "retry": {"max_attempts": 5}, "other": {"max_attempts": 5}});
        assert_eq!(read(text), value);
    }

    #[test]
    fn what_is_not_taken_is_named_with_its_line() {
        let deep = format!("{}1{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let laughs: String = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let items = vec![format!("*a{}", n - 1); 9].join(", ");
            format!("{text}a{n}: &a{n} [{items}]\n")
        });
        for (text, line, why) in [
            ("", 1, "empty"),
            ("a: 1\na: 2", 2, "`a` is there twice"),
            ("a: 1\n---\nb: 2", 3, "more than one document"),
            ("a: !!str 5", 1, "tags"),
            ("x: &x {a: 1}\ny:\n  <<: *x", 3, "merge keys"),
            ("a: [1\nb: 2", 2, "not YAML"),
            ("a: &a [*a]", 1, "alias inside"),
            ("? [a]\n: 1", 1, "must be text"),
            (&deep, 1, "deeper than"),
            (&laughs, 6, "more than 2000000 values"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.why.contains(why), "{text}: {fault:?}");
            assert_eq!(fault.line, Some(line), "{text}: {fault:?}");
        }
        let endless = "[".repeat(1_000_000);
        assert!(parse(&endless).is_err(), "a hostile file ends with an error");
    }
}
