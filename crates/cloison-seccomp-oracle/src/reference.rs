//! libseccomp, used as runc uses it.

use std::io::{Read as _, Seek as _};

use cloison_seccomp::{
    Action, Architecture, Arg, Call, Endianness, Operator, Profile, SockFilter, Syscall, Verdict, interpret,
};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

/// A filter of libseccomp, and what runc puts in front of it.
#[derive(Debug)]
pub struct Reference {
    filter: Vec<SockFilter>,
    endianness: Endianness,
    newest: Vec<(Architecture, u32)>,
}

impl Reference {
    /// Compiles a profile that names only what libseccomp knows as well.
    ///
    /// # Errors
    /// What libseccomp says, and runc with it.
    pub fn compile(profile: &Profile<'_>, native: Architecture) -> Result<Self, SeccompError> {
        let default = profile.default_action.returned(profile.default_errno);
        let mut context = ScmpFilterContext::new(action(profile.default_action, profile.default_errno))?;
        // A context has the architecture of this machine at first; there need not be room for others beside it.
        context.remove_arch(ScmpArch::Native)?;
        for architecture in architectures(profile, native) {
            context.add_arch(token(architecture))?;
        }
        context.set_ctl_optimize(2)?;
        for rule in &profile.rules {
            if rule.action.returned(rule.errno) == default {
                continue;
            }
            let action = action(rule.action, rule.errno);
            for name in &*rule.names {
                let Ok(call) = ScmpSyscall::from_name(name) else { continue };
                add(&mut context, call, action, &rule.args)?;
            }
        }
        let filter = export(&context, native.endianness())?;
        Ok(Self { filter, endianness: native.endianness(), newest: newest(profile, native) })
    }

    /// What libseccomp's program says of a call.
    ///
    /// # Panics
    /// When libseccomp has written what no kernel would take.
    pub fn verdict(&self, call: &Call) -> Verdict {
        interpret(&self.filter, call, self.endianness).expect("a valid program")
    }

    /// Whether runc, before it asks libseccomp's program, takes a call for newer than the profile.
    pub fn hides(&self, call: &Call, abi: Architecture) -> bool {
        let newest = self.newest.iter().find(|(architecture, _)| *architecture == abi);
        let multiplexes = matches!(abi, Architecture::S390 | Architecture::S390x);
        let skipped = abi == Architecture::X86_64 && call.number == u32::MAX;
        newest.is_some_and(|(_, newest)| call.number > *newest || (multiplexes && call.number == 0))
            && !skipped
    }

    /// The instructions of libseccomp's part.
    pub fn filter(&self) -> &[SockFilter] {
        &self.filter
    }
}

fn add(
    context: &mut ScmpFilterContext,
    call: ScmpSyscall,
    action: ScmpAction,
    args: &[Arg],
) -> Result<(), SeccompError> {
    let conditions: Vec<ScmpArgCompare> = args.iter().map(condition).collect();
    let twice = args
        .iter()
        .enumerate()
        .any(|(index, arg)| args[..index].iter().any(|other| other.index == arg.index));
    if conditions.is_empty() {
        context.add_rule(action, call)?;
    } else if twice {
        for condition in conditions {
            context.add_rule_conditional(action, call, &[condition])?;
        }
    } else {
        context.add_rule_conditional(action, call, &conditions)?;
    }
    Ok(())
}

fn condition(arg: &Arg) -> ScmpArgCompare {
    let (operator, datum) = match arg.op {
        Operator::NotEqual => (ScmpCompareOp::NotEqual, arg.value),
        Operator::Less => (ScmpCompareOp::Less, arg.value),
        Operator::LessOrEqual => (ScmpCompareOp::LessOrEqual, arg.value),
        Operator::Equal => (ScmpCompareOp::Equal, arg.value),
        Operator::GreaterOrEqual => (ScmpCompareOp::GreaterEqual, arg.value),
        Operator::Greater => (ScmpCompareOp::Greater, arg.value),
        Operator::MaskedEqual => (ScmpCompareOp::MaskedEqual(arg.value), arg.value_two),
    };
    ScmpArgCompare::new(arg.index, operator, datum)
}

fn action(action: Action, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(1) as u16;
    match action {
        Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno => ScmpAction::Errno(errno.into()),
        Action::Trace => ScmpAction::Trace(errno),
        Action::Allow => ScmpAction::Allow,
        Action::Log => ScmpAction::Log,
        Action::Notify => ScmpAction::Notify,
    }
}

fn export(context: &ScmpFilterContext, endianness: Endianness) -> Result<Vec<SockFilter>, SeccompError> {
    let mut file = tempfile::tempfile().expect("a file for the program");
    context.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("the program in the file");
    let instruction = |bytes: &[u8]| {
        let (code, k) = ([bytes[0], bytes[1]], [bytes[4], bytes[5], bytes[6], bytes[7]]);
        let (code, k) = match endianness {
            Endianness::Little => (u16::from_le_bytes(code), u32::from_le_bytes(k)),
            Endianness::Big => (u16::from_be_bytes(code), u32::from_be_bytes(k)),
        };
        SockFilter { code, jt: bytes[2], jf: bytes[3], k: if code == RETURN { returned(k) } else { k } }
    };
    Ok(bytes.chunks_exact(8).map(instruction).collect())
}

/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// Where libseccomp repeats a return that is too far away, in a filter for the other byte order than this machine's,
/// it swaps the bytes once too often. That is no difference on machines of that byte order.
fn returned(k: u32) -> u32 {
    let is_action = |k: u32| {
        let actions = [0x8000, 0x0000, 0x0003, 0x0005, 0x7fc0, 0x7ff0, 0x7ffc, 0x7fff];
        actions.contains(&(k >> 16)) && (matches!(k >> 16, 0x0005 | 0x7ff0) || (k as u16) == 0)
    };
    if is_action(k) { k } else { k.swap_bytes() }
}

fn architectures(profile: &Profile<'_>, native: Architecture) -> Vec<Architecture> {
    let mut all = vec![native];
    for architecture in &profile.architectures {
        if !all.contains(architecture) {
            all.push(*architecture);
        }
    }
    all
}

/// What runc's -ENOSYS stub compares with.
fn newest(profile: &Profile<'_>, native: Architecture) -> Vec<(Architecture, u32)> {
    if matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace) {
        return Vec::new();
    }
    let names: Vec<&String> = profile.rules.iter().flat_map(|rule| &*rule.names).collect();
    let newest = |architecture| {
        let numbers = names.iter().filter_map(|name| number(name, architecture));
        numbers.max().filter(|number| *number > 0).map(|number| (architecture, number))
    };
    architectures(profile, native).into_iter().filter_map(newest).collect()
}

/// The number that libseccomp has for a name. Those below 0, which stand for calls that an architecture lacks or has
/// only through another one, are left out.
pub fn number(name: &str, architecture: Architecture) -> Option<u32> {
    let call = ScmpSyscall::from_name_by_arch(name, token(architecture)).ok()?;
    u32::try_from(i32::from(call)).ok()
}

/// Whether libseccomp is new enough for an architecture.
pub fn knows(architecture: Architecture) -> bool {
    ScmpSyscall::from_name_by_arch("read", token(architecture)).is_ok()
}

/// Whether libseccomp has the same numbers as we for a call on these architectures, so that it can be compared.
/// Calls that an older libseccomp does not know yet are the ones that it cannot.
pub fn known_alike(call: Syscall, architectures: &[Architecture]) -> bool {
    ScmpSyscall::from_name(call.name()).is_ok()
        && architectures.iter().all(|architecture| {
            let theirs = ScmpSyscall::from_name_by_arch(call.name(), token(*architecture)).map(i32::from);
            match (call.number(*architecture), theirs) {
                (Some(ours), Ok(theirs)) if theirs >= 0 => ours == theirs.cast_unsigned(),
                // Multiplexed calls have such a number though they may have one of their own as well.
                (_, Ok(-300..=-1)) => true,
                (None, Ok(theirs)) => theirs < 0,
                (Some(_), Ok(_)) | (_, Err(_)) => false,
            }
        })
}

fn token(architecture: Architecture) -> ScmpArch {
    match architecture {
        Architecture::X86 => ScmpArch::X86,
        Architecture::X86_64 => ScmpArch::X8664,
        Architecture::X32 => ScmpArch::X32,
        Architecture::Arm => ScmpArch::Arm,
        Architecture::Aarch64 => ScmpArch::Aarch64,
        Architecture::Loongarch64 => ScmpArch::Loongarch64,
        Architecture::M68k => ScmpArch::M68k,
        Architecture::Mips => ScmpArch::Mips,
        Architecture::Mips64 => ScmpArch::Mips64,
        Architecture::Mips64n32 => ScmpArch::Mips64N32,
        Architecture::Mipsel => ScmpArch::Mipsel,
        Architecture::Mipsel64 => ScmpArch::Mipsel64,
        Architecture::Mipsel64n32 => ScmpArch::Mipsel64N32,
        Architecture::Ppc => ScmpArch::Ppc,
        Architecture::Ppc64 => ScmpArch::Ppc64,
        Architecture::Ppc64le => ScmpArch::Ppc64Le,
        Architecture::S390 => ScmpArch::S390,
        Architecture::S390x => ScmpArch::S390X,
        Architecture::Sh => ScmpArch::Sh,
        Architecture::Sheb => ScmpArch::Sheb,
        Architecture::Parisc => ScmpArch::Parisc,
        Architecture::Parisc64 => ScmpArch::Parisc64,
        Architecture::Riscv64 => ScmpArch::Riscv64,
    }
}
