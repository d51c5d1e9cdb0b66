//! From a profile to a program.

use crate::architecture::{ARM_PRIVATE, X32_BIT};
use crate::assemble::{Assembler, Label};
use crate::conditions::{Condition, Conflict, Node, add};
use crate::profile::{NEW_LISTENER, Operator};
use crate::program::{
    IF_EQUAL, IF_GREATER_OR_EQUAL, MAXIMUM_LENGTH, OFFSET_ARCHITECTURE, OFFSET_NUMBER, Program,
};
use crate::syscalls::{Multiplexed, Syscall};
use crate::{Action, Architecture, Error, Profile, Rule};

/// What is returned to calls of architectures that the profile does not name, as libseccomp does
/// (`SCMP_FLTATR_ACT_BADARCH`).
const OTHER_ARCHITECTURE: u32 = Action::KillThread.returned(None);

/// Makes the program that does what a profile says, on a machine of architecture `native`.
///
/// The profile means what it means to runc with libseccomp; `docs/seccomp.md` says it in full.
///
/// # Errors
/// When the profile asks for what runc refuses as well: NOTIFY for all calls or for write(2), architectures of both
/// byte orders, an argument that there is not, rules that contradict each other, or more than the kernel takes.
pub fn compile(profile: &Profile<'_>, native: Architecture) -> Result<Program, Error> {
    check(profile)?;
    let default = profile.default_action.returned(profile.default_errno);
    let mut abis = abis(profile, native)?;
    let Read { rules, named, unknown } = read(profile, default);
    for abi in &mut abis {
        abi.take(&named, &rules);
    }
    let mut flags = profile.flags.iter().fold(0, |flags, flag| flags | flag.bit());
    if profile.rules.iter().any(|rule| rule.action == Action::Notify) {
        flags |= NEW_LISTENER;
    }
    let hides_newer = !profile.default_action.lets_through();
    let mut assembler = Assembler::new(native.endianness());
    let mut program = assembler.returns(OTHER_ARCHITECTURE);
    // Backwards, so that the native architecture is asked for first and lies next to the question.
    for audit in audits(&abis).into_iter().rev() {
        let ranges = ranges(&abis, audit, &named, &rules, default, hides_newer)?;
        let dispatch = Dispatch { ranges: &ranges, next: assembler.returns(default) };
        let tree = dispatch.write(&mut assembler, 0, ranges.len());
        let calls = assembler.load(OFFSET_NUMBER, tree);
        program = assembler.test(IF_EQUAL, audit, calls, program);
    }
    assembler.load(OFFSET_ARCHITECTURE, program);
    let filter = assembler.finish();
    if filter.len() > MAXIMUM_LENGTH {
        return Err(Error::TooLong { length: filter.len() });
    }
    Ok(Program { filter, flags, unknown })
}

pub(crate) fn check(profile: &Profile<'_>) -> Result<(), Error> {
    // Whoever hands the listener's descriptor on must be able to write.
    if profile.default_action == Action::Notify {
        return Err(Error::NotifyByDefault);
    }
    for (index, rule) in profile.rules.iter().enumerate() {
        if rule.action == Action::Notify && rule.names.iter().any(|name| name == "write") {
            return Err(Error::NotifyOfWrite { rule: index });
        }
        if rule.names.iter().any(String::is_empty) {
            return Err(Error::EmptyName { rule: index });
        }
        if let Some(argument) = rule.args.iter().find(|arg| arg.index > 5) {
            return Err(Error::NoSuchArgument { rule: index, argument: argument.index });
        }
    }
    Ok(())
}

/// The rules about the calls of one architecture.
pub(crate) struct Abi {
    pub(crate) architecture: Architecture,
    /// By numbers, and then in the order of the profile.
    pub(crate) entries: Vec<Entry>,
    /// The highest number of all calls that the profile names, those of ARM's own apart.
    newest: Option<u32>,
    newest_private: Option<u32>,
}

/// That a rule is about a call.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    /// The place among all that the profile names.
    pub(crate) position: u32,
}

/// A call that the profile names, and the rule in which it does.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    pub(crate) call: Syscall,
    pub(crate) rule: u32,
}

/// The native architecture and those of the profile, each once.
pub(crate) fn abis(profile: &Profile<'_>, native: Architecture) -> Result<Vec<Abi>, Error> {
    let mut abis: Vec<Abi> = Vec::with_capacity(1 + profile.architectures.len());
    for &architecture in [native].iter().chain(&profile.architectures) {
        if architecture.endianness() != native.endianness() {
            return Err(Error::ByteOrder { architecture, native });
        }
        if abis.iter().all(|abi| abi.architecture != architecture) {
            abis.push(Abi { architecture, entries: Vec::new(), newest: None, newest_private: None });
        }
    }
    Ok(abis)
}

/// What the kernel calls the architectures, each once.
fn audits(abis: &[Abi]) -> Vec<u32> {
    let mut audits = Vec::with_capacity(abis.len());
    for abi in abis {
        if !audits.contains(&abi.architecture.audit()) {
            audits.push(abi.architecture.audit());
        }
    }
    audits
}

/// A rule, worked out as far as it is the same for all calls and architectures.
pub(crate) struct Worked {
    pub(crate) action: u32,
    /// Whether it says something else than the default.
    speaks: bool,
    /// Sets of conditions, any one of which is enough; each in order of the arguments.
    pub(crate) alternatives: Vec<Vec<Condition>>,
}

/// A profile without its spelling.
pub(crate) struct Read {
    pub(crate) rules: Vec<Worked>,
    /// The calls in the order of the profile.
    pub(crate) named: Vec<Named>,
    /// The names that are no calls.
    unknown: Vec<String>,
}

pub(crate) fn read(profile: &Profile<'_>, default: u32) -> Read {
    let count = profile.rules.iter().map(|rule| rule.names.len()).sum();
    let mut read = Read { rules: Vec::new(), named: Vec::with_capacity(count), unknown: Vec::new() };
    for (index, rule) in profile.rules.iter().enumerate() {
        for name in &*rule.names {
            match Syscall::named(name) {
                Some(call) => read.named.push(Named { call, rule: index as u32 }),
                None if !read.unknown.contains(name) => read.unknown.push(name.clone()),
                None => {}
            }
        }
        let action = rule.action.returned(rule.errno);
        // A rule that says what the default says counts for what the profile knows, and for nothing else: it
        // takes nothing away from other rules of the call.
        let speaks = action != default;
        read.rules.push(Worked { action, speaks, alternatives: alternatives(rule) });
    }
    read
}

impl Abi {
    /// Takes note of the calls of the profile.
    pub(crate) fn take(&mut self, named: &[Named], rules: &[Worked]) {
        self.entries.reserve_exact(named.len());
        let multiplexers = self.architecture.multiplexers();
        for (position, Named { call, rule }) in named.iter().enumerate() {
            let multiplexed = match (multiplexers, call.multiplexed()) {
                (Some(multiplexers), Some(Multiplexed::Socketcall(_))) => Some(multiplexers.socketcall),
                (Some(multiplexers), Some(Multiplexed::Ipc(_))) => Some(multiplexers.ipc),
                _ => None,
            };
            let speaks = rules[*rule as usize].speaks;
            for number in multiplexed.into_iter().chain(call.number(self.architecture)) {
                let newest =
                    if self.is_private(number) { &mut self.newest_private } else { &mut self.newest };
                *newest = (*newest).max(Some(number));
                if speaks {
                    self.entries.push(Entry { number, position: position as u32 });
                }
            }
        }
        // By one number, which is a good deal faster than by two.
        self.entries.sort_unstable_by_key(|entry| u64::from(entry.number) << 32 | u64::from(entry.position));
    }

    /// What the first argument of a multiplexer must be so that the call is meant; 0 for a call of its own.
    pub(crate) fn selector(&self, call: Syscall, number: u32) -> u32 {
        match call.multiplexed() {
            Some(Multiplexed::Socketcall(selector) | Multiplexed::Ipc(selector))
                if call.number(self.architecture) != Some(number) =>
            {
                selector
            }
            _ => 0,
        }
    }

    /// The highest number that the profile names where `number` is.
    pub(crate) const fn newest_of(&self, number: u32) -> Option<u32> {
        match self.newest_private {
            Some(newest) if self.is_private(number) => Some(newest),
            _ => self.newest,
        }
    }

    const fn is_private(&self, number: u32) -> bool {
        matches!(self.architecture, Architecture::Arm) && number >= ARM_PRIVATE
    }
}

fn alternatives(rule: &Rule<'_>) -> Vec<Vec<Condition>> {
    let mut conditions: Vec<Condition> = rule.args.iter().map(condition).collect();
    let shares = |one: usize, other: &Condition| {
        conditions[..one].iter().any(|condition| condition.argument == other.argument)
    };
    if conditions.iter().enumerate().any(|(index, condition)| shares(index, condition)) {
        return conditions.into_iter().map(|condition| vec![condition]).collect();
    }
    conditions.sort_unstable_by_key(|condition| condition.argument);
    vec![conditions]
}

fn condition(arg: &crate::Arg) -> Condition {
    let (mask, value) = match arg.op {
        Operator::MaskedEqual => (arg.value, arg.value_two),
        _ => (u64::MAX, arg.value),
    };
    Condition { argument: arg.index as u8, operator: arg.op, mask, value }
}

/// What happens to a call, or to a range of them.
#[derive(Clone, PartialEq, Eq)]
enum Outcome {
    Return(u32),
    /// It depends on the arguments; the default where no node decides.
    Tests(Vec<Node>),
}

/// Numbers from `start` to the start of the next range.
struct Range {
    start: u32,
    outcome: Outcome,
    /// How many calls of the profile are in it: such calls are more frequent than those that it does not know.
    weight: usize,
}

/// What happens to all numbers of one architecture as the kernel tells them.
fn ranges(
    abis: &[Abi],
    audit: u32,
    named: &[Named],
    rules: &[Worked],
    default: u32,
    hides_newer: bool,
) -> Result<Vec<Range>, Error> {
    let mut ranges = Ranges { list: Vec::with_capacity(128), named, rules, default };
    let of = |architecture| abis.iter().find(|abi| abi.architecture == architecture);
    if audit == Architecture::X32.audit() {
        match of(Architecture::X86_64) {
            Some(abi) => ranges.section(abi, 0, abi.newest, hides_newer)?,
            None => ranges.set(0, Outcome::Return(OTHER_ARCHITECTURE), 0),
        }
        if let Some(abi) = of(Architecture::X32) {
            ranges.section(abi, X32_BIT, abi.newest, hides_newer)?;
        } else {
            ranges.set(X32_BIT, Outcome::Return(OTHER_ARCHITECTURE), 0);
            // The number by which a tracer skips a call (seccomp(2)) belongs to no ABI.
            ranges.set(u32::MAX, Outcome::Return(default), 0);
        }
        return Ok(ranges.list);
    }
    for abi in abis.iter().filter(|abi| abi.architecture.audit() == audit) {
        ranges.section(abi, 0, abi.newest, hides_newer)?;
        if abi.newest_private.is_some() {
            ranges.section(abi, ARM_PRIVATE, abi.newest_private, hides_newer)?;
        }
    }
    Ok(ranges.list)
}

struct Ranges<'a> {
    list: Vec<Range>,
    named: &'a [Named],
    rules: &'a [Worked],
    default: u32,
}

impl Ranges<'_> {
    /// The numbers from `start` on, up to where the next section begins.
    fn section(
        &mut self,
        abi: &Abi,
        start: u32,
        newest: Option<u32>,
        hides_newer: bool,
    ) -> Result<(), Error> {
        self.set(start, Outcome::Return(self.default), 0);
        // Of a profile that only knows the call 0, runc does not think that all others are newer.
        let newest = newest.filter(|number| hides_newer && *number != 0);
        let enosys = Outcome::Return(Action::Errno.returned(Some(u32::from(abi.architecture.enosys()))));
        if newest.is_some() && matches!(abi.architecture, Architecture::S390 | Architecture::S390x) {
            // The kernel shows a number that it does not know, passed in a register, as 0, once setup(2).
            self.set(0, enosys.clone(), 0);
            self.set(1, Outcome::Return(self.default), 0);
        }
        let inside = |entry: &&[Entry]| {
            let number = entry[0].number;
            number >= start && (abi.is_private(number) == abi.is_private(start))
        };
        let mut gap = None;
        for entries in abi.entries.chunk_by(|one, other| one.number == other.number).filter(inside) {
            let number = entries[0].number;
            let outcome = self.outcome(entries, abi)?;
            if let Some(gap) = gap.filter(|gap| *gap < number) {
                self.set(gap, Outcome::Return(self.default), 0);
            }
            self.set(number, outcome, 1);
            gap = Some(number + 1);
        }
        if let Some(gap) = gap {
            self.set(gap, Outcome::Return(self.default), 0);
        }
        if let Some(newest) = newest {
            self.set(newest + 1, enosys, 0);
        }
        Ok(())
    }

    /// What the rules about one call come to.
    fn outcome(&self, entries: &[Entry], abi: &Abi) -> Result<Outcome, Error> {
        let wide = abi.architecture.has_64_bit_arguments();
        let mut wishes: Vec<Wish> = Vec::new();
        for entry in entries {
            let Named { call, rule } = self.named[entry.position as usize];
            let Worked { action, alternatives, .. } = &self.rules[rule as usize];
            let selector = abi.selector(call, entry.number);
            for alternative in alternatives {
                let conditions = asked(alternative, selector, wide);
                if conditions.is_empty() {
                    // The first rule that asks nothing stands above all others.
                    return Ok(Outcome::Return(*action));
                }
                let wish = Wish { conditions, action: *action, rule };
                if !wishes.iter().any(|other| other.covers(&wish)) {
                    wishes.retain(|other| !wish.covers(other));
                    wishes.push(wish);
                }
            }
        }
        let mut nodes = Vec::new();
        for wish in wishes {
            add(&mut nodes, &wish.conditions, wide, wish.action).map_err(|Conflict| {
                let call = Syscall::numbered(entries[0].number, abi.architecture).map_or("", Syscall::name);
                Error::Contradiction { rule: wish.rule as usize, call, architecture: abi.architecture }
            })?;
        }
        Ok(Outcome::Tests(nodes))
    }

    /// Says what happens from a number on, which is not below those before.
    fn set(&mut self, start: u32, outcome: Outcome, weight: usize) {
        if self.list.last().is_some_and(|last| last.start == start) {
            self.list.pop();
        }
        match self.list.last_mut() {
            Some(last) if last.outcome == outcome => last.weight += weight,
            _ => self.list.push(Range { start, outcome, weight }),
        }
    }
}

/// What a rule wants for one call, under conditions.
struct Wish {
    conditions: Vec<Condition>,
    action: u32,
    rule: u32,
}

impl Wish {
    /// Whether it wants the same for all that the other is about.
    fn covers(&self, other: &Self) -> bool {
        self.action == other.action
            && self.conditions.iter().all(|condition| other.conditions.contains(condition))
    }
}

/// The conditions of a rule as they can be asked of a call.
pub(crate) fn asked(conditions: &[Condition], selector: u32, wide: bool) -> Vec<Condition> {
    let selects = (selector != 0).then_some(Condition {
        argument: 0,
        operator: Operator::Equal,
        mask: u64::MAX,
        value: u64::from(selector),
    });
    // A multiplexer has its call in the first argument, and the call's arguments in memory, where no filter can
    // look. libseccomp compares what the other registers have all the same, and so do we.
    let kept = conditions.iter().filter(|condition| selector == 0 || condition.argument != 0);
    let conditions = selects.into_iter().chain(kept.copied());
    let conditions = conditions.map(|condition| if wide { condition } else { condition.narrowed() });
    conditions.filter(|condition| !condition.always_holds()).collect()
}

/// The search for the range that a number is in.
struct Dispatch<'a> {
    ranges: &'a [Range],
    /// Where a call goes of which no test decides.
    next: Label,
}

impl Dispatch<'_> {
    /// The search among some ranges, with the number in the accumulator.
    fn write(&self, assembler: &mut Assembler, from: usize, to: usize) -> Label {
        let ranges = &self.ranges[from..to];
        match ranges {
            [range] => self.outcome(assembler, &range.outcome),
            // One number among others that all fare alike.
            [around, one, after] if around.outcome == after.outcome && one.start + 1 == after.start => {
                let no = self.outcome(assembler, &around.outcome);
                let yes = self.outcome(assembler, &one.outcome);
                assembler.test(IF_EQUAL, one.start, yes, no)
            }
            _ => {
                let middle = from + middle(ranges);
                let above = self.write(assembler, middle, to);
                let below = self.write(assembler, from, middle);
                assembler.test(IF_GREATER_OR_EQUAL, self.ranges[middle].start, above, below)
            }
        }
    }

    fn outcome(&self, assembler: &mut Assembler, outcome: &Outcome) -> Label {
        match outcome {
            Outcome::Return(returned) => assembler.returns(*returned),
            Outcome::Tests(nodes) => assembler.nodes(nodes, self.next),
        }
    }
}

/// Where to part ranges so that both sides weigh about the same.
fn middle(ranges: &[Range]) -> usize {
    // Each range weighs something, so that no search gets long.
    let weight = |range: &Range| 1 + range.weight;
    let whole: usize = ranges.iter().map(weight).sum();
    let mut below = 0;
    let mut best = (usize::MAX, 1);
    for (index, range) in ranges.iter().enumerate().take(ranges.len() - 1) {
        below += weight(range);
        best = best.min((whole.abs_diff(2 * below), index + 1));
    }
    best.1
}

#[cfg(test)]
mod tests;
