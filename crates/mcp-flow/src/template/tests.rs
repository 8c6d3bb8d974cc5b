//! What templates become.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::expression::{Names, Root};

struct Facts0(Value);

impl Facts for Facts0 {
    fn value(&self, root: Root) -> Option<Cow<'_, Value>> {
        (root == Root::Input).then_some(Cow::Borrowed(&self.0))
    }
}

struct NoSteps;

impl Names for NoSteps {
    fn step(&self, _: &str) -> Option<u32> {
        None
    }

    fn has_item(&self) -> bool {
        true
    }
}

fn render(task: &Value) -> Result<Value, String> {
    let mut faults = Vec::new();
    let mut compile = |text: &str| Program::compile(text, &NoSteps).map(Arc::new);
    let template = Template::compile(task, &mut compile, &mut |field, fault| faults.push(format!("{field}: {fault}")));
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let facts = Facts0(json!({"n": 5, "f": 2.5, "s": "text", "list": [1, "a"], "none": null, "yes": true}));
    let item = json!("thing");
    let rendered = template.bind(&facts).render(task, Some(Item { value: &item, index: 3 }), &mut 0);
    rendered.map_err(|error| format!("{error:?}"))
}

fn of_handler(input: &Value) -> Result<Value, String> {
    render(&json!({"handler": {"handler": "h", "input": input}})).map(|task| task["handler"]["input"].clone())
}

#[test]
fn a_string_that_is_one_expression_takes_its_type() {
    for (template, expected) in [
        (json!("${input.n}"), json!(5)),
        (json!("${ input.f }"), json!(2.5)),
        (json!("${input.list}"), json!([1, "a"])),
        (json!("${input.none}"), json!(null)),
        (json!("${input.yes}"), json!(true)),
        (json!("${{'a': {'b': 1}}}"), json!({"a": {"b": 1}})),
        (json!("${'}' + '${'}"), json!("}${")),
        (json!("${item}"), json!("thing")),
        (json!({"deep": [{"er": "${index}"}, "plain", 7]}), json!({"deep": [{"er": 3}, "plain", 7]})),
    ] {
        assert_eq!(of_handler(&template), Ok(expected), "{template}");
    }
}

#[test]
fn inside_text_a_value_becomes_text() {
    for (template, expected) in [
        ("n=${input.n}", "n=5"),
        ("${input.n}${input.n}", "55"),
        (" ${input.s}", " text"),
        ("${input.s}/${index}.txt", "text/3.txt"),
        ("list: ${input.list}", "list: [1,\"a\"]"),
        ("none: ${input.none}", "none: null"),
        ("$${input.n}", "${input.n}"),
        ("$${ and ${input.n} and $$${", "${ and 5 and $${"),
        ("cost: 5$ {x}", "cost: 5$ {x}"),
        ("é${input.s}é", "étexté"),
    ] {
        assert_eq!(of_handler(&json!(template)), Ok(json!(expected)), "{template}");
    }
}

#[test]
fn a_process_takes_nothing_but_text() {
    let task = json!({"process": {
        "argv": ["run", "${input.n}", "--all=${input.list}", "${input.list}"],
        "env": {"YES": "${input.yes}", "${not.a.template}": "x"},
        "cwd": "/tmp/${item}",
    }});
    assert_eq!(
        render(&task).unwrap()["process"],
        json!({
            "argv": ["run", "5", "--all=[1,\"a\"]", "[1,\"a\"]"],
            "env": {"YES": "true", "${not.a.template}": "x"},
            "cwd": "/tmp/thing",
        })
    );
}

#[test]
fn only_process_and_input_hold_templates() {
    let task = json!({"name": "${input.n}", "labels": {"a": "${b}"}, "handler": {"handler": "${h}", "input": 1}});
    assert_eq!(render(&task), Ok(task));
}

#[test]
fn a_bad_template_is_named_with_its_place() {
    for (task, expected) in [
        (json!({"handler": {"input": {"a": ["x", "${input.n"]}}}), "handler.input.a[1]: `${` is not closed by `}`"),
        (json!({"handler": {"input": "${}"}}), "handler.input: in `${}`: the expression is empty"),
        (json!({"process": {"argv": ["${zzz}"]}}), "process.argv[0]: in `${zzz}`: `zzz` is not known"),
        (json!({"process": {"env": {"A": "${'x}"}}}), "process.env.A: `${` is not closed by `}`"),
    ] {
        let error = render(&task).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_missing_key_fails_the_rendering() {
    let error = of_handler(&json!("${input.zzz.y}")).unwrap_err();
    assert!(error.contains("`input.zzz.y`: there is no `zzz`"), "{error}");
}

#[test]
fn what_is_put_into_a_task_has_a_bound() {
    let task = json!({"handler": {"input": vec!["${input}"; 5]}});
    let template = Template::compile(&task, &mut |text| Program::compile(text, &NoSteps).map(Arc::new), &mut |_, _| ());
    let facts = Facts0(json!("x".repeat(4 << 20)));
    assert_eq!(template.bind(&facts).render(&task, None, &mut 0), Err(RenderError::TooLarge));
}

proptest! {
    #[test]
    fn text_without_a_dollar_stays_as_it_is(text in "[^$]*") {
        prop_assert_eq!(of_handler(&json!(text)), Ok(json!(text)));
    }

    #[test]
    fn no_text_does_harm(text in any::<String>(), more in "[${}'\"a.\\\\ ]*") {
        _ = of_handler(&json!(text));
        _ = of_handler(&json!(more));
    }
}
