//! Path templates, and paths that are looked for among them.

use http::Method;

use crate::transcode::{
    percent::{self, Mode},
    template::{Segment, Template},
    trie::{Found, Trie},
};

/// Templates of one input.
const TEMPLATES_MAX: usize = 16;

/// Lines of templates, and a path to look for in the last line.
///
/// What is found must fit its template, and nothing may be missed that fits one; a slow look at each template in turn says
/// which do.
///
/// # Panics
/// When that does not hold.
pub fn templates(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (lines, path) = text.rsplit_once('\n').unwrap_or((text, text));
    let mut trie = Trie::default();
    let mut known = Vec::new();
    for line in lines.lines().take(TEMPLATES_MAX) {
        let Ok(template) = Template::parse(line) else {
            continue;
        };
        check(&template);
        if trie.insert(&template, Method::GET, known.len()).is_ok() {
            known.push(template);
        }
    }
    match trie.find(&Method::GET, path) {
        Found::Route(&index, segments) => {
            let template = &known[index];
            assert!(fits(template, path), "{path:?} does not fit {template:?}");
            for variable in &template.variables {
                let end = variable.len.map_or(segments.len(), |len| variable.start + len);
                assert!(variable.start <= end && end <= segments.len(), "{path:?} {template:?}");
            }
        }
        Found::OtherMethods(methods) => panic!("{path:?}: there is no other method: {methods:?}"),
        Found::Nothing => {
            let missed = known.iter().find(|template| fits(template, path));
            assert!(missed.is_none(), "{path:?} fits {missed:?}");
        }
    }
}

fn check(template: &Template) {
    assert!(!template.segments.is_empty());
    for variable in &template.variables {
        assert!(!variable.field_path.is_empty());
        assert!(variable.start + variable.len.unwrap_or(0) <= template.segments.len(), "{template:?}");
    }
}

/// True when a template accepts a path, with the part after its last `:` as a verb or as a part of its last segment.
fn fits(template: &Template, path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let mut ways = vec![(segments.clone(), None)];
    if let Some((last, verb)) = segments.last().and_then(|last| last.rsplit_once(':'))
        && !verb.is_empty()
    {
        let mut shortened = segments;
        shortened.pop();
        shortened.push(last);
        ways.push((shortened, Some(verb)));
    }
    ways.iter().any(|(segments, verb)| template.verb.as_deref() == *verb && all_fit(&template.segments, segments))
}

fn all_fit(wanted: &[Segment], segments: &[&str]) -> bool {
    match (wanted.split_first(), segments.split_first()) {
        (None, None) | (Some((Segment::Rest, _)), _) => true,
        (Some((Segment::Literal(text), wanted)), Some((segment, segments))) => {
            let decoded = percent::decode(segment, Mode::Segment);
            decoded.as_deref().unwrap_or(segment) == text && all_fit(wanted, segments)
        }
        (Some((Segment::Any, wanted)), Some((segment, segments))) => !segment.is_empty() && all_fit(wanted, segments),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
