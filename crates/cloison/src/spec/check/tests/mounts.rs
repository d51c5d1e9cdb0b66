//! The rules of mounts and hooks.

use serde_json::{Value, json};

use super::{accepts, refuses, row, user_namespace, with};

#[test]
fn mounts_need_a_destination_and_what_to_mount() {
    let mount = |mount: Value| with("/mounts", json!([mount]));
    for good in [
        json!({"destination": "/proc", "type": "proc"}),
        json!({"destination": "rel", "type": "tmpfs"}),
        json!({"destination": "/x", "source": "/y", "options": ["rbind", "ro", "rro", "rslave"]}),
        json!({"destination": "/x", "type": "none", "source": "y", "options": ["bind"]}),
        json!({"destination": "/x", "options": ["remount", "ro"]}),
        json!({"destination": "/x", "options": ["rshared"]}),
        json!({"destination": "/x", "type": "overlay", "options": ["lowerdir=/a:/b", "tmpcopyup"]}),
    ] {
        accepts(&mount(good));
    }
    for (bad, place, text) in [
        (json!({"type": "proc"}), "/destination", "missing"),
        (json!({"destination": "/x"}), "/type", "missing, expected a file system"),
        (json!({"destination": "/x", "options": ["bind"]}), "/source", "missing"),
        (
            json!({"destination": "/x", "source": "/y", "options": ["bind", "size=5"]}),
            "/options/1",
            "bind mounts cannot have any filesystem-specific options applied, such as \"size=5\"",
        ),
    ] {
        refuses(&mount(bad), &format!("/mounts/0{place}"), text);
    }
}

#[test]
fn id_mapped_mounts_are_bind_mounts_with_both_mappings_or_a_user_namespace() {
    let mount = |mount: Value| with("/mounts", json!([mount]));
    let rows = json!([row(0, 1000, 10)]);
    let own = |options: Value| {
        json!({"destination": "/x", "source": "/y", "type": "none", "options": options, "uidMappings": rows,
            "gidMappings": rows})
    };
    accepts(&mount(own(json!(["bind", "idmap"]))));
    accepts(&mount(own(json!(["rbind"]))));
    refuses(&mount(own(json!(["idmap"]))), "/mounts/0", "only supported for bind-mounts");

    let mut half = own(json!(["bind", "ridmap"]));
    half["gidMappings"] = Value::Null;
    refuses(&mount(half), "/mounts/0/gidMappings", "must have both uid and gid mappings");

    let mut zero = own(json!(["bind", "idmap"]));
    zero["uidMappings"] = json!([row(0, 1000, 0)]);
    refuses(&mount(zero), "/mounts/0/uidMappings/0/size", "found 0");

    let namespaced = json!([{"destination": "/x", "source": "/y", "options": ["bind", "idmap"]}]);
    refuses(
        &with("/mounts", namespaced.clone()),
        "/mounts/0",
        "there is no user namespace to take them from",
    );
    let mut spec = user_namespace(&rows, &rows);
    spec["mounts"] = namespaced;
    accepts(&spec);
}

#[test]
fn hooks_have_absolute_paths_and_a_time_to_live() {
    for name in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let at = format!("/hooks/{name}");
        let hooks = |hook: Value| with(&at, json!([{"path": "/ok"}, hook]));
        accepts(&hooks(json!({"path": "/bin/true", "args": ["a"], "env": ["x"], "timeout": 1})));
        refuses(&hooks(json!({"path": "true"})), &format!("{at}/1/path"), "expected the absolute path");
        refuses(&hooks(json!({})), &format!("{at}/1/path"), "found \"\"");
        refuses(&hooks(json!({"path": "/x", "timeout": 0})), &format!("{at}/1/timeout"), "above 0");
    }
}
