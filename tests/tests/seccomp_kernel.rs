//! What the kernel does with filters: calls are made, and answered as the filter says.
//!
//! So that nothing is done by them, whatever a profile allows is given an errno that no kernel has.

use std::fmt::Write as _;
use std::process::Command;

use cloison_seccomp::{
    Action, Architecture, Arg, Call, Endianness, Operator, Profile, Rule, compile, interpret,
};
use cloison_tests::engines::{ENGINES, profile};
use cloison_tests::{Kind, Rootfs, Sandbox, Value, json, runtime, skip_unless};

/// Stands for "allowed".
const ALLOWED: u32 = 3333;

/// The calls that a container of ours cannot do without, and the probe with it.
const NEEDED: [&str; 3] = ["execve", "exit_group", "write"];

/// What `runc` needs besides, after it has loaded the filter.
const NEEDED_BY_RUNC: [&str; 34] = [
    "clock_nanosleep",
    "close",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getdents64",
    "getcwd",
    "getrandom",
    "getpid",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "openat2",
    "prctl",
    "read",
    "readlinkat",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sigaltstack",
    "tgkill",
    "statx",
];

/// `uretprobe` and `uprobe`, which recent kernels let through whatever a filter says (Linux 6.14, 6.18): they are called by what the
/// kernel itself has put into a program, and kill any other caller.
const UNFILTERED: [u32; 2] = [335, 336];

/// First arguments around what the profiles compare with.
const ARGUMENTS: [u64; 16] = [
    0,
    1,
    2,
    8,
    16,
    37,
    38,
    39,
    40,
    41,
    0x2_0000,
    0x2_0008,
    0x1000_0000,
    0x7e02_0000,
    0xffff_ffff,
    0x1_0000_0008,
];

/// The profile, with an errno instead of what it allows, and with what is needed.
fn harmless(mut profile: Value) -> Value {
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    for rule in &mut *rules {
        if rule["action"] == "SCMP_ACT_ALLOW" {
            rule["action"] = "SCMP_ACT_ERRNO".into();
            rule["errnoRet"] = ALLOWED.into();
        }
    }
    let mut needed = NEEDED.to_vec();
    if runtime::kind() == Kind::Runc {
        needed.extend(NEEDED_BY_RUNC);
    }
    rules.insert(0, json!({"names": needed, "action": "SCMP_ACT_ALLOW"}));
    profile
}

/// One rule for each operator, with values of more than 32 bits.
fn operators() -> Value {
    let names = ["lseek", "mremap", "msync", "mincore", "shmget", "dup2", "alarm"];
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let rules = names.iter().zip(operators).enumerate().map(|(index, (name, operator))| {
        let args = json!([{"index": 0, "value": 0x1_0000_0008_u64, "valueTwo": 8, "op": format!("SCMP_CMP_{operator}")}]);
        json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 3000 + index, "args": args})
    });
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 77,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": rules.collect::<Vec<_>>(),
    })
}

/// The profile for our compiler.
fn parsed(profile: &Value) -> Profile<'static> {
    let number = |value: &Value| value.as_u64().map(|number| u32::try_from(number).expect("it is small"));
    let action = |value: &Value| match value.as_str() {
        Some("SCMP_ACT_ERRNO") => Action::Errno,
        Some("SCMP_ACT_ALLOW") => Action::Allow,
        other => panic!("{other:?}"),
    };
    let operator = |value: &Value| match value.as_str() {
        Some("SCMP_CMP_NE") => Operator::NotEqual,
        Some("SCMP_CMP_LT") => Operator::Less,
        Some("SCMP_CMP_LE") => Operator::LessOrEqual,
        Some("SCMP_CMP_EQ") => Operator::Equal,
        Some("SCMP_CMP_GE") => Operator::GreaterOrEqual,
        Some("SCMP_CMP_GT") => Operator::Greater,
        Some("SCMP_CMP_MASKED_EQ") => Operator::MaskedEqual,
        other => panic!("{other:?}"),
    };
    let arg = |arg: &Value| Arg {
        index: number(&arg["index"]).expect("an index"),
        value: arg["value"].as_u64().expect("a value"),
        value_two: arg["valueTwo"].as_u64().unwrap_or(0),
        op: operator(&arg["op"]),
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rule = |rule: &Value| Rule {
        names: list(&rule["names"]).iter().map(text).collect::<Vec<_>>().into(),
        action: action(&rule["action"]),
        errno: number(&rule["errnoRet"]),
        args: list(&rule["args"]).iter().map(arg).collect(),
    };
    let architectures = list(&profile["architectures"]);
    Profile {
        default_action: action(&profile["defaultAction"]),
        default_errno: number(&profile["defaultErrnoRet"]),
        architectures: architectures
            .iter()
            .map(|name| Architecture::named(&text(name)).expect("an architecture"))
            .collect(),
        flags: Vec::new(),
        rules: list(&profile["syscalls"]).iter().map(rule).collect(),
    }
}

/// Calls, and the errno that the filter gives each of them.
fn expected(profile: &Value, architecture: Architecture) -> Vec<(u32, u64, u32)> {
    let parsed = parsed(profile);
    let program = compile(&parsed, Architecture::X86_64).expect("a good profile");
    let mut numbers: Vec<u32> = (0..600).collect();
    if architecture == Architecture::X86_64 {
        numbers.retain(|number| !UNFILTERED.contains(number));
    }
    if architecture == Architecture::X86_64 && parsed.architectures.contains(&Architecture::X32) {
        numbers.extend(0x4000_0000..0x4000_0258);
    }
    if runtime::kind() == Kind::Runc {
        // Its libseccomp may not know newer calls, though the profile names them.
        numbers.retain(|number| number & 0xffff < 440 && !UNFILTERED.contains(&(number & 0xffff)));
    }
    let mut calls = Vec::new();
    for number in numbers {
        for argument in ARGUMENTS {
            let wide = architecture == Architecture::X86_64;
            let argument = if wide { argument } else { argument & 0xffff_ffff };
            let call = Call {
                number,
                architecture: architecture.audit(),
                instruction_pointer: 0,
                arguments: [argument, 0, 0, 0, 0, 0],
            };
            let verdict = interpret(&program.filter, &call, Endianness::Little).expect("a valid program");
            if verdict.returned >> 16 == 5 {
                calls.push((number, argument, verdict.returned & 0xffff));
            } else {
                assert_eq!(verdict.returned, Action::Allow.returned(None), "{call:x?}");
            }
        }
    }
    calls
}

/// A program without a library that makes the calls, and prints the errno of each as four digits.
fn source(calls: &[(u32, u64, u32)], instruction: &str) -> String {
    let mut table = String::new();
    for (number, argument, _) in calls {
        let _ = write!(table, "{{{number}u,{argument}ul}},");
    }
    format!(
        r#"
struct call {{ unsigned long number, argument; }};
static const struct call calls[] = {{ {table} }};
static long native(long n, long a, long b, long c) {{
    long r;
    asm volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}}
static long tried(long n, long a) {{
    long r;
    register long r10 asm("r10") = 0, r8 asm("r8") = 0, r9 asm("r9") = 0;
    {instruction}
    return r;
}}
static char text[5 * sizeof calls / sizeof *calls];
void _start(void) {{
    unsigned long count = sizeof calls / sizeof *calls, at = 0;
    for (unsigned long i = 0; i < count; i++) {{
        int error = (int)-tried(calls[i].number, calls[i].argument);
        for (int digit = 1000; digit; digit /= 10) text[at++] = '0' + error / digit % 10;
        text[at++] = '\n';
    }}
    for (unsigned long done = 0; done < at;) {{
        long n = native(1, 1, (long)text + done, at - done);
        if (n <= 0) break;
        done += n;
    }}
    native(231, 0, 0, 0);
}}
"#
    )
}

const NATIVE: &str = r#"asm volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(0l), "d"(0l), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");"#;

/// The way of 32-bit programs; the instruction clears some registers.
const COMPATIBLE: &str = r#"asm volatile("push %%rbx; mov %%rdi, %%rbx; int $0x80; pop %%rbx; movslq %%eax, %%rax" : "=a"(r), "+r"(r10), "+r"(r8), "+r"(r9) : "0"(n), "D"(a), "S"(0l), "d"(0l), "c"(0l) : "r11", "memory");"#;

fn calls_are_answered(profile: Value, architecture: Architecture, instruction: &str) -> usize {
    let sandbox = Sandbox::new();
    let profile = harmless(profile);
    let calls = expected(&profile, architecture);
    let code = sandbox.file("probe.c", source(&calls, instruction));
    let probe = sandbox.dir().join("probe");
    let flags =
        ["-O1", "-static", "-nostdlib", "-mno-red-zone", "-fno-stack-protector", "-ffreestanding", "-o"];
    let built = Command::new("gcc").args(flags).arg(&probe).arg(code).status().expect("gcc runs");
    assert!(built.success(), "gcc: {built}");
    let copied = probe.clone();
    let rootfs = Rootfs::busybox().with(move |root| {
        std::fs::copy(copied, root.join("bin/probe")).expect("the probe is copied");
    });
    let output = sandbox.bundle(rootfs).args(["/bin/probe"]).set("/linux/seccomp", profile).run();
    let answers: Vec<u32> = output.ok().lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(answers.len(), calls.len());
    for ((number, argument, errno), answer) in calls.iter().zip(answers) {
        assert_eq!(answer, *errno, "{architecture:?} {number}({argument:#x})");
    }
    calls.len()
}

/// Whether the kernel takes the calls of 32-bit programs.
fn runs_32_bit_calls() -> bool {
    std::fs::read_to_string("/proc/cmdline").is_ok_and(|line| !line.contains("ia32_emulation=0"))
        && std::path::Path::new("/proc/sys/abi/vsyscall32").exists()
}

#[test]
fn the_kernel_answers_calls_as_the_engines_profiles_say() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    for (engine, json) in ENGINES {
        let calls = calls_are_answered(profile(json), Architecture::X86_64, NATIVE);
        println!("{engine}: {calls} calls of x86-64 and x32");
    }
}

#[test]
fn the_kernel_answers_32_bit_calls_as_the_engines_profiles_say() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    skip_unless!(runs_32_bit_calls(), "needs CONFIG_IA32_EMULATION");
    for (engine, json) in ENGINES {
        let calls = calls_are_answered(profile(json), Architecture::X86, COMPATIBLE);
        println!("{engine}: {calls} calls of x86");
    }
}

#[test]
fn the_kernel_compares_arguments_as_each_operator_says() {
    skip_unless!(cfg!(target_arch = "x86_64"), "needs an x86-64 machine");
    calls_are_answered(operators(), Architecture::X86_64, NATIVE);
    skip_unless!(runs_32_bit_calls(), "needs CONFIG_IA32_EMULATION");
    calls_are_answered(operators(), Architecture::X86, COMPATIBLE);
}
