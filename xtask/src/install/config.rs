//! What the engines' configurations say about a runtime, and where in them it is said.

use std::path::Path;

use serde_json::Value;

use crate::Result;

/// An engine, and how it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Engine {
    /// The program by which we see that the engine is there.
    pub(super) program: &'static str,
    /// The directory of its configuration.
    pub(super) directory: &'static str,
    /// The file that is changed or made.
    pub(super) file: &'static str,
    /// What is left to do, for whoever reads it.
    pub(super) then: &'static str,
    /// Works out the file anew, from its text, if there is one, and the program's path; nothing if `cloison` is in it already.
    pub(super) add: fn(Option<&str>, &Path) -> Result<Option<Edited>>,
}

/// A file with our part in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    /// Our part, which is in the text once.
    pub(super) snippet: String,
}

pub(super) const ENGINES: [Engine; 4] = [
    Engine {
        program: "dockerd",
        directory: "/etc/docker",
        file: "/etc/docker/daemon.json",
        then: "; Docker reads that at its next start, or by SIGHUP",
        add: docker,
    },
    Engine {
        program: "containerd",
        directory: "/etc/containerd",
        file: "/etc/containerd/config.toml",
        then: "; containerd reads that at its next start",
        add: containerd,
    },
    Engine {
        program: "podman",
        directory: "/etc/containers",
        file: "/etc/containers/containers.conf.d/cloison.conf",
        then: "",
        add: podman,
    },
    Engine {
        program: "crio",
        directory: "/etc/crio",
        file: "/etc/crio/crio.conf.d/50-cloison.conf",
        then: "; CRI-O reads that at its next start, or by SIGHUP",
        add: crio,
    },
];

impl Edited {
    fn whole(text: String) -> Self {
        Self { snippet: text.clone(), text }
    }
}

/// A string of TOML or JSON.
fn quoted(path: &Path) -> Result<String> {
    let path = path.to_str().ok_or("the engines' configurations want paths in UTF-8")?;
    Ok(Value::from(path).to_string())
}

/// `runtimes` in daemon.json (dockerd(8)).
fn docker(text: Option<&str>, program: &Path) -> Result<Option<Edited>> {
    let runtime = format!("\"cloison\": {{ \"path\": {} }}", quoted(program)?);
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(Some(Edited::whole(format!("{{\n  \"runtimes\": {{\n    {runtime}\n  }}\n}}\n"))));
    };
    let before: Value = serde_json::from_str(text)?;
    let settings = before.as_object().ok_or("is no JSON object")?;
    let runtimes = match settings.get("runtimes") {
        None => None,
        Some(Value::Object(runtimes)) => Some(runtimes),
        Some(_) => return Err("`runtimes` is no object".into()),
    };
    if runtimes.is_some_and(|runtimes| runtimes.contains_key("cloison")) {
        return Ok(None);
    }
    // The user's file stays as it is written: our part is put behind a brace.
    let (brace, new, is_last) = match runtimes {
        None => (text.find('{'), format!("\n  \"runtimes\": {{ {runtime} }}"), settings.is_empty()),
        Some(runtimes) => (brace_of(text, "runtimes"), format!("\n    {runtime}"), runtimes.is_empty()),
    };
    let place = brace.ok_or("its beginning cannot be found")? + 1;
    let snippet = format!("{new}{}", if is_last { "\n" } else { "," });
    let edited = format!("{}{snippet}{}", &text[..place], &text[place..]);
    let mut after: Value = serde_json::from_str(&edited)?;
    let added =
        after.get_mut("runtimes").and_then(Value::as_object_mut).and_then(|all| all.remove("cloison"));
    if added.is_none() || edited.matches(&snippet).count() != 1 {
        return Err("`runtimes` cannot be found; add `cloison` to it by hand".into());
    }
    Ok(Some(Edited { text: edited, snippet }))
}

/// Where the object begins that is the value of this key of the outermost object.
fn brace_of(text: &str, key: &str) -> Option<usize> {
    let (mut depth, mut string, mut escaped, mut last) = (0, None, false, "");
    for (place, byte) in text.bytes().enumerate() {
        match (string, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(begin), b'"') => {
                last = &text[begin + 1..place];
                string = None;
            }
            (None, b'"') => string = Some(place),
            (None, b'{') if depth == 1 && last == key => return Some(place),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth -= 1,
            (None, b',') => last = "",
            (Some(_) | None, _) => {}
        }
    }
    None
}

/// A runtime of the CRI plugin (containerd-config.toml(5)): what a `RuntimeClass` with the handler `cloison` gets.
fn containerd(text: Option<&str>, program: &Path) -> Result<Option<Edited>> {
    let text = text.unwrap_or_default();
    if text.contains("runtimes.cloison") {
        return Ok(None);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let version = lines
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.strip_prefix("version")?.trim_start().strip_prefix('=').map(str::trim));
    let (plugin, head) = match version {
        Some("3") => ("\"io.containerd.cri.v1.runtime\"", ""),
        Some("2") => ("\"io.containerd.grpc.v1.cri\"", ""),
        None if text.trim().is_empty() => ("\"io.containerd.grpc.v1.cri\"", "version = 2\n\n"),
        None | Some("1") => ("cri", ""),
        Some(other) => return Err(format!("version {other} of this file is not known").into()),
    };
    // Who makes the cgroups is one decision for a machine.
    let by_systemd =
        text.lines().any(|line| line.split_whitespace().collect::<String>() == "SystemdCgroup=true");
    let runtime = format!("plugins.{plugin}.containerd.runtimes.cloison");
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let program = quoted(program)?;
    let snippet = format!(
        "{newline}{head}[{runtime}]\n  runtime_type = \"io.containerd.runc.v2\"\n  [{runtime}.options]\n    BinaryName = {program}\n    SystemdCgroup = {by_systemd}\n"
    );
    Ok(Some(Edited { text: format!("{text}{snippet}"), snippet }))
}

/// A file of its own, whose name nobody else uses (containers.conf(5)).
fn podman(text: Option<&str>, program: &Path) -> Result<Option<Edited>> {
    // Each list takes the place of Podman's own.
    let file = format!(
        "[engine]\n\
         runtime_supports_json = [\"cloison\", \"crun\", \"runc\", \"kata\", \"runsc\", \"youki\", \"krun\"]\n\
         runtime_supports_nocgroup = [\"cloison\", \"crun\", \"krun\"]\n\
         \n\
         [engine.runtimes]\n\
         cloison = [{}]\n",
        quoted(program)?
    );
    Ok(if text.is_some() { None } else { Some(Edited::whole(file)) })
}

/// Likewise (crio.conf.d(5)).
fn crio(text: Option<&str>, program: &Path) -> Result<Option<Edited>> {
    let program = quoted(program)?;
    let file = format!(
        "[crio.runtime.runtimes.cloison]\nruntime_path = {program}\nruntime_type = \"oci\"\nruntime_root = \"/run/cloison\"\n"
    );
    Ok(if text.is_some() { None } else { Some(Edited::whole(file)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(add: fn(Option<&str>, &Path) -> Result<Option<Edited>>, text: &str) -> Edited {
        add(Some(text), "/opt/cloison".as_ref()).unwrap().expect("it is not there yet")
    }

    #[test]
    fn a_runtime_is_added_to_whatever_docker_has() {
        for text in [
            "",
            "{}",
            "{ }\n",
            "{\"debug\": true}",
            "{\n  \"runtimes\": {},\n  \"debug\": true\n}\n",
            "{\"labels\": [\"runtimes\", {\"runtimes\": {}}], \"runtimes\" : {\"a\": {\"path\": \"/{\\\"}\"}}}",
        ] {
            let Edited { text: after, snippet } = edited(docker, text);
            let value: Value = serde_json::from_str(&after).unwrap();
            assert_eq!(value["runtimes"]["cloison"]["path"], "/opt/cloison", "{after}");
            assert_eq!(after.replacen(&snippet, "", 1), text, "the rest is as it was");
        }
    }

    #[test]
    fn what_docker_has_already_or_cannot_read_is_left_alone() {
        let add = |text| docker(Some(text), "/opt/cloison".as_ref());
        assert_eq!(add("{\"runtimes\": {\"cloison\": {\"path\": \"/x\"}}}").unwrap(), None);
        add("{\"runtimes\": []}").unwrap_err();
        add("{,}").unwrap_err();
        add("[]").unwrap_err();
    }

    #[test]
    fn containerd_gets_the_plugin_of_its_version_and_its_way_of_cgroups() {
        let text = "# version = 1\nversion = 2\n[plugins]\n";
        assert!(edited(containerd, text).snippet.contains("\"io.containerd.grpc.v1.cri\""));
        let text = "version = 3\n[plugins]\n  SystemdCgroup  = true";
        let Edited { text: after, snippet } = edited(containerd, text);
        assert!(snippet.contains("\"io.containerd.cri.v1.runtime\""), "{snippet}");
        assert!(snippet.contains("SystemdCgroup = true"), "{snippet}");
        assert_eq!(after.replacen(&snippet, "", 1), text);
        assert!(edited(containerd, "").snippet.starts_with("version = 2\n"));
        assert!(containerd(Some("version = 9"), "/x".as_ref()).is_err());
        assert_eq!(containerd(Some("[a.runtimes.cloison]"), "/x".as_ref()).unwrap(), None);
    }
}
