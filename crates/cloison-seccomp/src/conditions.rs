//! The conditional rules of one call, as a tree of tests on 32-bit words, which is what a filter can do.
//!
//! A tree is a list of nodes, tried in order. A node compares one word; each outcome either decides, goes on with a
//! list below, or goes on with the next node of the list. The rules' order is that of libseccomp, so that a profile
//! means the same to both:
//!
//! 1. conditions on a later argument come before those on an earlier one (a rule counts by its first argument),
//! 2. =, ≠ and masks come before < and ≤, and those before ≥ and >,
//! 3. larger values come first; with < and ≤ the smaller ones,
//! 4. then the order of the profile.
//!
//! Rules that begin with the same tests share them. A rule whose conditions are a beginning of another's swallows it.

use crate::profile::Operator;

/// A condition whose argument is known to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) operator: Operator,
    /// All bits, but for [`Operator::MaskedEqual`].
    pub(crate) mask: u64,
    pub(crate) value: u64,
}

impl Condition {
    /// The same for a call that has 32-bit arguments: the upper halves are not looked at.
    pub(crate) const fn narrowed(mut self) -> Self {
        self.mask &= 0xffff_ffff;
        self.value &= 0xffff_ffff;
        self
    }

    /// Whether it holds whatever the argument: a mask without bits.
    pub(crate) const fn always_holds(&self) -> bool {
        self.mask == 0
    }
}

/// Half of an argument; the order is the one in which libseccomp tells rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word {
    pub(crate) argument: u8,
    pub(crate) high: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    /// Apart from the former though the same is done for it, as libseccomp tells them.
    MaskedEqual,
    Greater,
    GreaterOrEqual,
}

/// What a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) word: Word,
    pub(crate) comparison: Comparison,
    pub(crate) mask: u32,
    pub(crate) value: u32,
}

/// A test and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) test: Test,
    pub(crate) yes: Branch,
    pub(crate) no: Branch,
    /// The condition that the test is part of, for the order.
    operator: Operator,
    value: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    /// The next node of the list decides, or the one after the list above, and the default in the end.
    Next,
    /// What the filter returns.
    Return(u32),
    Nodes(Vec<Node>),
}

/// Two rules want different things under the same conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// Adds a rule to the list.
///
/// # Errors
/// When a rule with the same conditions, or with more, wants something else. The list is of no use then.
pub(crate) fn add(
    nodes: &mut Vec<Node>,
    conditions: &[Condition],
    wide: bool,
    action: u32,
) -> Result<(), Conflict> {
    match chain(conditions, wide, action) {
        Branch::Nodes(chain) => chain.into_iter().try_for_each(|node| insert(nodes, node)),
        Branch::Return(_) | Branch::Next => unreachable!("a rule without conditions has no tests"),
    }
}

/// The tests of one rule.
fn chain(conditions: &[Condition], wide: bool, action: u32) -> Branch {
    let Some((condition, others)) = conditions.split_first() else {
        return Branch::Return(action);
    };
    let then = || chain(others, wide, action);
    let low = low(*condition, then());
    if !wide {
        return below(low);
    }
    below(match condition.operator {
        Operator::Equal | Operator::MaskedEqual => {
            high(*condition, low.test.comparison, below(low), Branch::Next)
        }
        Operator::NotEqual => high(*condition, Comparison::Equal, below(low), then()),
        Operator::Greater | Operator::GreaterOrEqual => {
            let equal = high(*condition, Comparison::Equal, below(low), Branch::Next);
            high(*condition, Comparison::Greater, then(), below(equal))
        }
        Operator::Less | Operator::LessOrEqual => {
            let equal = high(*condition, Comparison::Equal, below(low), then());
            high(*condition, Comparison::Greater, Branch::Next, below(equal))
        }
    })
}

fn below(node: Node) -> Branch {
    Branch::Nodes(vec![node])
}

/// The test of the lower half.
fn low(condition: Condition, then: Branch) -> Node {
    let (comparison, yes, no) = match condition.operator {
        Operator::Equal => (Comparison::Equal, then, Branch::Next),
        Operator::MaskedEqual => (Comparison::MaskedEqual, then, Branch::Next),
        Operator::NotEqual => (Comparison::Equal, Branch::Next, then),
        Operator::Greater => (Comparison::Greater, then, Branch::Next),
        Operator::GreaterOrEqual => (Comparison::GreaterOrEqual, then, Branch::Next),
        Operator::Less => (Comparison::GreaterOrEqual, Branch::Next, then),
        Operator::LessOrEqual => (Comparison::Greater, Branch::Next, then),
    };
    let mask = condition.mask as u32;
    let word = Word { argument: condition.argument, high: false };
    let test = Test { word, comparison, mask, value: condition.value as u32 & mask };
    Node { test, yes, no, operator: condition.operator, value: condition.value }
}

/// A test of the upper half.
fn high(condition: Condition, comparison: Comparison, yes: Branch, no: Branch) -> Node {
    let mask = (condition.mask >> 32) as u32;
    let word = Word { argument: condition.argument, high: true };
    let test = Test { word, comparison, mask, value: (condition.value >> 32) as u32 & mask };
    Node { test, yes, no, operator: condition.operator, value: condition.value }
}

/// Puts a node in its place, or joins it to one with the same test.
fn insert(nodes: &mut Vec<Node>, node: Node) -> Result<(), Conflict> {
    for (index, other) in nodes.iter_mut().enumerate() {
        if other.test == node.test {
            return join(other, node);
        }
        if comes_before(&node, other) {
            nodes.insert(index, node);
            return Ok(());
        }
    }
    nodes.push(node);
    Ok(())
}

fn comes_before(node: &Node, other: &Node) -> bool {
    let rank = |node: &Node| match node.operator {
        Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => 3,
        Operator::Less | Operator::LessOrEqual => 2,
        Operator::Greater | Operator::GreaterOrEqual => 1,
    };
    let order = (node.test.word, rank(node)).cmp(&(other.test.word, rank(other)));
    let order = order.then_with(|| match node.operator {
        Operator::Less | Operator::LessOrEqual => other.test.value.cmp(&node.test.value),
        _ => node.test.value.cmp(&other.test.value),
    });
    order.is_gt()
}

fn join(node: &mut Node, new: Node) -> Result<(), Conflict> {
    // Where two values have the same upper half, the rule that comes first has the larger one (the smaller one with
    // < and ≤, whose tests decide by a no).
    let undecided = node.test.word.high && !(is_leaf(node) || is_leaf(&new));
    let (larger, smaller) = (new.value > node.value, new.value < node.value);
    join_branch(&mut node.yes, new.yes, undecided.then_some(larger))?;
    join_branch(&mut node.no, new.no, undecided.then_some(smaller))
}

fn is_leaf(node: &Node) -> bool {
    !matches!(node.yes, Branch::Nodes(_)) && !matches!(node.no, Branch::Nodes(_))
}

/// `replaces` says whether a different action replaces what is there; `None` where that is a conflict.
fn join_branch(branch: &mut Branch, new: Branch, replaces: Option<bool>) -> Result<(), Conflict> {
    match (&mut *branch, new) {
        // The shorter rule holds for all that the longer one is about.
        (_, Branch::Next) | (Branch::Return(_), Branch::Nodes(_)) => Ok(()),
        (Branch::Next, new) => {
            *branch = new;
            Ok(())
        }
        (Branch::Return(action), Branch::Return(new)) => match replaces {
            _ if *action == new => Ok(()),
            None => Err(Conflict),
            Some(replaces) => {
                if replaces {
                    *action = new;
                }
                Ok(())
            }
        },
        (Branch::Nodes(nodes), Branch::Return(new)) => {
            if !return_only(nodes, new) {
                return Err(Conflict);
            }
            *branch = Branch::Return(new);
            Ok(())
        }
        (Branch::Nodes(nodes), Branch::Nodes(new)) => {
            new.into_iter().try_for_each(|node| insert(nodes, node))
        }
    }
}

fn return_only(nodes: &[Node], action: u32) -> bool {
    let branch = |branch: &Branch| match branch {
        Branch::Next => true,
        Branch::Return(returned) => *returned == action,
        Branch::Nodes(nodes) => return_only(nodes, action),
    };
    nodes.iter().all(|node| branch(&node.yes) && branch(&node.no))
}
