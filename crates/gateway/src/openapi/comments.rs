//! The comments in protos, when the descriptors carry them. Pure.

use std::collections::HashMap;

use prost_reflect::{FileDescriptor, prost_types::source_code_info::Location};

use crate::descriptors::identity::place;

/// Directives for tools begin like this; they are not for readers.
const DIRECTIVES: [&str; 3] = ["buf:lint:", "@@protoc", "protolint:"];

/// Longest comment, in bytes; the rest is left out.
const BYTES_MAX: usize = 8 * 1024;

/// The comments of files, by where they stand. The files' pools must live as long.
#[derive(Debug, Default)]
pub(super) struct Comments(HashMap<usize, HashMap<Vec<i32>, String>>);

impl Comments {
    /// The comment of what stands at `path` of a file; empty when there is none.
    pub(super) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> &str {
        let comments = self.0.entry(place(file)).or_insert_with(|| {
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            let all = info.map(|info| info.location.as_slice()).unwrap_or_default().iter();
            let written = all.map(|location| (location.path.clone(), text(location)));
            written.filter(|(_, text)| !text.is_empty()).collect()
        });
        comments.get(path).map(String::as_str).unwrap_or_default()
    }
}

/// What stands before it, else behind it: without the space that each line begins with, and what is for tools.
fn text(location: &Location) -> String {
    let raw = location.leading_comments.as_deref().or(location.trailing_comments.as_deref()).unwrap_or_default();
    let lines = raw.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let lines = lines.filter(|line| !DIRECTIVES.iter().any(|directive| line.trim_start().starts_with(directive)));
    let text = without_internal(&lines.collect::<Vec<_>>().join("\n"));
    let text = text.trim();
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= BYTES_MAX).unwrap_or(text.len());
    text[..end].to_owned()
}

/// Without what stands between `(--` and `--)`, which is for the authors. Source: <https://google.aip.dev/192>.
fn without_internal(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("(--") {
        out.push_str(before);
        rest = after.split_once("--)").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

/// The first sentence of a comment, on one line and without its full stop.
pub(super) fn summary(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let end = paragraph.find(". ").unwrap_or(paragraph.len());
    paragraph[..end].trim_end_matches(['.', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptors::identity::tests::pool;

    #[test]
    fn comments_are_what_readers_are_told() {
        let text = "package a;
            // buf:lint:ignore SERVICE_SUFFIX
            // Sells things.
            //
            // - for money (-- or for free --)
            service Shop {
              // Finds an item. It must be
              // there.
              rpc Get(Item) returns (Item);
            }
            message Item { string id = 1; // Never changes.
              string name = 2; }";
        let pool = pool(&[("a.proto", text)]);
        let file = pool.get_file_by_name("a.proto").unwrap();
        let mut comments = Comments::default();
        let service = pool.get_service_by_name("a.Shop").unwrap();
        assert_eq!(comments.of(&file, service.path()), "Sells things.\n\n- for money");
        let method = service.methods().next().unwrap();
        let comment = comments.of(&file, method.path()).to_owned();
        assert_eq!(
            (summary(&comment).as_str(), comment.as_str()),
            ("Finds an item", "Finds an item. It must be\nthere.")
        );
        let fields: Vec<_> = pool.get_message_by_name("a.Item").unwrap().fields().collect();
        assert_eq!(comments.of(&file, fields[0].path()), "Never changes.");
        assert_eq!(comments.of(&file, fields[1].path()), "");
        assert_eq!(summary(""), "");
    }
}
