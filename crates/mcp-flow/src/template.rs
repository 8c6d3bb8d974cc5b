//! Templates: JSON whose strings hold `${ expression }`.
//!
//! A string that is nothing but one expression becomes the expression's value, of whatever type; inside longer text a
//! value becomes text: a string as it is, anything else as JSON. `$${` stands for `${`.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    expression::{Bound, Code, EvaluationError, Facts, Item, Program},
    json,
};

/// What the values put into one task may weigh together, in bytes.
pub(crate) const RENDERED_BYTES_MAX: usize = 16 << 20;

/// Compiles the expression of a hole.
pub(crate) type Compile<'a> = dyn FnMut(&str) -> Result<Arc<Program>, String> + 'a;

/// The holes in a step's task.
#[derive(Debug, Default)]
pub(crate) struct Template {
    holes: Vec<Hole>,
}

/// A string of the task that holds expressions.
#[derive(Debug)]
struct Hole {
    way: Vec<Token>,
    text: Text,
    /// Whether its place takes nothing but text.
    is_text: bool,
}

/// One step on the way to a string.
#[derive(Debug, Clone)]
enum Token {
    Key(String),
    Index(usize),
}

#[derive(Debug)]
enum Text {
    Whole(Arc<Program>),
    Pieces(Vec<Piece>),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Program(Arc<Program>),
}

impl Template {
    /// Compiles the templates of a task. Calls `fault` with the field, below the task, and what is wrong there.
    pub(crate) fn compile(task: &Value, compile: &mut Compile<'_>, fault: &mut dyn FnMut(&str, String)) -> Self {
        let mut scan = Scan { holes: Vec::new(), way: Vec::new(), is_text: true, compile, fault };
        scan.below(task, &["process"]);
        scan.is_text = false;
        scan.below(task, &["handler", "input"]);
        Self { holes: scan.holes }
    }

    /// Whether the task is the same for all items and runs.
    pub(crate) const fn is_plain(&self) -> bool {
        self.holes.is_empty()
    }

    /// Every expression in it.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Arc<Program>> {
        self.holes.iter().flat_map(|hole| match &hole.text {
            Text::Whole(program) => vec![program],
            Text::Pieces(pieces) => pieces.iter().filter_map(Piece::program).collect(),
        })
    }

    /// Makes it ready to be rendered for any number of items.
    pub(crate) fn bind<'a>(&'a self, facts: &'a dyn Facts) -> BoundTemplate<'a> {
        let holes = self.holes.iter().map(|hole| {
            let pieces = match &hole.text {
                Text::Whole(program) => vec![BoundPiece::Program(program.bind(facts))],
                Text::Pieces(pieces) => pieces.iter().map(|piece| piece.bind(facts)).collect(),
            };
            (hole, pieces)
        });
        BoundTemplate { holes: holes.collect() }
    }
}

impl Piece {
    const fn program(&self) -> Option<&Arc<Program>> {
        match self {
            Self::Literal(_) => None,
            Self::Program(program) => Some(program),
        }
    }

    fn bind<'a>(&'a self, facts: &'a dyn Facts) -> BoundPiece<'a> {
        match self {
            Self::Literal(text) => BoundPiece::Literal(text),
            Self::Program(program) => BoundPiece::Program(program.bind(facts)),
        }
    }
}

/// A template with its facts.
#[derive(Debug)]
pub(crate) struct BoundTemplate<'a> {
    holes: Vec<(&'a Hole, Vec<BoundPiece<'a>>)>,
}

#[derive(Debug)]
enum BoundPiece<'a> {
    Literal(&'a str),
    Program(Bound<'a>),
}

/// Why a task cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RenderError {
    /// An expression failed.
    Expression(EvaluationError),
    /// It would be larger than [`RENDERED_BYTES_MAX`].
    TooLarge,
}

impl BoundTemplate<'_> {
    /// The task with every expression replaced by its value; adds the work it took to `spent`.
    pub(crate) fn render(&self, task: &Value, item: Option<Item<'_>>, spent: &mut u64) -> Result<Value, RenderError> {
        let mut rendered = task.clone();
        let mut bytes_left = RENDERED_BYTES_MAX;
        for (hole, pieces) in &self.holes {
            let value = fill(hole, pieces, item, spent).map_err(RenderError::Expression)?;
            bytes_left = bytes_left.checked_sub(json::weight(&value)).ok_or(RenderError::TooLarge)?;
            if let Some(place) = at(&mut rendered, &hole.way) {
                *place = value;
            }
        }
        Ok(rendered)
    }
}

fn fill(
    hole: &Hole,
    pieces: &[BoundPiece<'_>],
    item: Option<Item<'_>>,
    spent: &mut u64,
) -> Result<Value, EvaluationError> {
    if let (Text::Whole(_), [BoundPiece::Program(program)]) = (&hole.text, pieces) {
        let value = program.evaluate(item, spent)?;
        return Ok(if hole.is_text { Value::String(into_text(value)) } else { value });
    }
    let mut text = String::new();
    for piece in pieces {
        match piece {
            BoundPiece::Literal(literal) => text.push_str(literal),
            BoundPiece::Program(program) => text.push_str(&into_text(program.evaluate(item, spent)?)),
        }
    }
    Ok(Value::String(text))
}

fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn at<'a>(value: &'a mut Value, way: &[Token]) -> Option<&'a mut Value> {
    way.iter().try_fold(value, |value, token| match token {
        Token::Key(key) => value.get_mut(key),
        Token::Index(index) => value.get_mut(index),
    })
}

/// A walk through a task in search of holes.
struct Scan<'a, 'b> {
    holes: Vec<Hole>,
    way: Vec<Token>,
    is_text: bool,
    compile: &'a mut Compile<'b>,
    fault: &'a mut dyn FnMut(&str, String),
}

impl Scan<'_, '_> {
    fn below(&mut self, task: &Value, keys: &[&str]) {
        let Some(value) = keys.iter().try_fold(task, |value, key| value.get(key)) else { return };
        self.way = keys.iter().map(|key| Token::Key((*key).to_owned())).collect();
        self.walk(value);
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => self.string(text),
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.inside(Token::Index(index), value);
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    self.inside(Token::Key(key.clone()), value);
                }
            }
        }
    }

    fn inside(&mut self, token: Token, value: &Value) {
        self.way.push(token);
        self.walk(value);
        self.way.pop();
    }

    fn string(&mut self, text: &str) {
        if !text.contains("${") {
            return;
        }
        match self.parse(text) {
            Ok(parsed) => self.holes.push(Hole { way: self.way.clone(), text: parsed, is_text: self.is_text }),
            Err(description) => (self.fault)(&field(&self.way), description),
        }
    }

    fn parse(&mut self, text: &str) -> Result<Text, String> {
        let mut pieces = Vec::new();
        for part in split(text)? {
            pieces.push(match part {
                Part::Literal(literal) => Piece::Literal(literal),
                Part::Expression(expression) => {
                    let program = (self.compile)(expression.trim());
                    Piece::Program(program.map_err(|reason| format!("in `${{{expression}}}`: {reason}"))?)
                }
            });
        }
        match pieces.pop() {
            Some(Piece::Program(program)) if pieces.is_empty() => Ok(Text::Whole(program)),
            last => {
                pieces.extend(last);
                Ok(Text::Pieces(pieces))
            }
        }
    }
}

fn field(way: &[Token]) -> String {
    let mut field = String::new();
    for token in way {
        match token {
            Token::Key(key) if field.is_empty() => field.push_str(key),
            Token::Key(key) => field.extend([".", key]),
            Token::Index(index) => field.push_str(&format!("[{index}]")),
        }
    }
    field
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(String),
    Expression(&'a str),
}

/// Splits a string into its text and its expressions.
fn split(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(before) = before.strip_suffix('$') {
            literal.extend([before, "${"]);
            rest = &rest[at + 2..];
            continue;
        }
        literal.push_str(before);
        let end = end_of(&rest[at + 2..]).ok_or_else(|| "`${` is not closed by `}`".to_owned())?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Expression(&rest[at + 2..at + 2 + end]));
        rest = &rest[at + 2 + end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// Where the brace is that closes an expression: one that no string holds and no other brace opened.
fn end_of(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in Code::new(text, 0) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
