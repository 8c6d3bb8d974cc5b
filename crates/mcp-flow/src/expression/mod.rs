//! Expressions in CEL: compiled once, evaluated against the facts of a run.
//!
//! The `cel` crate parses and interprets. Around it stand the bounds it lacks: on the text, on the depth, on the work of
//! one evaluation and on the result; and a panic of it is an error of the expression, never ours.

mod code;
mod compile;
mod guard;
mod path;
#[cfg(test)]
mod tests;
mod values;

use std::{
    borrow::Cow,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use cel::{
    Context, Env, ExecutionError, FunctionContext, Value as CelValue,
    common::{
        types::{CelBool, CelInt, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use serde_json::Value;

pub(crate) use self::{
    code::Code,
    path::{Facts, Names, Root},
};
use self::{
    compile::{MATCH, OF_ITEM, SHARED, Slot, Tree, WEIGH, truncate},
    path::Path,
    values::Boxed,
};

/// Work one evaluation may do: about this many small operations.
pub(crate) const EFFORT_MAX: u64 = 1_000_000;
/// Bytes of JSON that are as much work as one operation when they are only copied.
const COPY_BYTES: usize = 64;
/// Longest reason that is passed on, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// An expression that was checked.
#[derive(Debug)]
pub(crate) struct Program {
    text: Arc<str>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Nothing but the name of a value: no need to evaluate anything, and the value stays as it is to the last digit.
    Path(Path),
    Tree(Tree),
}

impl Program {
    /// Compiles an expression, or says what is wrong with it.
    pub(crate) fn compile(text: &str, names: &dyn Names) -> Result<Self, String> {
        let mut tree = compile::compile(text, names)?;
        let is_path = matches!(tree.slots.as_slice(), [slot] if !slot.test)
            && matches!(&tree.root.expr, cel::common::ast::Expr::Ident(_));
        let body = match tree.slots.pop() {
            Some(slot) if is_path => Body::Path(slot.path),
            last => {
                tree.slots.extend(last);
                Body::Tree(tree)
            }
        };
        Ok(Self { text: text.into(), body })
    }

    /// The steps it looks at.
    pub(crate) fn steps(&self) -> impl Iterator<Item = u32> {
        let (path, slots) = match &self.body {
            Body::Path(path) => (Some(path), [].as_slice()),
            Body::Tree(tree) => (None, tree.slots.as_slice()),
        };
        path.into_iter().chain(slots.iter().map(|slot| &slot.path)).filter_map(|path| path.root.step())
    }

    /// How many patterns it matches against.
    pub(crate) fn patterns(&self) -> usize {
        match &self.body {
            Body::Path(_) => 0,
            Body::Tree(tree) => tree.patterns.len(),
        }
    }

    /// Makes it ready for any number of evaluations against the same facts.
    pub(crate) fn bind<'a>(&'a self, facts: &'a dyn Facts) -> Bound<'a> {
        let slots = match &self.body {
            Body::Path(_) => 0,
            Body::Tree(tree) => tree.slots.len(),
        };
        Bound { program: self, facts, values: (0..slots).map(|_| OnceLock::new()).collect() }
    }

    /// Its value.
    ///
    /// # Errors
    /// Names the expression and the reason.
    pub(crate) fn evaluate(&self, facts: &dyn Facts, spent: &mut u64) -> Result<Value, EvaluationError> {
        self.bind(facts).evaluate(None, spent)
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvaluationError {
    /// The expression.
    pub(crate) expression: Arc<str>,
    /// The reason, in words.
    pub(crate) reason: String,
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expression `{}` failed: {}", self.expression, self.reason)
    }
}

/// The item of a `for_each` that an expression sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// The element of the list.
    pub(crate) value: &'a Value,
    /// Its place in the list, from 0.
    pub(crate) index: u32,
}

impl Facts for Item<'_> {
    fn value(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Item => Some(Cow::Borrowed(self.value)),
            Root::Index => Some(Cow::Owned(Value::from(self.index))),
            _ => None,
        }
    }
}

/// Where there are no items.
struct NoItem;

impl Facts for NoItem {
    fn value(&self, _: Root) -> Option<Cow<'_, Value>> {
        None
    }
}

/// An expression with its facts: what is the same for all items is made ready only once.
pub(crate) struct Bound<'a> {
    program: &'a Program,
    facts: &'a dyn Facts,
    values: Vec<OnceLock<Boxed<'a>>>,
}

impl fmt::Debug for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("program", self.program).finish_non_exhaustive()
    }
}

impl Bound<'_> {
    /// Its value for an item, or where there are no items; adds the work it took to `spent`.
    ///
    /// # Errors
    /// Names the expression and the reason.
    pub(crate) fn evaluate(&self, item: Option<Item<'_>>, spent: &mut u64) -> Result<Value, EvaluationError> {
        let item: &dyn Facts = item.as_ref().map_or(&NoItem, |item| item);
        let value = match &self.program.body {
            Body::Path(path) => {
                let facts = if path.root.is_of_item() { item } else { self.facts };
                path.find(facts).map(|value| {
                    *spent += 1 + (crate::json::weight(&value) / COPY_BYTES) as u64;
                    value.into_owned()
                })
            }
            Body::Tree(tree) => {
                let left = Arc::new(AtomicU64::new(EFFORT_MAX));
                let value = catch_unwind(AssertUnwindSafe(|| self.run(tree, item, &left)))
                    .unwrap_or_else(|_| Err("it cannot be evaluated".to_owned()));
                let left = left.load(Ordering::Relaxed);
                *spent += EFFORT_MAX - left + 1;
                if left == 0 { Err("it takes too much work".to_owned()) } else { value }
            }
        };
        value.map_err(|reason| EvaluationError { expression: self.program.text.clone(), reason })
    }

    fn run(&self, tree: &Tree, item: &dyn Facts, left: &Arc<AtomicU64>) -> Result<Value, String> {
        let shared = Shared { slots: &tree.slots, facts: self.facts, values: &self.values, left };
        let values: Vec<_> = tree.slots.iter().map(|_| OnceLock::new()).collect();
        let of_item = OfItem(Shared { slots: &tree.slots, facts: item, values: &values, left });
        let mut root = Context::with_env(environment());
        add_functions(&mut root, tree, left)?;
        root.set_variable_resolver(&shared);
        let mut context = root.new_inner_scope();
        context.set_variable_resolver(&of_item);
        let value = CelValue::resolve_val(&tree.root, &context).map_err(|error| {
            let facts = |slot: &Slot| if slot.path.root.is_of_item() { item } else { self.facts };
            reason(error, tree, &facts)
        })?;
        charge(left, value.as_ref(), 0);
        values::to_json(value.as_ref())
    }
}

/// The standard library.
fn environment() -> Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Arc::new(Env::default().with_optional_support(false).with_stdlib())).clone()
}

/// Takes the work of reading `value`, and `each` for each of its elements, off what is left: whether that was enough.
fn charge(left: &AtomicU64, value: &dyn Val, each: u64) -> bool {
    let before = left.load(Ordering::Relaxed);
    let elements = if each == 0 { 0 } else { value.as_sizer().map_or(0, |sizer| *sizer.size().inner()) };
    let effort = values::effort(value, before).saturating_add(each.saturating_mul(elements.unsigned_abs()));
    let after = before.saturating_sub(effort);
    left.store(after, Ordering::Relaxed);
    after > 0
}

type Answer<'context, 'call> = Result<CowVal<'context, 'call>, ExecutionError>;
type Function =
    Box<dyn for<'context, 'call> Fn(&mut FunctionContext<'context, 'call>) -> Answer<'context, 'call> + Send + Sync>;

fn add_functions(context: &mut Context<'_, '_>, tree: &Tree, left: &Arc<AtomicU64>) -> Result<(), String> {
    let left = left.clone();
    let weigh: Function = Box::new(move |call| {
        let each = if call.args.len() > 1 { call.args.pop() } else { None };
        let each = each.and_then(|each| each.downcast_ref::<CelInt>().map(|each| each.inner().unsigned_abs()));
        let value = call.args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
        if charge(&left, value.as_ref(), each.unwrap_or(0)) { Ok(value) } else { Err(call.error("too much work")) }
    });
    context.add_function(WEIGH, weigh).map_err(|error| error.to_string())?;
    for (number, pattern) in tree.patterns.iter().enumerate() {
        let pattern = pattern.clone();
        let matches: Function = Box::new(move |call| {
            let text = call.args.first().and_then(|text| text.downcast_ref::<CelString<'_>>());
            let text = text.ok_or_else(|| ExecutionError::function_error("matches", "it takes a text"))?;
            Ok(CowVal::owned(CelBool::from(pattern.is_match(text.inner()))))
        });
        context.add_function(&format!("{MATCH}{number}"), matches).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Finds the values of the slots that are the same for all items.
struct Shared<'a, 'v> {
    slots: &'a [Slot],
    facts: &'v dyn Facts,
    values: &'a [OnceLock<Boxed<'v>>],
    left: &'a AtomicU64,
}

impl Shared<'_, '_> {
    fn find(&self, number: &str) -> Option<&(dyn Val + '_)> {
        let number: usize = number.parse().ok()?;
        let (slot, value) = (self.slots.get(number)?, self.values.get(number)?);
        if let Some(value) = value.get() {
            return Some(value.as_ref());
        }
        let made: Boxed<'_> = if slot.test {
            Box::new(CelBool::from(slot.path.test(self.facts).ok()?))
        } else {
            values::from_json(slot.path.find(self.facts).ok()?)
        };
        charge(self.left, made.as_ref(), 0).then(|| value.get_or_init(|| made).as_ref())
    }
}

impl VariableResolver for Shared<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        self.find(variable.strip_prefix(SHARED)?).map(CowVal::Borrowed)
    }
}

/// Finds the values of the slots that belong to an item.
struct OfItem<'a, 'v>(Shared<'a, 'v>);

impl VariableResolver for OfItem<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        self.0.find(variable.strip_prefix(OF_ITEM)?).map(CowVal::Borrowed)
    }
}

/// An error of the interpreter in our words: its own would show whole values and our slots.
fn reason<'a>(error: ExecutionError, tree: &Tree, facts: &dyn Fn(&Slot) -> &'a dyn Facts) -> String {
    let mut reason = match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UndeclaredReference(name) => missing(&name, tree, facts),
        ExecutionError::NoSuchOverload(error) => {
            let name = error.function().trim_matches(['_', '@']).to_owned();
            format!("`{name}` cannot be applied to ({})", error.argument_types().join(", "))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!("`{operator}` cannot be applied to ({}, {})", left.type_of(), right.type_of())
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} and {} cannot be compared", left.type_of(), right.type_of())
        }
        ExecutionError::Overflow(operator, ..) => format!("`{operator}` overflows"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::IndexOutOfBounds(index) => match index {
            CelValue::Int(index) => format!("there is no element {index}"),
            _ => "there is no such element".to_owned(),
        },
        ExecutionError::UnexpectedType { got, want } => format!("a {want} is needed here, not `{got}`"),
        ExecutionError::FunctionError { function, message } => format!("`{function}`: {message}"),
        ExecutionError::DuplicateKey(_) => "a map has the same key twice".to_owned(),
        ExecutionError::UnsupportedKeyType(key) => format!("a {} cannot be a key", key.type_of()),
        other => other.to_string(),
    };
    truncate(&mut reason, REASON_BYTES_MAX);
    reason
}

fn missing<'a>(name: &str, tree: &Tree, facts: &dyn Fn(&Slot) -> &'a dyn Facts) -> String {
    let number = name.strip_prefix(SHARED).or_else(|| name.strip_prefix(OF_ITEM));
    let Some(slot) = number.and_then(|number| tree.slots.get(number.parse::<usize>().ok()?)) else {
        return format!("`{name}` is not known");
    };
    let found =
        if slot.test { slot.path.test(facts(slot)).map(|_| ()) } else { slot.path.find(facts(slot)).map(|_| ()) };
    found.err().unwrap_or_else(|| "it takes too much work".to_owned())
}
