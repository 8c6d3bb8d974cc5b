//! From the text of an expression to a tree that can be evaluated within bounds.
//!
//! What an expression names is replaced by numbered slots, so that only these values are ever made into CEL's, and only
//! when they are looked at. Whatever is read or copied as a whole passes through [`WEIGH`], which counts it against the
//! work one evaluation may do: the interpreter itself has no such limit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::{
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators},
    parser::{ParseErrors, PrattParser},
};
use regex::{Regex, RegexBuilder};

use super::{
    guard,
    path::{Names, Path, Words},
};

/// Function that counts its argument as work and gives it back; with a number, the argument is a list to be gone
/// through, and the number is how much is done for each element.
pub(super) const WEIGH: &str = "@weigh";
/// Start of the names of slots that are the same for all items.
pub(super) const SHARED: &str = "@shared";
/// Start of the names of slots that differ from item to item.
pub(super) const OF_ITEM: &str = "@item";
/// Start of the names of the functions that match a pattern.
pub(super) const MATCH: &str = "@match";

/// Functions of the standard library, macros left out.
const FUNCTIONS: [&str; 25] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
];
/// Names of types, which are values of their own.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// Operators that look at their operands without reading or copying them as a whole.
const CHEAP: [&str; 6] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::INDEX,
];
/// Calls whose result is small.
const SMALL: [&str; 9] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::LOGICAL_NOT,
    "size",
];

/// Most memory that a compiled pattern takes, in bytes.
const PATTERN_BYTES_MAX: usize = 128 << 10;
/// Most patterns in one expression.
const PATTERNS_MAX: usize = 4;
/// Longest message of the parser that is passed on, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// A value that an expression looks at.
#[derive(Debug)]
pub(super) struct Slot {
    /// Where it is.
    pub(super) path: Path,
    /// Whether the question is only if it is there.
    pub(super) test: bool,
}

/// An expression with its names resolved.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: IdedExpr,
    pub(super) slots: Vec<Slot>,
    pub(super) patterns: Vec<Regex>,
}

/// Compiles an expression, or says what is wrong with it.
pub(super) fn compile(text: &str, names: &dyn Names) -> Result<Tree, String> {
    let parsed = parse(text)?;
    let mut rewriter = Rewriter { names, bound: Vec::new(), slots: Vec::new(), patterns: Vec::new() };
    let root = rewriter.rewrite(parsed)?;
    guard::check_tree(&root)?;
    Ok(Tree { root, slots: rewriter.slots, patterns: rewriter.patterns })
}

/// The tree of a text, as it is written.
pub(super) fn parse(text: &str) -> Result<IdedExpr, String> {
    guard::check_text(text)?;
    let parsed = catch_unwind(AssertUnwindSafe(|| PrattParser::new().parse(text)))
        .map_err(|_| "the expression cannot be parsed".to_owned())?
        .map_err(|errors| first_of(&errors))?;
    guard::check_tree(&parsed)?;
    Ok(parsed)
}

fn first_of(errors: &ParseErrors) -> String {
    let Some(error) = errors.errors.first() else { return "the expression cannot be parsed".to_owned() };
    let mut message = error.msg.trim_start_matches("Syntax error: ").to_owned();
    truncate(&mut message, MESSAGE_BYTES_MAX);
    if error.pos.0 > 0 { format!("{message} (line {}, column {})", error.pos.0, error.pos.1) } else { message }
}

/// Shortens `text` to at most `bytes_max`, not inside a character.
pub(super) fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
}

struct Rewriter<'a> {
    names: &'a dyn Names,
    /// Variables of the macros around, the innermost last.
    bound: Vec<String>,
    slots: Vec<Slot>,
    patterns: Vec<Regex>,
}

impl Rewriter<'_> {
    fn rewrite(&mut self, expression: IdedExpr) -> Result<IdedExpr, String> {
        if let Some(words) = Words::of(&expression)
            && !self.is_bound(&words.first)
            && !is_type(&expression.expr)
        {
            return self.slot(words, false);
        }
        let rewritten = match expression.expr {
            Expr::Select(select) => return self.select(select),
            Expr::Call(call) => return self.call(call),
            Expr::Comprehension(loops) => Expr::Comprehension(Box::new(self.comprehension(*loops)?)),
            Expr::List(mut list) => {
                list.elements = self.weighed(list.elements)?;
                Expr::List(list)
            }
            Expr::Map(mut map) => {
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else { return Err(no_messages()) };
                    entry.key = self.rewrite(std::mem::take(&mut entry.key))?;
                    entry.value = weigh(self.rewrite(std::mem::take(&mut entry.value))?);
                }
                Expr::Map(map)
            }
            Expr::Struct(_) | Expr::Unspecified => return Err(no_messages()),
            other @ (Expr::Ident(_) | Expr::Literal(_)) => other,
        };
        Ok(node(rewritten))
    }

    fn is_bound(&self, name: &str) -> bool {
        name.starts_with('@') || self.bound.iter().any(|bound| bound == name)
    }

    fn slot(&mut self, words: Words, test: bool) -> Result<IdedExpr, String> {
        let path = words.resolve(self.names)?;
        let kind = if path.root.is_of_item() { OF_ITEM } else { SHARED };
        let known = self.slots.iter().position(|slot| slot.test == test && slot.path == path);
        let number = known.unwrap_or(self.slots.len());
        if known.is_none() {
            self.slots.push(Slot { path, test });
        }
        Ok(node(Expr::Ident(format!("{kind}{number}"))))
    }

    fn select(&mut self, mut select: SelectExpr) -> Result<IdedExpr, String> {
        if select.test
            && let Some(mut words) = Words::of(&select.operand)
            && !self.is_bound(&words.first)
        {
            words.push(&select.field);
            return self.slot(words, true);
        }
        *select.operand = self.rewrite(*select.operand)?;
        Ok(node(Expr::Select(select)))
    }

    fn call(&mut self, mut call: CallExpr) -> Result<IdedExpr, String> {
        let name = call.func_name.as_str();
        if name == "matches" {
            return self.matches(call);
        }
        let is_operator = name.starts_with(['_', '@', '!', '-']);
        if !is_operator && !FUNCTIONS.contains(&name) {
            return Err(format!("there is no function `{name}`"));
        }
        // What a macro appends to its result is counted where it is made.
        let appends =
            matches!(call.args.first().map(|first| &first.expr), Some(Expr::Ident(name)) if name.starts_with('@'));
        if CHEAP.contains(&name) || appends {
            call.args = call.args.into_iter().map(|arg| self.rewrite(arg)).collect::<Result<_, _>>()?;
            return Ok(node(Expr::Call(call)));
        }
        call.args = self.weighed(call.args)?;
        if let Some(target) = call.target.take() {
            call.target = Some(Box::new(weigh(self.rewrite(*target)?)));
        }
        Ok(node(Expr::Call(call)))
    }

    /// Patterns are compiled here, once and within bounds.
    fn matches(&mut self, call: CallExpr) -> Result<IdedExpr, String> {
        let (text, pattern) = match (call.target, <[IdedExpr; 1]>::try_from(call.args)) {
            (Some(target), Ok([pattern])) => (*target, pattern),
            (None, Err(args)) => {
                let [text, pattern] =
                    <[IdedExpr; 2]>::try_from(args).map_err(|_| "`matches` takes a text and a pattern".to_owned())?;
                (text, pattern)
            }
            _ => return Err("`matches` takes a text and a pattern".to_owned()),
        };
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            return Err("the pattern of `matches` must be a literal text".to_owned());
        };
        if self.patterns.len() == PATTERNS_MAX {
            return Err(format!("an expression may have at most {PATTERNS_MAX} patterns"));
        }
        let regex = RegexBuilder::new(pattern.inner()).size_limit(PATTERN_BYTES_MAX).build();
        let regex = regex.map_err(|error| {
            let mut reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            truncate(&mut reason, MESSAGE_BYTES_MAX);
            format!("bad pattern `{}`: {reason}", pattern.inner())
        })?;
        let text = weigh(self.rewrite(text)?);
        self.patterns.push(regex);
        Ok(global(format!("{MATCH}{}", self.patterns.len() - 1), vec![text]))
    }

    fn weighed(&mut self, expressions: Vec<IdedExpr>) -> Result<Vec<IdedExpr>, String> {
        expressions.into_iter().map(|expression| self.rewrite(expression).map(weigh)).collect()
    }

    fn comprehension(&mut self, loops: ComprehensionExpr) -> Result<ComprehensionExpr, String> {
        let effort = nodes(&loops.loop_cond) + nodes(&loops.loop_step);
        let effort = node(Expr::Literal(LiteralValue::Int(i64::try_from(effort).unwrap_or(i64::MAX).into())));
        let iter_range = global(WEIGH.to_owned(), vec![self.rewrite(loops.iter_range)?, effort]);
        let accu_init = self.rewrite(loops.accu_init)?;
        self.bound.push(loops.iter_var.clone());
        let inside = (|| Ok::<_, String>([self.rewrite(loops.loop_cond)?, self.rewrite(loops.loop_step)?]))();
        self.bound.pop();
        let [loop_cond, loop_step] = inside?;
        let result = self.rewrite(loops.result)?;
        Ok(ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, ..loops })
    }
}

fn no_messages() -> String {
    "an expression cannot make messages".to_owned()
}

fn is_type(expression: &Expr) -> bool {
    matches!(expression, Expr::Ident(name) if TYPES.contains(&name.as_str()))
}

const fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn global(func_name: String, args: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::Call(CallExpr { func_name, target: None, args }))
}

/// Counts the value of `expression` as work, unless it is small for sure.
fn weigh(expression: IdedExpr) -> IdedExpr {
    let is_small = match &expression.expr {
        Expr::Literal(_) => true,
        Expr::Call(call) => SMALL.contains(&call.func_name.as_str()) || call.func_name == WEIGH,
        Expr::Select(select) => select.test,
        _ => false,
    };
    if is_small { expression } else { global(WEIGH.to_owned(), vec![expression]) }
}

/// How many operations an expression has.
fn nodes(expression: &IdedExpr) -> usize {
    1 + match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Call(call) => {
            call.target.iter().map(|target| nodes(target)).sum::<usize>() + call.args.iter().map(nodes).sum::<usize>()
        }
        Expr::Comprehension(loops) => nodes(&loops.iter_range) + nodes(&loops.loop_cond) + nodes(&loops.loop_step),
        Expr::List(list) => list.elements.iter().map(nodes).sum(),
        Expr::Map(map) => map.entries.len() * 2,
        Expr::Struct(message) => message.entries.len(),
        Expr::Select(select) => nodes(&select.operand),
    }
}
