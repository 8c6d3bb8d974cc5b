//! The examples in the help and in the documentation can be typed as they stand.

use clap::{CommandFactory, Parser};
use mcp::args::Cli;

/// Documents with examples, and how they are called.
const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", include_str!("../../../../README.md")),
    ("docs/protocol/frame.md", include_str!("../../../../docs/protocol/frame.md")),
    ("docs/queues.md", include_str!("../../../../docs/queues.md")),
    ("docs/routes.md", include_str!("../../../../docs/routes.md")),
    ("docs/schedules.md", include_str!("../../../../docs/schedules.md")),
    ("docs/workflows.md", include_str!("../../../../docs/workflows.md")),
];

/// The simple commands of a line of shell, as words. It knows quotes, `$(...)`, comments, and what ends a command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = line.chars().peekable();
    while let Some(letter) = chars.next() {
        match letter {
            '\'' | '"' => {
                let inside = chars.by_ref().take_while(|&other| other != letter);
                word.get_or_insert_default().extend(inside);
            }
            '$' if chars.peek() == Some(&'(') => {
                let inside = chars.by_ref().take_while(|&other| other != ')');
                word.get_or_insert_default().extend(inside);
            }
            ' ' => words.extend(word.take()),
            '#' if word.is_none() => break,
            ';' | '|' | '&' | '>' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    commands.push(words);
    commands.retain(|words| words.first().is_some_and(|first| first == "mcp"));
    commands
}

/// Lines that go on after a backslash become one.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn check(place: &str, text: &str) -> usize {
    let mut count = 0;
    for line in lines(text).iter().filter(|line| line.starts_with("mcp ")) {
        for words in commands(line) {
            // A placeholder for a number or a state would not parse; ids and names do.
            if let Err(error) = Cli::try_parse_from(&words)
                && error.use_stderr()
            {
                panic!("{place}: `{line}`\n{error}");
            }
            count += 1;
        }
    }
    count
}

#[test]
fn every_command_of_the_documentation_can_be_typed() {
    for (name, text) in DOCUMENTS {
        let mut in_shell = false;
        let mut block = String::new();
        for line in text.lines() {
            match line.trim_start() {
                "```sh" => in_shell = true,
                "```" => in_shell = false,
                _ if in_shell => block = format!("{block}{line}\n"),
                _ => {}
            }
        }
        assert!(check(name, &block) >= 5, "{name} has hardly any examples");
    }
}

#[test]
fn every_example_of_the_help_can_be_typed() {
    fn walk(command: &clap::Command, path: &str) -> usize {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let below: usize =
            command.get_subcommands().map(|inner| walk(inner, &format!("{path} {}", inner.get_name()))).sum();
        check(path, &help) + below
    }
    let mut command = Cli::command();
    command.build();
    let count = walk(&command, "mcp");
    assert!(count >= 80, "{count}");
}
