//! Which rule decides about a call, and under which conditions: in words what [`compile()`](crate::compile()) makes a program of.

use std::cmp::Reverse;

use crate::compile::{Read, abis, asked, check, read};
use crate::conditions::Condition;
use crate::profile::Operator;
use crate::syscalls::Multiplexed;
use crate::{Architecture, Arg, Error, Profile, Syscall};

/// What a profile says of a call on one architecture, by one of the ways in which it can be made there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The architecture.
    pub architecture: Architecture,
    /// The number that the kernel shows: the call's own, or that of the multiplexer.
    pub number: u32,
    /// The multiplexer, and the first argument by which it makes the call; none where the call has a number of its own.
    pub through: Option<(Syscall, u32)>,
    /// Rules with conditions. Where rules that want the same hold, the first decides; where they want different things, nearly always too:
    /// rules that share tests can come before one that has fewer of them.
    pub clauses: Vec<Clause>,
    /// What decides where none of them holds.
    pub otherwise: Otherwise,
    /// Rules that name the call and never decide here, by their places in the profile.
    pub overruled: Vec<usize>,
}

/// A rule with conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Its place in the profile.
    pub rule: usize,
    /// All of them must hold.
    pub conditions: Vec<Arg>,
}

/// What decides about a call of which no rule with conditions does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The rule at this place in the profile, which has no conditions.
    Rule(usize),
    /// The default action.
    Default,
    /// The call is newer than all that the profile names, and fails with ENOSYS.
    Newer {
        /// The highest number that the profile names.
        newest: u32,
    },
}

/// What decides about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The rule at this place in the profile.
    Rule(usize),
    /// What happens to calls without a rule.
    Otherwise(Otherwise),
}

/// Says which rules decide about a call: for each architecture of the profile that has it, the native one first, and for each way in
/// which it is made there.
///
/// # Errors
/// As [`compile()`](crate::compile()), but for what only shows in the whole.
pub fn explain(
    profile: &Profile<'_>,
    native: Architecture,
    call: Syscall,
) -> Result<Vec<Explanation>, Error> {
    check(profile)?;
    let default = profile.default_action.returned(profile.default_errno);
    let Read { rules, named, .. } = read(profile, default);
    let mut explanations = Vec::new();
    for mut abi in abis(profile, native)? {
        abi.take(&named, &rules);
        let architecture = abi.architecture;
        let multiplexed = architecture.multiplexers().zip(call.multiplexed()).and_then(|(both, how)| {
            let (name, number, selector) = match how {
                Multiplexed::Socketcall(selector) => ("socketcall", both.socketcall, selector),
                Multiplexed::Ipc(selector) => ("ipc", both.ipc, selector),
            };
            Some((number, Some((Syscall::named(name)?, selector))))
        });
        let own = call.number(architecture).map(|number| (number, None));
        for (number, through) in own.into_iter().chain(multiplexed) {
            let mut wishes = Vec::new();
            let mut named_in = Vec::new();
            for entry in abi.entries.iter().filter(|entry| entry.number == number) {
                let one = named[entry.position as usize];
                let selector = abi.selector(one.call, number);
                // Of a multiplexer, the rules about it, and those about this call.
                if selector != 0 && through.is_none_or(|(_, ours)| ours != selector) {
                    continue;
                }
                let rule = one.rule as usize;
                if !named_in.contains(&rule) {
                    named_in.push(rule);
                }
                for alternative in &rules[rule].alternatives {
                    let mut conditions = asked(alternative, selector, architecture.has_64_bit_arguments());
                    let for_all = conditions.is_empty();
                    if selector != 0 {
                        conditions.retain(|condition| condition.argument != 0);
                    }
                    wishes.push(Wish { rule, action: rules[rule].action, conditions, for_all });
                }
            }
            let (clauses, last) = in_order(wishes);
            let otherwise = last.map_or_else(|| undecided(profile, &abi, number), Otherwise::Rule);
            let decides = |rule: &usize| {
                otherwise == Otherwise::Rule(*rule) || clauses.iter().any(|clause| clause.rule == *rule)
            };
            named_in.retain(|rule| !decides(rule));
            explanations.push(Explanation {
                architecture,
                number,
                through,
                clauses,
                otherwise,
                overruled: named_in,
            });
        }
    }
    Ok(explanations)
}

impl Explanation {
    /// What decides about a call with these arguments: the call's own, also where a multiplexer makes it. Of several rules all are given
    /// that hold, in their order.
    pub fn decisions(&self, arguments: &[u64; 6]) -> Vec<Decision> {
        let wide = self.architecture.has_64_bit_arguments();
        let arguments = arguments.map(|argument| if wide { argument } else { argument & 0xffff_ffff });
        let holds = |clause: &&Clause| clause.conditions.iter().all(|arg| arg.holds(&arguments));
        let mut decisions: Vec<_> =
            self.clauses.iter().filter(holds).map(|clause| Decision::Rule(clause.rule)).collect();
        if decisions.is_empty() {
            decisions.push(match self.otherwise {
                Otherwise::Rule(rule) => Decision::Rule(rule),
                otherwise => Decision::Otherwise(otherwise),
            });
        }
        decisions
    }
}

impl Arg {
    fn holds(&self, arguments: &[u64; 6]) -> bool {
        let is = arguments[self.index as usize];
        match self.op {
            Operator::NotEqual => is != self.value,
            Operator::Less => is < self.value,
            Operator::LessOrEqual => is <= self.value,
            Operator::Equal => is == self.value,
            Operator::GreaterOrEqual => is >= self.value,
            Operator::Greater => is > self.value,
            Operator::MaskedEqual => is & self.value == self.value_two & self.value,
        }
    }
}

struct Wish {
    rule: usize,
    action: u32,
    conditions: Vec<Condition>,
    /// It asks nothing, not even which call a multiplexer makes.
    for_all: bool,
}

/// The rules with conditions in the order in which they are tried, and the one without that decides in the end.
fn in_order(wishes: Vec<Wish>) -> (Vec<Clause>, Option<usize>) {
    // The first without conditions stands above all others.
    let first = wishes.iter().find(|wish| wish.for_all);
    if let Some(wish) = first.or_else(|| wishes.iter().find(|wish| wish.conditions.is_empty())) {
        return (Vec::new(), Some(wish.rule));
    }
    let mut kept: Vec<Wish> = Vec::new();
    for wish in wishes {
        if !kept.iter().any(|other| other.covers(&wish)) {
            kept.retain(|other| !wish.covers(other));
            kept.push(wish);
        }
    }
    // Stable, so that the profile's order is the last word.
    kept.sort_by_key(|wish| Reverse(key(&wish.conditions)));
    let clause =
        |wish: Wish| Clause { rule: wish.rule, conditions: wish.conditions.into_iter().map(arg).collect() };
    (kept.into_iter().map(clause).collect(), None)
}

impl Wish {
    fn covers(&self, other: &Self) -> bool {
        self.action == other.action
            && self.conditions.iter().all(|condition| other.conditions.contains(condition))
    }
}

/// What comes first is larger.
fn key(conditions: &[Condition]) -> Vec<(u8, u8, u64)> {
    let one = |condition: &Condition| {
        let value = condition.value & condition.mask;
        let (rank, value) = match condition.operator {
            Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => (3, value),
            Operator::Less | Operator::LessOrEqual => (2, u64::MAX - value),
            Operator::Greater | Operator::GreaterOrEqual => (1, value),
        };
        (condition.argument, rank, value)
    };
    conditions.iter().map(one).collect()
}

fn arg(condition: Condition) -> Arg {
    let (value, value_two) = match condition.operator {
        Operator::MaskedEqual => (condition.mask, condition.value),
        _ => (condition.value, 0),
    };
    Arg { index: condition.argument.into(), value, value_two, op: condition.operator }
}

fn undecided(profile: &Profile<'_>, abi: &crate::compile::Abi, number: u32) -> Otherwise {
    match abi.newest_of(number) {
        Some(newest) if number > newest && newest > 0 && !profile.default_action.lets_through() => {
            Otherwise::Newer { newest }
        }
        _ => Otherwise::Default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Rule};

    fn rule(name: &str, action: Action, args: Vec<Arg>) -> Rule<'static> {
        Rule { names: vec![name.to_owned()].into(), action, errno: None, args }
    }

    fn profile(rules: Vec<Rule<'static>>) -> Profile<'static> {
        Profile {
            default_action: Action::Errno,
            default_errno: None,
            architectures: vec![Architecture::X86],
            flags: Vec::new(),
            rules,
        }
    }

    fn explained(profile: &Profile<'_>, name: &str) -> Vec<Explanation> {
        explain(profile, Architecture::X86_64, Syscall::named(name).unwrap()).unwrap()
    }

    const fn equal(index: u32, value: u64) -> Arg {
        Arg { index, value, value_two: 0, op: Operator::Equal }
    }

    #[test]
    fn a_rule_without_conditions_stands_above_the_others() {
        let profile = profile(vec![
            rule("ioctl", Action::Trap, vec![equal(1, 5)]),
            rule("ioctl", Action::Allow, vec![]),
            rule("ioctl", Action::Log, vec![]),
        ]);
        let [native, other] = &explained(&profile, "ioctl")[..] else { panic!("two architectures") };
        assert_eq!((native.architecture, native.number), (Architecture::X86_64, 16));
        assert_eq!((native.otherwise, &native.overruled[..]), (Otherwise::Rule(1), &[0, 2][..]));
        assert_eq!((other.number, other.otherwise), (54, Otherwise::Rule(1)));
    }

    #[test]
    fn conditions_on_later_arguments_are_tried_first() {
        let profile = profile(vec![
            rule("ioctl", Action::Trap, vec![equal(0, 5)]),
            rule("ioctl", Action::Log, vec![equal(1, 5)]),
        ]);
        let native = &explained(&profile, "ioctl")[0];
        assert_eq!(native.clauses.iter().map(|clause| clause.rule).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(native.decisions(&[5, 5, 0, 0, 0, 0]), [Decision::Rule(1), Decision::Rule(0)]);
        assert_eq!(native.decisions(&[5, 6, 0, 0, 0, 0]), [Decision::Rule(0)]);
        assert_eq!(native.decisions(&[0; 6]), [Decision::Otherwise(Otherwise::Default)]);
    }

    #[test]
    fn a_call_that_can_be_multiplexed_is_explained_for_both_ways() {
        let profile = profile(vec![rule("socket", Action::Allow, vec![equal(0, 1), equal(1, 2)])]);
        let [native, own, multiplexed] = &explained(&profile, "socket")[..] else { panic!("three ways") };
        assert_eq!(native.clauses, own.clauses);
        assert_eq!(multiplexed.number, 102);
        assert_eq!(
            multiplexed.through.map(|(call, selector)| (call.name(), selector)),
            Some(("socketcall", 1))
        );
        assert_eq!(multiplexed.clauses, [Clause { rule: 0, conditions: vec![equal(1, 2)] }]);
    }

    #[test]
    fn calls_above_all_that_are_named_are_newer() {
        let profile =
            profile(vec![rule("read", Action::Allow, vec![]), rule("openat", Action::Allow, vec![])]);
        assert_eq!(explained(&profile, "openat2")[0].otherwise, Otherwise::Newer { newest: 257 });
        assert_eq!(explained(&profile, "write")[0].otherwise, Otherwise::Default);
        assert_eq!(explained(&profile, "s390_sthyi"), []);
    }
}
