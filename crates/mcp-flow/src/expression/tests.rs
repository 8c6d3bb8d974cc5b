//! What expressions give, what they are refused for, and that nothing they can be made of does harm.

use std::{borrow::Cow, thread, time::Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{compile, guard::EXPRESSION_BYTES_MAX, *};

struct Table {
    input: Value,
    output: Value,
    state: Value,
    error: Value,
}

impl Facts for Table {
    fn value(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Input => Some(Cow::Borrowed(&self.input)),
            Root::Output(0) => Some(Cow::Borrowed(&self.output)),
            Root::State(0) => Some(Cow::Borrowed(&self.state)),
            Root::Error(1) => Some(Cow::Borrowed(&self.error)),
            Root::State(_) => Some(Cow::Owned(json!("FAILED"))),
            Root::WorkflowName => Some(Cow::Owned(json!("nightly"))),
            _ => None,
        }
    }
}

struct Known {
    has_item: bool,
}

impl Names for Known {
    fn step(&self, name: &str) -> Option<u32> {
        ["done", "broken", "skipped"].iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok())
    }

    fn has_item(&self) -> bool {
        self.has_item
    }
}

fn facts() -> Table {
    let numbers: Vec<u32> = (0..1000).collect();
    Table {
        input: json!({
            "count": 3, "whole": 4.0, "part": 2.5, "big": 9_007_199_254_740_993_i64, "huge": u64::MAX, "text": "abc",
            "list": ["a", "b", "c"], "empty": [], "map": {"k": 1, "odd key": 2}, "nothing": null, "numbers": numbers,
            "steps": "mine",
        }),
        output: json!({"lines": 42, "files": [{"name": "x"}, {"name": "y"}]}),
        state: json!("SUCCEEDED"),
        error: json!({"code": 3005, "message": "it broke", "metadata": {"why": "so"}}),
    }
}

fn evaluate(text: &str) -> Result<Value, String> {
    let program = Program::compile(text, &Known { has_item: true })?;
    let item = json!({"id": 7});
    let facts = facts();
    let bound = program.bind(&facts);
    bound.evaluate(Some(Item { value: &item, index: 2 }), &mut 0).map_err(|error| error.reason)
}

#[test]
fn expressions_give_what_cel_says() {
    for (text, expected) in [
        ("1 + 2 * 3", json!(7)),
        ("input.count + 1", json!(4)),
        ("input.whole + 1", json!(5)),
        ("input.part * 2.0", json!(5.0)),
        ("input.text + 'd'", json!("abcd")),
        ("input.list + ['d']", json!(["a", "b", "c", "d"])),
        ("input.list.map(x, x + x)", json!(["aa", "bb", "cc"])),
        ("input.list.filter(x, x != 'b')", json!(["a", "c"])),
        ("input.list.exists(x, x == 'c') && input.list.all(x, x.size() == 1)", json!(true)),
        ("input.list.exists_one(x, x == 'c')", json!(true)),
        ("input.list.map(x, input.list.filter(y, y > x).size())", json!([2, 1, 0])),
        ("input.list[1] + input.list[index]", json!("bc")),
        ("input.map['odd key'] + input.map.k", json!(3)),
        ("'k' in input.map && !('z' in input.map) && 'a' in input.list", json!(true)),
        ("has(input.map.k) && !has(input.map.z) && has(input.nothing)", json!(true)),
        ("has(steps.done.output) && !has(steps.done.error) && has(steps.broken.error)", json!(true)),
        ("has(steps.skipped.output)", json!(false)),
        ("input.count > 2 ? 'many' : 'few'", json!("many")),
        ("input.zzz == 1 || true", json!(true)),
        ("steps.done.state == 'SUCCEEDED' && steps.done.output.lines > 40", json!(true)),
        ("steps.done.output.files.map(file, file.name)", json!(["x", "y"])),
        ("steps.broken.error.message + steps.done.error.message", json!("it broke")),
        ("[steps.skipped.output, steps.broken.state]", json!([null, "FAILED"])),
        ("{'a': input.count, 'b': [item.id, index], 1: null}", json!({"a": 3, "b": [7, 2], "1": null})),
        ("size(input.list) + input.text.size()", json!(6)),
        ("input.text.startsWith('a') && input.text.endsWith('c') && input.text.contains('b')", json!(true)),
        ("input.text.matches('^[a-c]+$') && !matches(input.text, 'z')", json!(true)),
        ("string(input.count) + '-' + string(1.5)", json!("3-1.5")),
        ("int('12') + int(2.9)", json!(14)),
        ("double(input.count) / 2.0", json!(1.5)),
        ("type(input.count) == int && type('') == string", json!(true)),
        ("timestamp('2026-01-02T03:04:05Z') + duration('1h')", json!("2026-01-02T04:04:05+00:00")),
        ("duration('1m') + duration('1.5s')", json!("61.500s")),
        ("timestamp('2026-01-02T03:04:05Z').getFullYear('Europe/Berlin')", json!(2026)),
        ("workflow.name + '!'", json!("nightly!")),
        ("['s'].map(steps, steps + input.steps)", json!(["smine"])),
        ("// said\n 1 // twice", json!(1)),
        ("'}' + \"${x}\"", json!("}${x}")),
        ("9223372036854775807 - 1", json!(9_223_372_036_854_775_806_i64)),
        ("1.0 / 3.0 > 0.33", json!(true)),
        ("18446744073709551615u", json!(u64::MAX)),
    ] {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }
}

#[test]
fn the_name_of_a_value_gives_it_as_it_is() {
    for (text, expected) in [
        ("input.big", json!(9_007_199_254_740_993_i64)),
        ("input.whole", json!(4.0)),
        ("input.huge", json!(u64::MAX)),
        ("input.map", json!({"k": 1, "odd key": 2})),
        ("input.list[2]", json!("c")),
        ("input['map']['odd key']", json!(2)),
        ("steps.done.output.files[1].name", json!("y")),
        ("steps['done'].output.lines", json!(42)),
        ("steps.skipped.output", json!(null)),
        ("steps.skipped.error", json!(null)),
        ("steps.skipped.error.message", json!("")),
        ("steps.broken.error.metadata.why", json!("so")),
        ("item", json!({"id": 7})),
        ("index", json!(2)),
        ("(input.count)", json!(3)),
    ] {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_failure_says_what_failed() {
    for (text, expected) in [
        ("input.zzz", "`input.zzz`: there is no `zzz`"),
        ("input.map.k.z", "`input.map.k.z`: there is no `z`"),
        ("input.list[3]", "`input.list[3]`: there is no `3`"),
        ("input.list[-1]", "`input.list[-1]`: there is no `-1`"),
        ("input.zzz + 1", "`input.zzz`: there is no `zzz`"),
        ("item.zzz == 1", "`item.zzz`: there is no `zzz`"),
        ("has(input.zzz.y)", "`input.zzz.y`: there is no `zzz`"),
        ("steps.skipped.output.x", "`steps.skipped.output.x`: there is no `x`"),
        ("input.list[index + 5]", "there is no element 7"),
        ("input.map['a' + 'b']", "there is no `ab`"),
        ("input.list.map(x, x.name)", "`.` cannot be applied to (string, string)"),
        ("1 / 0", "division by zero"),
        ("1 % (input.count - 3)", "division by zero"),
        ("9223372036854775807 + 1", "`add` overflows"),
        ("1 + 1.0", "`add` cannot be applied to (int, float)"),
        ("'a' < 1", "`<` cannot be applied to (string, int)"),
        ("!input.count", "`!` cannot be applied to (int)"),
        ("input.text && true", "`&&` cannot be applied to (string, bool)"),
        ("size(1)", "`size` cannot be applied to (int)"),
        ("int('x')", "`int`: "),
        ("b'x'", "bytes have no JSON form; use `string(...)`"),
        ("int", "a `type` has no JSON form"),
        ("0.0 / 0.0", "`NaN` has no JSON form"),
        ("{'a': 1, 'a': 2}", "a map has the same key twice"),
    ] {
        let error = evaluate(text).expect_err(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn what_cannot_be_right_is_refused_at_once() {
    for (text, expected) in [
        ("", "the expression is empty"),
        ("  ", "the expression is empty"),
        ("1 +", "mismatched input"),
        ("'open", "unterminated string"),
        ("zzz", "`zzz` is not known; there are `input`, `steps`, `workflow`, and `item` and `index` in a `for_each`"),
        ("input.list.map(x, y)", "`y` is not known"),
        ("x.map(x, x)", "`x` is not known"),
        ("steps.zzz.output", "there is no step `zzz`"),
        ("steps.done", "`steps.done` must be followed by `output`, `state` or `error`"),
        ("steps.done.result", "`steps.done` must be followed by `output`, `state` or `error`"),
        ("steps", "`steps` must be followed by the name of a step"),
        ("steps[input.text].output", "`steps` must be followed by the name of a step"),
        ("has(steps.done)", "`steps.done` must be followed by"),
        ("workflow.owner", "`workflow` has the fields `id` and `name`"),
        ("now()", "there is no function `now`"),
        ("input.text.upper()", "there is no function `upper`"),
        ("input.text.matches(input.text)", "the pattern of `matches` must be a literal text"),
        ("input.text.matches('(')", "bad pattern `(`: regex parse error"),
        ("input.text.matches('(\\\\w{100}){100}')", "bad pattern"),
        ("Point{x: 1}", "an expression cannot make messages"),
        ("[1, 2].map(1, 2)", "argument must be a simple name"),
        ("@shared0", "unexpected character"),
    ] {
        let error = Program::compile(text, &Known { has_item: true }).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error = Program::compile("item.id", &Known { has_item: false }).unwrap_err();
    assert_eq!(error, "`item` is there only in the task of a step with `for_each`");
}

#[test]
fn the_text_and_its_nesting_have_bounds() {
    let long = format!("'{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    let sum = vec!["1"; 200].join(" + ");
    for (text, expected) in [
        (long, "4098 bytes"),
        (format!("{}1{}", "(".repeat(25), ")".repeat(25)), "25 levels of brackets"),
        ("true ? 1 : ".repeat(25) + "2", "25 `?`"),
        ("!".repeat(513) + "true", "513 characters of operators"),
        (sum, "more than 120 operations deep"),
    ] {
        let error = Program::compile(&text, &Known { has_item: true }).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let fits = format!("{}1{}", "(".repeat(24), ")".repeat(24));
    assert_eq!(evaluate(&fits), Ok(json!(1)));
}

/// Expressions at the edge of every bound on nesting.
fn deepest() -> Vec<String> {
    vec![
        format!("{}1{}", "[".repeat(24), "]".repeat(24)),
        format!("{}1{}", "{'a': ".repeat(24), "}".repeat(24)),
        format!("{}1{}", "size(".repeat(24), ")".repeat(24)),
        "true ? 1 : ".repeat(24) + "2",
        "true ? ".repeat(24) + "1" + &" : 2".repeat(24),
        "!".repeat(512) + "true",
        "-".repeat(512) + "1",
        vec!["1"; 100].join(" + "),
        vec!["true"; 120].join(" && "),
        vec!["1"; 500].join(" in "),
        format!("input{}", ".a".repeat(500)),
        format!("input{}", "['a']".repeat(500)),
        format!("{}1{}", "[1].map(x, ".repeat(20), ")".repeat(20)),
        format!("[1]{}", ".map(x, x)".repeat(100)),
        "(".repeat(4000),
        ">{".repeat(24) + "?[" + &"(".repeat(20) + "l\0?(-",
    ]
}

#[test]
fn the_deepest_expressions_need_little_stack() {
    for text in deepest() {
        // A stack that overflows ends the process.
        let small = thread::Builder::new().stack_size(1 << 20);
        small.spawn(move || _ = evaluate(&text)).unwrap().join().unwrap();
    }
}

#[test]
fn work_has_a_bound_whatever_the_expression_does() {
    let nested = "input.numbers.map(a, input.numbers.map(b, input.numbers.map(c, a + b + c)))";
    let copies = "input.numbers.map(a, input.numbers.map(b, input.numbers))";
    let doubled =
        "[input.numbers].map(a, a + a).map(a, a + a).map(a, a + a)".to_owned() + &".map(a, a + a + a + a)".repeat(7);
    let swallowed = "input.numbers.all(a, input.numbers.all(b, input.numbers.all(c, a + b + c < 0 || true))) || true";
    let compared = "input.numbers.filter(a, input.numbers.map(b, b) == input.numbers.map(b, b)).size()";
    let text =
        format!("[{}].map(a, a + a)", "'".to_owned() + &"x".repeat(2000) + "'") + &".map(a, a + a + a + a)".repeat(12);
    for text in [nested, copies, doubled.as_str(), swallowed, compared, text.as_str()] {
        let start = Instant::now();
        assert_eq!(evaluate(text), Err("it takes too much work".to_owned()), "{text}");
        let took = start.elapsed();
        assert!(took.as_millis() < 3_000, "{took:?} for {text}");
    }
}

#[test]
fn a_result_has_a_bound() {
    let program = Program::compile("[input, input, input]", &Known { has_item: false }).unwrap();
    let facts = Table { input: json!("x".repeat(2 << 20)), ..facts() };
    let error = program.evaluate(&facts, &mut 0).unwrap_err();
    assert_eq!(error.reason, "the result has more than 4194304 bytes");
}

#[test]
fn work_is_counted_for_the_caller() {
    let spent_on = |text| {
        let mut spent = 0;
        Program::compile(text, &Known { has_item: false }).unwrap().evaluate(&facts(), &mut spent).unwrap();
        spent
    };
    assert!(spent_on("1") < 10);
    assert!(spent_on("input.numbers.map(x, x + 1)") > 1000);
}

#[test]
fn facts_that_are_the_same_for_all_items_are_read_once() {
    let program = Program::compile("input.numbers[index] + item.id", &Known { has_item: true }).unwrap();
    let facts = facts();
    let bound = program.bind(&facts);
    let mut spent = 0;
    for index in 0..1000 {
        let value = json!({"id": 1});
        assert_eq!(bound.evaluate(Some(Item { value: &value, index }), &mut spent), Ok(json!(index + 1)));
    }
    assert!(spent < 50_000, "{spent}");
}

#[test]
fn both_parsers_of_the_crate_agree() {
    for text in [
        "1 + 2 * 3 - -4",
        "a.b.c[0]['d'].e(1)",
        "a && b || c && !d",
        "a ? b : c ? d : e",
        "[1, 2u, 3.5, 'x', b'y', r'\\n', true, null]",
        "{'a': 1, 'b': {'c': []}}",
        "l.map(x, x > 1, x + 1).filter(y, y in [1, 2]).exists(z, has(z.a))",
        "a in b == c <= d",
        "\"\"\"multi\nline\"\"\" + '\\u00e9\\x41\\101'",
        "-9223372036854775808",
    ] {
        let here = compile::parse(text).unwrap();
        let there = cel::parser::Parser::new().parse(text).unwrap();
        assert_eq!(without_ids(&format!("{here:?}")), without_ids(&format!("{there:?}")), "{text}");
    }
}

fn without_ids(tree: &str) -> String {
    tree.split("id: ").map(|part| part.trim_start_matches(|letter: char| letter.is_ascii_digit())).collect()
}

/// Texts that are nearly expressions.
fn nearly() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "input",
        ".list",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "'a'",
        "1",
        "2.5",
        " + ",
        "-",
        "!",
        "&&",
        "||",
        "==",
        " in ",
        ".map(x, ",
        ".all(x, ",
        "x",
        "has(",
        "steps.done.output",
        "size(",
        "true",
        "null",
        "\"",
        "'",
        "\\",
        "//",
        "\n",
        "r'",
        "'''",
        "0x",
        "9223372036854775808",
        "1e999",
        "b'",
        "é",
        "\0",
        "item",
        "index",
        "timestamp(",
        "duration('1h')",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_does_harm(text in any::<String>()) {
        _ = evaluate(&text);
    }

    #[test]
    fn nothing_that_is_nearly_an_expression_does_harm(text in nearly()) {
        _ = evaluate(&text);
    }
}
