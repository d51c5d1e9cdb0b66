//! The default profiles of Docker, Podman and containerd, as data: names, conditions, and on which architectures and
//! with which capabilities a rule is there. The engines work that out, and the runtime gets what is left.

use cloison_seccomp::{Action, Architecture, Arg, Operator, Profile, Rule};
use serde::Deserialize;

/// The engines, and their profiles.
pub const ENGINES: [(&str, &str); 3] = [
    ("Docker", include_str!("../profiles/docker.json")),
    ("Podman", include_str!("../profiles/podman.json")),
    ("containerd", include_str!("../profiles/containerd.json")),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EngineProfile {
    default_action: String,
    default_errno_ret: Option<u32>,
    arch_map: Vec<ArchMap>,
    syscalls: Vec<EngineRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EngineRule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<EngineArg>,
    #[serde(default)]
    includes: When,
    #[serde(default)]
    excludes: When,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EngineArg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
struct When {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// The profile that a container with these capabilities gets on that architecture.
///
/// # Panics
/// When the data is not what it should be.
pub fn engine_profile(json: &str, native: Architecture, capabilities: &[&str]) -> Profile<'static> {
    let profile: EngineProfile = serde_json::from_str(json).expect("a profile");
    let go = go_name(native);
    let has = |when: &When, every: bool| {
        let capability = |capability: &String| capabilities.contains(&capability.as_str());
        let (capabilities, arch) = (
            if every { when.caps.iter().all(capability) } else { when.caps.iter().any(capability) },
            when.arches.iter().any(|arch| arch == go),
        );
        if every { capabilities && (arch || when.arches.is_empty()) } else { capabilities || arch }
    };
    let rules =
        profile.syscalls.iter().filter(|rule| has(&rule.includes, true) && !has(&rule.excludes, false));
    let sub = profile.arch_map.iter().find(|map| architecture(&map.architecture) == native);
    Profile {
        default_action: action(&profile.default_action),
        default_errno: profile.default_errno_ret,
        architectures: sub.map_or(Vec::new(), |map| {
            [native].into_iter().chain(map.sub_architectures.iter().map(|name| architecture(name))).collect()
        }),
        flags: Vec::new(),
        rules: rules
            .map(|rule| Rule {
                names: rule.names.clone().into(),
                action: action(&rule.action),
                errno: rule.errno_ret,
                args: rule.args.iter().map(arg).collect(),
            })
            .collect(),
    }
}

fn arg(arg: &EngineArg) -> Arg {
    let op = match arg.op.as_str() {
        "SCMP_CMP_NE" => Operator::NotEqual,
        "SCMP_CMP_LT" => Operator::Less,
        "SCMP_CMP_LE" => Operator::LessOrEqual,
        "SCMP_CMP_EQ" => Operator::Equal,
        "SCMP_CMP_GE" => Operator::GreaterOrEqual,
        "SCMP_CMP_GT" => Operator::Greater,
        "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual,
        other => panic!("{other}"),
    };
    Arg { index: arg.index, value: arg.value, value_two: arg.value_two, op }
}

fn action(name: &str) -> Action {
    match name {
        "SCMP_ACT_ERRNO" => Action::Errno,
        "SCMP_ACT_ALLOW" => Action::Allow,
        other => panic!("{other}"),
    }
}

fn architecture(name: &str) -> Architecture {
    let wanted = name.trim_start_matches("SCMP_ARCH_");
    let known = Architecture::ALL.into_iter().find(|known| format!("{known:?}").to_uppercase() == wanted);
    known.unwrap_or_else(|| panic!("{name}"))
}

/// What the engines, being written in Go, call an architecture.
fn go_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86 => "x86",
        Architecture::X86_64 => "amd64",
        Architecture::X32 => "x32",
        Architecture::Arm => "arm",
        Architecture::Aarch64 => "arm64",
        Architecture::Ppc64le => "ppc64le",
        Architecture::S390 => "s390",
        Architecture::S390x => "s390x",
        Architecture::Riscv64 => "riscv64",
        Architecture::Loongarch64 => "loong64",
        _ => "another",
    }
}
