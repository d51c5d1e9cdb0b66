//! Hooks belong to a later release: until then they are refused by name, never skipped.

use std::fs;

use cloison_tests::{Sandbox, json};

#[test]
fn a_hook_is_run_or_refused_by_name_but_never_skipped() {
    let sandbox = Sandbox::new();
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let mark = sandbox.dir().join(format!("{hook}.mark"));
        let bundle = sandbox.busybox("true").writable();
        // What runs inside sees another file system.
        let (path, seen) = match hook {
            "startContainer" => ("/bin/touch", bundle.rootfs().join("hook.mark")),
            _ => ("/usr/bin/touch", mark.clone()),
        };
        let argument =
            if hook == "startContainer" { "/hook.mark".into() } else { mark.to_str().unwrap().to_owned() };
        let bundle = bundle.set("/hooks", json!({hook: [{"path": path, "args": ["touch", argument]}]}));
        let output = bundle.run();
        if output.status.success() {
            assert!(seen.exists(), "{hook} was skipped: {}", output.describe());
        } else {
            output.refused_saying(&[hook]);
            assert!(!fs::exists(&seen).unwrap());
        }
    }
}

#[test]
fn empty_lists_of_hooks_are_fine() {
    let sandbox = Sandbox::new();
    let hooks = json!({"prestart": [], "createRuntime": [], "poststop": []});
    sandbox.busybox("true").set("/hooks", hooks).run().ok();
}
