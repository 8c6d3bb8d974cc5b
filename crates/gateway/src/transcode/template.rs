//! Path templates of `google.api.http`: `/v1/tasks/{task_id}:cancel`.
//!
//! ```text
//! Template  = "/" Segments [ ":" LITERAL ]
//! Segments  = Segment { "/" Segment }
//! Segment   = "*" | "**" | LITERAL | Variable
//! Variable  = "{" IDENT { "." IDENT } [ "=" Segments ] "}"
//! ```
//!
//! `**` may only be the last segment. Source: the comment of `google/api/http.proto`.

use std::fmt;

/// Longest template, in bytes.
const BYTES_MAX: usize = 2_000;

/// One segment of a path that a template accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any text but none.
    Any,
    /// Any number of segments, none included.
    Rest,
}

/// A part of the path that becomes a field of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Names from the request message down to the field.
    pub(crate) field_path: Vec<String>,
    /// Its first segment.
    pub(crate) start: usize,
    /// How many segments it has; `None`: all that are left.
    pub(crate) len: Option<usize>,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// What each segment of a path must be.
    pub(crate) segments: Vec<Segment>,
    /// What must follow the last `:`.
    pub(crate) verb: Option<String>,
    /// Which segments become fields.
    pub(crate) variables: Vec<Variable>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template `{template}`: {reason}")]
pub(crate) struct TemplateError {
    /// The template.
    pub(crate) template: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// As it was written, but for variables of a single segment: `{name=*}` is `{name}`.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &self.segments, &self.variables, self.verb.as_deref())
    }
}

/// Writes a template of these parts.
pub(crate) fn write(
    f: &mut fmt::Formatter<'_>,
    segments: &[Segment],
    variables: &[Variable],
    verb: Option<&str>,
) -> fmt::Result {
    let text = |segment: &Segment| match segment {
        Segment::Literal(text) => text.clone(),
        Segment::Any => "*".to_owned(),
        Segment::Rest => "**".to_owned(),
    };
    let mut index = 0;
    while index < segments.len() {
        let Some(variable) = variables.iter().find(|variable| variable.start == index && variable.len != Some(0))
        else {
            write!(f, "/{}", text(&segments[index]))?;
            index += 1;
            continue;
        };
        let end = variable.len.map_or(segments.len(), |len| (index + len).min(segments.len()));
        let inside: Vec<String> = segments[index..end].iter().map(text).collect();
        let name = variable.field_path.join(".");
        match inside.join("/").as_str() {
            "*" => write!(f, "/{{{name}}}")?,
            inside => write!(f, "/{{{name}={inside}}}")?,
        }
        index = end;
    }
    match verb {
        Some(verb) => write!(f, ":{verb}"),
        None => Ok(()),
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] says what is wrong; never panics, whatever the text.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let refuse = |reason: String| TemplateError { template: text.chars().take(200).collect(), reason };
        if text.len() > BYTES_MAX {
            return Err(refuse(format!("is longer than {BYTES_MAX} bytes")));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(refuse("must begin with `/`".into()));
        };
        let mut parser = Parser { rest, segments: Vec::new(), variables: Vec::new() };
        parser.segments(false).map_err(refuse)?;
        let verb = parser.verb().map_err(refuse)?;
        let Parser { segments, variables, .. } = parser;
        if let Some(at) = segments.iter().position(|segment| *segment == Segment::Rest)
            && at + 1 != segments.len()
        {
            return Err(refuse("`**` must be the last segment".into()));
        }
        for (at, variable) in variables.iter().enumerate() {
            if variables[..at].iter().any(|other| other.field_path == variable.field_path) {
                return Err(refuse(format!("`{}` is there twice", variable.field_path.join("."))));
            }
        }
        Ok(Self { segments, verb, variables })
    }
}

/// What is left to read and what was read.
struct Parser<'a> {
    rest: &'a str,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    /// One segment and each further one after a `/`; inside a variable there are no variables.
    fn segments(&mut self, inside: bool) -> Result<(), String> {
        loop {
            self.segment(inside)?;
            if !self.eat("/") {
                return Ok(());
            }
        }
    }

    fn segment(&mut self, inside: bool) -> Result<(), String> {
        if self.eat("**") {
            self.segments.push(Segment::Rest);
        } else if self.eat("*") {
            self.segments.push(Segment::Any);
        } else if self.eat("{") {
            if inside {
                return Err("a variable cannot be inside another".into());
            }
            self.variable()?;
        } else {
            let literal = self.take(is_literal);
            if literal.is_empty() {
                return Err(self.unexpected("a segment"));
            }
            self.segments.push(Segment::Literal(literal));
        }
        Ok(())
    }

    fn variable(&mut self) -> Result<(), String> {
        let mut field_path = Vec::new();
        loop {
            let name = self.take(|c| c.is_ascii_alphanumeric() || c == '_');
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(self.unexpected("a field name"));
            }
            field_path.push(name);
            if !self.eat(".") {
                break;
            }
        }
        let start = self.segments.len();
        if self.eat("=") {
            self.segments(true)?;
        } else {
            self.segments.push(Segment::Any);
        }
        if !self.eat("}") {
            return Err(self.unexpected("`}`"));
        }
        let len = (self.segments.last() != Some(&Segment::Rest)).then(|| self.segments.len() - start);
        self.variables.push(Variable { field_path, start, len });
        Ok(())
    }

    /// The verb, which ends the template.
    fn verb(&mut self) -> Result<Option<String>, String> {
        let verb = if self.eat(":") {
            let verb = self.take(is_literal);
            if verb.is_empty() {
                return Err(self.unexpected("a verb"));
            }
            Some(verb)
        } else {
            None
        };
        if self.rest.is_empty() { Ok(verb) } else { Err(self.unexpected("the end")) }
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_owned()
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest.chars().next() {
            Some(found) => format!("expected {wanted}, found `{found}`"),
            None => format!("expected {wanted}, found the end"),
        }
    }
}

/// Characters of a literal: those that a path may have unescaped, without the template's own.
fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()+,;@".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> String {
        match Template::parse(text) {
            Ok(template) => {
                let segments: Vec<String> = template
                    .segments
                    .iter()
                    .map(|segment| match segment {
                        Segment::Literal(text) => text.clone(),
                        Segment::Any => "*".into(),
                        Segment::Rest => "**".into(),
                    })
                    .collect();
                let variables: Vec<String> = template
                    .variables
                    .iter()
                    .map(|variable| format!("{}@{}+{:?}", variable.field_path.join("."), variable.start, variable.len))
                    .collect();
                format!("{} {:?} [{}]", segments.join("/"), template.verb, variables.join(" "))
            }
            Err(error) => error.reason,
        }
    }

    #[test]
    fn templates_are_read() {
        for (text, expected) in [
            ("/v1/tasks", "v1/tasks None []"),
            ("/v1/tasks:batchSubmit", "v1/tasks Some(\"batchSubmit\") []"),
            ("/v1/tasks/{task_id}:wait", "v1/tasks/* Some(\"wait\") [task_id@2+Some(1)]"),
            ("/v1/{a.b=x/*/y}/*", "v1/x/*/y/* None [a.b@1+Some(3)]"),
            ("/v1/{name=files/**}", "v1/files/** None [name@1+None]"),
            ("/v1/**:go", "v1/** Some(\"go\") []"),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn wrong_templates_are_refused() {
        for (text, expected) in [
            ("", "must begin with `/`"),
            ("v1", "must begin with `/`"),
            ("/", "expected a segment, found the end"),
            ("/v1//x", "expected a segment, found `/`"),
            ("/v1/", "expected a segment, found the end"),
            ("/v1/{", "expected a field name, found the end"),
            ("/v1/{a", "expected `}`, found the end"),
            ("/v1/{1a}", "expected a field name, found `}`"),
            ("/v1/{a={b}}", "a variable cannot be inside another"),
            ("/v1/**/x", "`**` must be the last segment"),
            ("/v1/{a=**}/{b}", "`**` must be the last segment"),
            ("/v1/{a}/{a}", "`a` is there twice"),
            ("/v1:", "expected a verb, found the end"),
            ("/v1:a:b", "expected the end, found `:`"),
            ("/v1 x", "expected the end, found ` `"),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_parser_never_panics(text in "\\PC{0,60}") {
            drop(Template::parse(&text));
        }

        #[test]
        fn the_parser_never_panics_on_near_templates(text in "[/{}*:=.a1_ %é]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert!(!template.segments.is_empty());
                for variable in &template.variables {
                    let end = variable.start + variable.len.unwrap_or(0);
                    prop_assert!(end <= template.segments.len());
                }
            }
        }
    }
}
