//! What an expression must be like before it is shown to the parser.
//!
//! The parser calls itself for what nests, and a stack that overflows cannot be caught; so whatever can nest is counted
//! before, and the tree is measured after.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::code::Code;

/// Longest expression, in bytes.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 4096;
/// Deepest nesting of brackets of any kind.
const BRACKETS_MAX: usize = 24;
/// Most `? :`, each of which nests in the one before.
const CHOICES_MAX: usize = 24;
/// Most characters that operators are made of.
const OPERATORS_MAX: usize = 512;
/// Deepest tree that is evaluated: macros make it deeper than the text looks.
const DEPTH_MAX: usize = 120;

/// Checks the text of an expression: what is wrong with it, in words.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("the expression is empty".to_owned());
    }
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("the expression has {} bytes; at most {EXPRESSION_BYTES_MAX} are allowed", text.len()));
    }
    let (mut depth, mut deepest, mut choices, mut operators) = (0_usize, 0, 0, 0);
    for (_, byte) in Code::new(text, 0) {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => choices += 1,
            b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'<' | b'>' | b'=' | b'&' | b'|' | b'.' => operators += 1,
            _ => {}
        }
    }
    for (found, most, what) in [
        (deepest, BRACKETS_MAX, "levels of brackets"),
        (choices, CHOICES_MAX, "`?`"),
        (operators, OPERATORS_MAX, "characters of operators"),
    ] {
        if found > most {
            return Err(format!("the expression has {found} {what}; at most {most} are allowed"));
        }
    }
    Ok(())
}

/// Checks how deep the tree of a parsed expression is.
pub(super) fn check_tree(tree: &IdedExpr) -> Result<(), String> {
    let mut level: Vec<&IdedExpr> = vec![tree];
    let mut depth = 0;
    while !level.is_empty() {
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(format!("the expression is more than {DEPTH_MAX} operations deep"));
        }
        let mut below = Vec::new();
        for expression in level {
            push_children(expression, &mut below);
        }
        level = below;
    }
    Ok(())
}

fn push_children<'a>(expression: &'a IdedExpr, below: &mut Vec<&'a IdedExpr>) {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            below.extend(call.target.as_deref());
            below.extend(&call.args);
        }
        Expr::Comprehension(loops) => {
            below.extend([&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]);
        }
        Expr::List(list) => below.extend(&list.elements),
        Expr::Map(map) => map.entries.iter().for_each(|entry| push_entry(&entry.expr, below)),
        Expr::Struct(message) => message.entries.iter().for_each(|entry| push_entry(&entry.expr, below)),
        Expr::Select(select) => below.push(&select.operand),
    }
}

fn push_entry<'a>(entry: &'a EntryExpr, below: &mut Vec<&'a IdedExpr>) {
    match entry {
        EntryExpr::StructField(field) => below.push(&field.value),
        EntryExpr::MapEntry(entry) => below.extend([&entry.key, &entry.value]),
    }
}
