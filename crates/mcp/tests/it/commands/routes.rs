//! Routes and policies by the command line, on `mcp dev`.

use serde_json::Value;

use super::{Ended, run_at};
use crate::support::Dev;

/// The page that shows the format to people: what it says has to be right.
const PAGE: &str = include_str!("../../../../../docs/routes.md");

/// The blocks of YAML on a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

async fn route(dev: &Dev, words: &str, input: &str) -> Ended {
    let args: Vec<&str> = ["route"].into_iter().chain(words.split_whitespace()).collect();
    run_at(&dev.url, &args, input).await
}

#[tokio::test]
async fn the_examples_of_the_page_are_applied_shown_and_deleted() {
    let dev = Dev::start(&[]).await;
    let blocks = blocks(PAGE);
    assert!(blocks.len() >= 4, "the page has examples");
    for block in blocks {
        for (words, expected) in [
            ("apply -f - --dry-run", "created (dry run)"),
            ("apply -f -", "created"),
            ("apply -f -", "unchanged"),
            ("diff -f -", ""),
        ] {
            let ended = route(&dev, words, block).await;
            assert_eq!(ended.code, 0, "{words}: {ended:?}\n{block}");
            let all_as_expected = ended.output.lines().all(|line| line.ends_with(expected));
            assert!(all_as_expected && ended.output.is_empty() == expected.is_empty(), "{words}: {ended:?}");
        }
    }
    let listed = route(&dev, "list", "").await.output;
    for part in [
        "shop/**",
        "forward shop=99 shop-canary=1",
        "acme.shop.v1.ShopService/Rebuild",
        "redirect 301 new.example.com",
        "everything",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let got = route(&dev, "get policy/everything", "").await;
    let json: Value = serde_json::from_str(&got.output).unwrap();
    assert_eq!(
        (&json["kind"], &json["settings"]["json"]["unknownFields"]),
        (&"policy".into(), &"UNKNOWN_FIELDS_IGNORE".into())
    );
    let again = route(&dev, "apply -f -", &got.output).await;
    assert!(again.code == 0 && again.output.contains("unchanged"), "what `get` prints can be applied: {again:?}");

    let refused = route(&dev, "delete policy/public", "").await;
    assert!(refused.code == 5 && refused.error.contains("`shop`"), "{refused:?}");
    let deleted = route(&dev, "delete shop policy/public", "").await;
    assert_eq!((deleted.code, deleted.output.lines().count()), (0, 2), "{deleted:?}");
    assert_eq!(route(&dev, "get shop", "").await.code, 4);
}

#[tokio::test]
async fn a_difference_is_shown_and_a_wrong_file_is_refused_with_its_line() {
    let dev = Dev::start(&[]).await;
    let file = "id: a\nmatch: {path: {prefix: /a}}\nsettings:\n  timeout: 5s\n";
    assert_eq!(route(&dev, "apply -f -", file).await.code, 0);
    let ended = route(&dev, "diff -f -", &file.replace("5s", "6s")).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.output, "route/a changed\n  ~ settings.timeout: \"5s\" -> \"6s\"\n");
    for (text, part) in [
        (file.replace("/a", "a"), "-:2: `match.path.prefix` is `a`, must begin with `/`"),
        (file.replace("5s", "0s"), "-:4: `settings.timeout` must be longer than 0"),
        (file.replace("timeout", "timeot"), "-:4: there is no field `settings.timeot`"),
        (format!("{file}---\nkind: nonsense\n"), "`kind` must be `route` or `policy`"),
        (format!("{}version: 999999\n", file.replace("5s", "7s")), "ABORTED"),
    ] {
        let ended = route(&dev, "apply -f -", &text).await;
        assert!(ended.code != 0 && ended.error.contains(part), "{part}: {ended:?}");
    }
}
