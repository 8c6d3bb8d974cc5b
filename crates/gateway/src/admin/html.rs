//! JSON as a page for people: lists of objects are tables. Nothing on it is loaded from elsewhere, and nothing runs.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What a browser may do with the page: nothing but show it.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em}table{border-collapse:collapse}\
    td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left;vertical-align:top}th{background:#eee}";

/// A page of its own.
pub(super) fn page(title: &str, content: &Value) -> String {
    let mut text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
         <p><a href=\"/admin\">/admin</a></p><h1>{title}</h1>"
    );
    put(&mut text, content);
    text.push_str("</html>\n");
    text
}

fn put(text: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_object) => {
            table(text, &values.iter().filter_map(Value::as_object).collect::<Vec<_>>());
        }
        Value::Array(values) => values.iter().for_each(|value| {
            put(text, value);
            text.push_str("<br>");
        }),
        Value::Object(fields) => {
            text.push_str("<table>");
            for (name, value) in fields {
                // Writing to a string cannot fail.
                write!(text, "<tr><th>{}</th><td>", escaped(name)).unwrap_or_default();
                put(text, value);
                text.push_str("</td></tr>");
            }
            text.push_str("</table>");
        }
        Value::String(path) if path.starts_with("/admin") => {
            let path = escaped(path);
            write!(text, "<a href=\"{path}\">{path}</a>").unwrap_or_default();
        }
        Value::String(found) => text.push_str(&escaped(found)),
        Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

/// A row for each object, a column for each name in any of them.
fn table(text: &mut String, rows: &[&Map<String, Value>]) {
    let mut names: Vec<&String> = Vec::new();
    for name in rows.iter().flat_map(|row| row.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    text.push_str("<table><tr>");
    for name in &names {
        write!(text, "<th>{}</th>", escaped(name)).unwrap_or_default();
    }
    for row in rows {
        text.push_str("</tr><tr>");
        for name in &names {
            text.push_str("<td>");
            put(text, row.get(*name).unwrap_or(&Value::Null));
            text.push_str("</td>");
        }
    }
    text.push_str("</tr></table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_services_say_of_themselves_stays_text() {
        let page = page("/admin/x", &json!({"a": [{"n": "<script>"}, {"m": "\"&"}], "b": {"c": [1, null]}}));
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("<td>&lt;script&gt;</td><td></td></tr><tr><td></td><td>&quot;&amp;</td>"), "{page}");
    }
}
