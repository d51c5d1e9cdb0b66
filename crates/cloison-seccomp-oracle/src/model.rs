//! What a profile means, in the plainest words: every rule is asked of every call. Nothing here is shared with the
//! compiler but the numbers of the calls.

use std::collections::{BTreeMap, BTreeSet};

use cloison_seccomp::{Action, Architecture, Arg, Call, Operator, Profile, Rule, Syscall};

/// What a filter has to return for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// This.
    Exactly(u32),
    /// One of these: rules that want different things all hold for the call.
    OneOf(Vec<u32>),
}

fn abi_of(call: &Call, profile: &Profile<'_>, native: Architecture) -> Option<Architecture> {
    let is = |architecture: &Architecture| {
        let x32 = call.number & 0x4000_0000 != 0;
        architecture.audit() == call.architecture
            && match architecture {
                // A tracer's number for skipping a call is of no ABI, but x32's where there is that.
                Architecture::X86_64 if call.number == u32::MAX => {
                    !profile.architectures.contains(&Architecture::X32)
                }
                Architecture::X86_64 => !x32 && call.number < 0x4000_0000,
                Architecture::X32 => call.number >= 0x4000_0000,
                _ => true,
            }
    };
    [native].iter().chain(&profile.architectures).copied().find(is)
}

/// A profile, with its rules by the number of the call.
pub struct Model<'a> {
    profile: &'a Profile<'a>,
    native: Architecture,
    abis: Vec<Abi>,
}

struct Abi {
    architecture: Architecture,
    rules: BTreeMap<u32, Vec<Wish>>,
    newest: Option<u32>,
    newest_private: Option<u32>,
}

/// What a rule wants for a call, and under which conditions.
struct Wish {
    action: u32,
    args: Vec<Arg>,
}

impl<'a> Model<'a> {
    /// Sorts the rules.
    pub fn new(profile: &'a Profile, native: Architecture) -> Self {
        let architectures: BTreeSet<Architecture> =
            [native].iter().chain(&profile.architectures).copied().collect();
        let abis = architectures.into_iter().map(|architecture| Abi::new(profile, architecture)).collect();
        Self { profile, native, abis }
    }

    /// The ABI that a call is made by, if it is one of the filter's.
    pub fn abi_of(&self, call: &Call) -> Option<Architecture> {
        abi_of(call, self.profile, self.native)
    }

    /// What the filter returns.
    pub fn meaning(&self, call: &Call) -> Meaning {
        let Some(abi) = self.abi_of(call) else {
            return Meaning::Exactly(Action::KillThread.returned(None));
        };
        if self.is_newer(call) {
            let enosys = match abi.audit() & 0xff {
                0x08 => 89,
                0x0f => 251,
                _ => 38,
            };
            return Meaning::Exactly(Action::Errno.returned(Some(enosys)));
        }
        let wishes = self.wishes(call);
        if let Some(wish) = wishes.iter().find(|wish| wish.args.iter().all(|arg| is_trivial(arg, abi))) {
            // The first rule without conditions stands above all others.
            return Meaning::Exactly(wish.action);
        }
        let holds = |wish: &&Wish| wish.args.iter().all(|arg| holds(arg, abi, call));
        let mut wanted: Vec<u32> = wishes.iter().filter(holds).map(|wish| wish.action).collect();
        wanted.sort_unstable();
        wanted.dedup();
        match wanted.as_slice() {
            [] => Meaning::Exactly(self.profile.default_action.returned(self.profile.default_errno)),
            [one] => Meaning::Exactly(*one),
            _ => Meaning::OneOf(wanted),
        }
    }

    /// Whether the profile names no call with that number or a higher one, so that the call is answered as by a kernel
    /// that does not have it.
    pub fn is_newer(&self, call: &Call) -> bool {
        let Some(abi) = self.abi(call) else { return false };
        let skipped = abi.architecture == Architecture::X86_64 && call.number == u32::MAX;
        if skipped || matches!(self.profile.default_action, Action::Allow | Action::Log | Action::Trace) {
            return false;
        }
        let newest = match abi.newest_private {
            Some(newest) if call.number >= ARM_PRIVATE => Some(newest),
            _ => abi.newest.filter(|newest| *newest > 0),
        };
        let zero = matches!(abi.architecture, Architecture::S390 | Architecture::S390x) && call.number == 0;
        newest.is_some_and(|newest| zero || call.number > newest)
    }

    /// The conditions of each rule about a call.
    pub fn conditions(&self, call: &Call) -> Vec<&[Arg]> {
        self.wishes(call).iter().map(|wish| wish.args.as_slice()).collect()
    }

    /// The conditions of each rule, for each call of each ABI that rules are about.
    pub fn all_conditions(&self) -> impl Iterator<Item = Vec<&[Arg]>> {
        let calls = self.abis.iter().flat_map(|abi| abi.rules.values());
        calls.map(|wishes| wishes.iter().map(|wish| wish.args.as_slice()).collect())
    }

    fn wishes(&self, call: &Call) -> &[Wish] {
        self.abi(call).and_then(|abi| abi.rules.get(&call.number)).map_or(&[], Vec::as_slice)
    }

    fn abi(&self, call: &Call) -> Option<&Abi> {
        let architecture = self.abi_of(call)?;
        self.abis.iter().find(|abi| abi.architecture == architecture)
    }
}

/// `__ARM_NR_BASE`.
const ARM_PRIVATE: u32 = 0x000f_0000;

impl Abi {
    fn new(profile: &Profile<'_>, architecture: Architecture) -> Self {
        let default = profile.default_action.returned(profile.default_errno);
        let mut abi = Self { architecture, rules: BTreeMap::new(), newest: None, newest_private: None };
        for rule in &profile.rules {
            let action = rule.action.returned(rule.errno);
            for (number, selector) in rule.names.iter().flat_map(|name| numbers(name, architecture)) {
                let private = architecture == Architecture::Arm && number >= ARM_PRIVATE;
                let newest = if private { &mut abi.newest_private } else { &mut abi.newest };
                *newest = (*newest).max(Some(number));
                if action != default {
                    let asked = alternatives(rule).into_iter().map(|args| asked(args, selector));
                    abi.rules.entry(number).or_default().extend(asked.map(|args| Wish { action, args }));
                }
            }
        }
        abi
    }
}

/// The numbers of a call, each with what the first argument must be if it is the number of a multiplexer.
fn numbers(name: &str, abi: Architecture) -> Vec<(u32, Option<u64>)> {
    let own = Syscall::named(name).and_then(|call| call.number(abi)).map(|number| (number, None));
    let multiplexer = |name: &str| Syscall::named(name).and_then(|call| call.number(abi));
    let through = match abi {
        Architecture::X86
        | Architecture::M68k
        | Architecture::Mips
        | Architecture::Mipsel
        | Architecture::Ppc
        | Architecture::Ppc64
        | Architecture::Ppc64le
        | Architecture::S390
        | Architecture::S390x
        | Architecture::Sh
        | Architecture::Sheb => match (SOCKET.iter().position(|known| *known == name), ipc(name)) {
            (Some(index), _) => multiplexer("socketcall").map(|number| (number, Some(index as u64 + 1))),
            (_, Some(selector)) => multiplexer("ipc").map(|number| (number, Some(selector))),
            _ => None,
        },
        _ => None,
    };
    own.into_iter().chain(through).collect()
}

/// In the order of socketcall(2).
const SOCKET: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

fn ipc(name: &str) -> Option<u64> {
    let groups = [
        (1, ["semop", "semget", "semctl", "semtimedop"]),
        (11, ["msgsnd", "msgrcv", "msgget", "msgctl"]),
        (21, ["shmat", "shmdt", "shmget", "shmctl"]),
    ];
    groups
        .iter()
        .find_map(|(first, names)| Some(first + names.iter().position(|known| *known == name)? as u64))
}

fn alternatives(rule: &Rule) -> Vec<Vec<Arg>> {
    let mut indices: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
    indices.sort_unstable();
    indices.dedup();
    if indices.len() == rule.args.len() {
        vec![rule.args.clone()]
    } else {
        rule.args.iter().map(|arg| vec![*arg]).collect()
    }
}

/// The conditions of a rule as they are asked of a call of its own, or of a multiplexer.
fn asked(args: Vec<Arg>, selector: Option<u64>) -> Vec<Arg> {
    let Some(value) = selector else { return args };
    let selects = Arg { index: 0, value, value_two: 0, op: Operator::Equal };
    [selects].into_iter().chain(args.into_iter().filter(|arg| arg.index != 0)).collect()
}

fn narrow(value: u64, abi: Architecture) -> u64 {
    if abi.has_64_bit_arguments() { value } else { value & 0xffff_ffff }
}

fn is_trivial(arg: &Arg, abi: Architecture) -> bool {
    arg.op == Operator::MaskedEqual && narrow(arg.value, abi) == 0
}

fn holds(arg: &Arg, abi: Architecture, call: &Call) -> bool {
    let is = narrow(call.arguments[arg.index as usize], abi);
    let (value, value_two) = (narrow(arg.value, abi), narrow(arg.value_two, abi));
    match arg.op {
        Operator::NotEqual => is != value,
        Operator::Less => is < value,
        Operator::LessOrEqual => is <= value,
        Operator::Equal => is == value,
        Operator::GreaterOrEqual => is >= value,
        Operator::Greater => is > value,
        Operator::MaskedEqual => is & value == value_two & value,
    }
}
