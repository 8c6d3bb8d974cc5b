//! Path templates as OpenAPI writes them. Pure.
//!
//! `/v1/{name=shelves/*}/books/*:read` is `/v1/shelves/{name}/books/{segment}:read`: what a template says of a variable's
//! text stands in the path, and each wildcard is a parameter.

use crate::transcode::template::{Segment, Template};

/// The name of a wildcard that no field takes.
const UNNAMED: &str = "segment";

/// A path with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The path, the parameters as `{name}`.
    pub(super) path: String,
    /// The parameters, in their order.
    pub(super) parameters: Vec<Parameter>,
}

/// One wildcard of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its name, once in the path.
    pub(super) name: String,
    /// The variable of the template that it belongs to.
    pub(super) variable: Option<usize>,
    /// True when it is all of the variable.
    pub(super) is_whole: bool,
    /// True when it may be any number of segments.
    pub(super) is_rest: bool,
}

impl Pattern {
    /// Of a template.
    pub(super) fn of(template: &Template) -> Self {
        let (mut path, mut parameters) = (String::new(), Vec::<Parameter>::new());
        for (at, segment) in template.segments.iter().enumerate() {
            path.push('/');
            if let Segment::Literal(text) = segment {
                path.push_str(text);
                continue;
            }
            let is_rest = *segment == Segment::Rest;
            let covers = |start: usize, len: Option<usize>| at >= start && len.is_none_or(|len| at < start + len);
            let variable = template.variables.iter().position(|variable| covers(variable.start, variable.len));
            let (base, is_whole) = match variable.map(|index| &template.variables[index]) {
                Some(found) => (found.field_path.join("."), found.len == Some(1) || (is_rest && found.start == at)),
                None => (UNNAMED.to_owned(), false),
            };
            let is_taken = |name: &str| {
                parameters.iter().any(|other| other.name == name)
                    || (name != base && template.variables.iter().any(|other| other.field_path.join(".") == name))
            };
            let numbered = (2..).map(|number| format!("{base}_{number}"));
            let name = std::iter::once(base.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default();
            path.push_str(&format!("{{{name}}}"));
            parameters.push(Parameter { name, variable, is_whole, is_rest });
        }
        if let Some(verb) = &template.verb {
            path.push(':');
            path.push_str(verb);
        }
        Self { path, parameters }
    }

    /// The path without the names: paths that differ in nothing else are the same to OpenAPI.
    pub(super) fn shape(&self) -> String {
        let names = self.parameters.iter().map(|parameter| format!("{{{}}}", parameter.name));
        names.fold(self.path.clone(), |path, name| path.replacen(&name, "{}", 1))
    }

    /// The same under the names of another one of the same shape.
    pub(super) fn renamed(mut self, other: &Self) -> Self {
        self.path.clone_from(&other.path);
        for (parameter, other) in self.parameters.iter_mut().zip(&other.parameters) {
            parameter.name.clone_from(&other.name);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_paths_with_a_parameter_for_each_wildcard() {
        for (template, path, names) in [
            ("/v1/tasks", "/v1/tasks", ""),
            ("/v1/tasks/{task_id}:cancel", "/v1/tasks/{task_id}:cancel", "task_id=whole"),
            ("/v1/{a.b}/{c=*}", "/v1/{a.b}/{c}", "a.b=whole c=whole"),
            ("/v1/{name=shelves/*}", "/v1/shelves/{name}", "name"),
            ("/v1/{name=shelves/*/books/*}/x", "/v1/shelves/{name}/books/{name_2}/x", "name name_2"),
            ("/v1/{path=**}", "/v1/{path}", "path=whole,rest"),
            ("/v1/{path=a/**}:go", "/v1/a/{path}:go", "path=rest"),
            ("/v1/*/x/*", "/v1/{segment}/x/{segment_2}", "segment segment_2"),
            ("/v1/*/{segment}", "/v1/{segment}/{segment_2}", "segment segment_2=whole"),
        ] {
            let pattern = Pattern::of(&Template::parse(template).unwrap());
            assert_eq!(pattern.path, path, "{template}");
            let told = pattern.parameters.iter().map(|parameter| {
                let kinds = [("whole", parameter.is_whole), ("rest", parameter.is_rest)];
                let kinds: Vec<&str> = kinds.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
                if kinds.is_empty() {
                    parameter.name.clone()
                } else {
                    format!("{}={}", parameter.name, kinds.join(","))
                }
            });
            assert_eq!(told.collect::<Vec<_>>().join(" "), names, "{template}");
        }
    }

    #[test]
    fn paths_of_one_shape_get_the_same_names() {
        let pattern = |text: &str| Pattern::of(&Template::parse(text).unwrap());
        let (first, second) = (pattern("/v1/{a}/x/{b}"), pattern("/v1/{c.d}/x/{e}"));
        assert_eq!(first.shape(), "/v1/{}/x/{}");
        assert_eq!(second.shape(), first.shape());
        let renamed = second.renamed(&first);
        assert_eq!((renamed.path.as_str(), renamed.parameters[1].name.as_str()), ("/v1/{a}/x/{b}", "b"));
    }
}
