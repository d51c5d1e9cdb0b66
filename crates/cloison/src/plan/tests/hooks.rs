//! Where hooks are among the other steps.

use super::*;

#[test]
fn hooks_of_create_run_between_the_mounts_and_the_change_of_the_root() {
    let mut spec = example();
    let hook = |path: &str| vec![spec::Hook { path: path.to_owned(), ..spec::Hook::default() }];
    spec.hooks.prestart = hook("/first");
    spec.hooks.create_runtime = hook("/second");
    spec.hooks.create_container = hook("/third");
    let plan = plan(&spec);

    let steps = host(&plan);
    let at = |text: &str| {
        steps
            .iter()
            .position(|step| step.starts_with(text))
            .unwrap_or_else(|| panic!("{text:?} in {steps:#?}"))
    };
    let order = [
        "start the init with new namespaces",
        "wait until the init has made its mounts",
        "limit devices",
        "run the prestart hook \"/first\"",
        "run the createRuntime hook \"/second\"",
        "let the init go on",
    ];
    assert!(order.map(at).is_sorted(), "{steps:#?}");

    let last_mount = plan.container.iter().rposition(|step| matches!(step.action, Action::Mount(_))).unwrap();
    let waits = place(&plan, "wait until the host's side has done its part");
    let third = place(&plan, "run the createContainer hook \"/third\"");
    let change = place(&plan, "pivot_root");
    assert!([last_mount, waits, third, change].is_sorted(), "{:#?}", container(&plan));
}
